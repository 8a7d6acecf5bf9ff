"""Build the documentation as a site in build/site, and a man page: `make site` (extra `site`).

Owns what is on it besides docs/: the front page and the other pages at the top of the repository,
the parser's own help, the public names from their docstrings, and the notebooks. Sphinx checks
every link and anchor, and a warning is an error. No network is asked, neither here nor by a reader.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

import phosphene
from app.cli import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
"""Pages at the top of the repository, and their names on the site."""
FOLDERS = {
    "docs/notebooks": "notebooks/decode.md",
    "docs/decisions": "decisions/README.md",
    "notebooks": "notebooks/decode.md",
}
"""Links to folders, and the page that stands for each."""
STYLE = ".highlight pre { white-space: pre-wrap; }\n"
"""Long commands are seen whole, on lines that are copied as one."""
CHAPTERS = {
    "Start": ["install", "tutorials/*", "real_brain"],
    "Use it": [
        "window",
        "calibration",
        "attend",
        "fmri",
        "stimuli",
        "galleries",
        "stage",
        "outputs",
        "serving",
        "evaluation",
        "training",
        "virtual_headset",
        "how-to/make-a-gallery",
        "how-to/predicted-people",
    ],
    "From Python": ["python", "notebooks/*", "reference/names"],
    "Build on it": ["how-to/add*", "architecture", "contributing", "decisions/README"],
    "Models": ["models/*"],
    "Look up": ["reference/commands", "faults", "glossary", "changelog", "security", "conduct"],
    "Explained": ["performance", "leaderboard", "pace", "scaling"],
}
SETTINGS = {
    "extensions": ["myst_parser", "sphinx.ext.autodoc", "numpydoc"],
    "project": "Phosphene",
    "copyright": "The Phosphene developers, MIT",
    "html_title": "Phosphene",
    "html_theme": "furo",
    "html_static_path": ["static"],
    "html_css_files": ["site.css"],
    "html_copy_source": False,
    "html_show_sphinx": False,
    "myst_enable_extensions": ["html_image"],
    "myst_heading_anchors": 4,
    "numpydoc_show_class_members": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints": "description",
    # The man page is built by the same process.
    "suppress_warnings": ["app"],
    "man_pages": [("reference/commands", "phosphene", "live EEG becomes pictures", [], 1)],
}


def main() -> int:
    """Gather the pages and let Sphinx build them."""
    pages, site = ROOT / "build" / "site-pages", ROOT / "build" / "site"
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.ipynb"))
    for path in pages.rglob("*.md"):
        depth = len(path.relative_to(pages).parts) - 1
        path.write_text(_inside(path.read_text(encoding="utf-8"), depth), encoding="utf-8")
    for name, target in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (pages / target).write_text(_from_top(text), encoding="utf-8")
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, pages / name)
    (pages / "static").mkdir()
    (pages / "static" / "site.css").write_text(STYLE, encoding="utf-8")
    (pages / "reference").mkdir()
    (pages / "reference" / "commands.md").write_text(_commands(), encoding="utf-8")
    (pages / "reference" / "names.md").write_text(_names(), encoding="utf-8")
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        (pages / "notebooks" / f"{notebook.stem}.md").write_text(
            _notebook(notebook), encoding="utf-8"
        )
    _append(pages / "index.md", [_tree(pages, names, title) for title, names in CHAPTERS.items()])
    _append(pages / "decisions" / "README.md", [_tree(pages / "decisions", ["0*"], "")])
    shutil.rmtree(site, ignore_errors=True)
    code = 0
    for builder, out in (("html", site), ("man", site.with_name("man"))):
        made = Sphinx(
            pages,
            None,
            out,
            ROOT / "build" / "site-doctrees",
            builder,
            confoverrides=SETTINGS,
            freshenv=builder == "html",
            status=None,
            warningiserror=True,
        )
        made.build()
        code = code or int(made.statuscode)
    if not code:
        sys.stdout.write(f"{site / 'index.html'}: {len(made.env.found_docs)} pages\n")
    return code


def _from_top(text: str) -> str:
    """A page of the top: docs/ is where it stands now."""
    for name, target in FOLDERS.items():
        text = text.replace(f"]({name})", f"]({target})")
    text = re.sub(r'(\]\(|src=")docs/', r"\1", text)
    for name, target in OUTSIDE.items():
        text = re.sub(rf"\]\({name}(?=[)#])", f"]({target}", text)
    return text


def _inside(text: str, depth: int) -> str:
    """A page of docs/ that is `depth` folders deep: what lies above docs/ is beside it now."""
    for name, target in OUTSIDE.items():
        text = re.sub(
            rf"\]\({re.escape('../' * (depth + 1) + name)}(?=[)#])",
            f"]({'../' * depth}{target}",
            text,
        )
    if depth == 0:
        text = text.replace("](notebooks)", f"]({FOLDERS['notebooks']})")
    return text.replace(".ipynb)", ".md)")


def _tree(pages: Path, names: list[str], title: str) -> str:
    found = [
        path.relative_to(pages).with_suffix("").as_posix()
        for name in names
        for path in sorted(pages.glob(f"{name}.md"))
    ]
    caption = f":caption: {title}\n" if title else ""
    return f"```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(found) + "\n```"


def _append(page: Path, parts: list[str]) -> None:
    with page.open("a", encoding="utf-8") as file:
        file.write("\n\n" + "\n\n".join(parts) + "\n")


def _commands() -> str:
    parts = ["# Commands", "What `phosphene COMMAND --help` prints."]
    for name in COMMANDS:
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
            build_parser().parse_args([name, "--help"])
        parts.append(f"## phosphene {name}\n\n```text\n{told.getvalue().rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _names() -> str:
    parts = ["# Public names", "Everything in `phosphene.__all__`, from its docstrings."]
    for name in phosphene.__all__:
        kind = "autoclass" if isinstance(getattr(phosphene, name), type) else "autofunction"
        members = ":members:\n" if kind == "autoclass" else ""
        parts.append(f"```{{eval-rst}}\n.. {kind}:: phosphene.{name}\n   {members}```")
    return "\n\n".join(parts) + "\n"


def _notebook(path: Path) -> str:
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            text = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
            if text:
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
