"""Our calls of torch-tensorrt against the signatures in its wheel, which no GPU is needed to read.

`PHOSPHENE_TORCH_TENSORRT_WHEEL` names the file, as `pip download --no-deps torch-tensorrt==2.13.0`
leaves it.
"""

from __future__ import annotations

import ast
import os
import zipfile
from pathlib import Path

import pytest

from models.sampling.backends import tensorrt

WHEEL = os.environ.get("PHOSPHENE_TORCH_TENSORRT_WHEEL", "")
pytestmark = pytest.mark.skipif(
    not Path(WHEEL).is_file(), reason="PHOSPHENE_TORCH_TENSORRT_WHEEL names no wheel"
)
PLACES = {
    "compile": "dynamo/_compiler.py",
    "refit_module_weights": "dynamo/_refit.py",
    "CompilationSettings": "dynamo/_settings.py",
    "TorchTensorRTModule": "dynamo/runtime/_TorchTensorRTModule.py",
    "set_cudagraphs_mode": "runtime/_cudagraphs.py",
}


def parameters_of(name: str) -> set[str]:
    """Names of what a function, a class' `__init__` or a dataclass takes."""
    with zipfile.ZipFile(WHEEL) as wheel:
        tree = ast.parse(wheel.read(f"torch_tensorrt/{PLACES[name]}"))
    found = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    )
    if isinstance(found, ast.ClassDef):
        inits = [n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not inits:
            return {n.target.id for n in found.body if isinstance(n, ast.AnnAssign)}  # type: ignore[union-attr]
        found = inits[0]
    arguments = found.args
    return {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def test_what_we_call_is_there_and_takes_what_we_give() -> None:
    tree = ast.parse(Path(tensorrt.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch_tensorrt")
        for alias in node.names
    }
    assert set(imported.values()) == set(PLACES)
    calls = [
        (imported[node.func.id], node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in imported
    ]
    assert {name for name, _ in calls} == set(PLACES)
    for name, call in calls:
        given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        if any(keyword.arg is None for keyword in call.keywords):
            given |= set(tensorrt._SETTINGS)
        assert given <= parameters_of(name), name


def test_what_it_would_do_by_itself_is_turned_off() -> None:
    """Its own cache unpickles; its weights could not be refitted."""
    assert {"cache_built_engines", "reuse_cached_engines", "immutable_weights"} <= set(
        parameters_of("compile")
    )
    for name in ("cache_built_engines", "reuse_cached_engines", "immutable_weights"):
        assert tensorrt._SETTINGS[name] is False
