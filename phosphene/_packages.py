"""Whether the five packages that Phosphene consists of are ours.

Owns that check. `app`, `configs`, `devices`, `models` and `pipeline` are common names: a folder
`models/` of the user's own on `sys.path`, or another distribution's `app`, would be imported in
place of ours, and fail somewhere far from its cause. Nothing of the five is imported to tell.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAMES = ("app", "configs", "devices", "models", "pipeline")
HOME = Path(__file__).resolve().parents[1]
"""The folder that the five and `phosphene` share."""


def check_packages() -> None:
    """Check that every package stands beside this one.

    Raises
    ------
    PhospheneError
        One line that names the first one that does not, and where it was found instead.
    """
    for name in NAMES:
        found = _place(name)
        if found != HOME / name:
            raise _error(
                f"{found or 'nothing'} is found as the package {name!r}, expected Phosphene's own "
                f"in {HOME}: rename it, take its folder off sys.path (PYTHONPATH, the folder that "
                "Python was started in), or install Phosphene again."
            )


def _place(name: str) -> Path | None:
    """Folder or file that `import name` takes; None where there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module that was put together by hand
        spec = None
    if spec is None:
        module = sys.modules.get(name)
        file = None if module is None else vars(module).get("__file__")
        return Path(file).resolve() if file else None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return None if spec.origin is None else Path(spec.origin).resolve()


def _error(sentence: str) -> Exception:
    """The error of everything that is told in one line; ours even where `pipeline` is not."""
    if _place("pipeline") == HOME / "pipeline":
        from pipeline.errors import PhospheneError

        return PhospheneError(sentence)
    spec = importlib.util.spec_from_file_location(
        "phosphene._errors", HOME / "pipeline" / "errors.py"
    )
    if spec is None or spec.loader is None:
        return RuntimeError(sentence)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    error: Exception = module.PhospheneError(sentence)
    return error
