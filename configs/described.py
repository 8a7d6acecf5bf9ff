"""What a setting is, read from the docstring below it when somebody asks.

pydantic's `use_attribute_docstrings` reads them while a class is made, which every process that
starts would pay for.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from itertools import pairwise

from pydantic import BaseModel


@lru_cache
def described(model: type[BaseModel]) -> dict[str, str]:
    """Docstring of each field of a model that has one below it, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, below in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found
