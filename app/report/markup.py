"""HTML and SVG elements that cannot be injected into.

Owns escaping: a `str` child or attribute is always text, only what `element` returned is markup.
Knows nothing of reports.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from configs.plain import plain

VOID = frozenset({"img", "br", "meta", "col"})
"""Elements of HTML that have no end tag."""


class Markup(str):
    """Text that is HTML already; only this module makes it from text."""

    __slots__ = ()


Child = str | int | Markup | None | Iterable["Child"]


def clean(text: str, limit: int = 400) -> str:
    """Return `text` without control characters and the like, at most `limit` long."""
    return plain(text, limit=limit, keep="\n\t")


def escape(text: str) -> Markup:
    """Turn text into markup that shows exactly that text."""
    return Markup(html.escape(clean(text, limit=20_000), quote=True))


def join(children: Iterable[Child]) -> Markup:
    """Concatenate children: text is escaped, None is nothing."""
    return Markup("".join(_render(child) for child in children))


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """Make one element.

    Parameters
    ----------
    tag : str
        Its name (from the code, never from a file).
    *children : Child
        Text (escaped), markup, iterables of both; None is left out.
    **attributes : str, float or None
        `cls` is `class`, `_` becomes `-`; None leaves the attribute out.
    """
    head = tag + "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Markup(f"<{head}>")
    return Markup(f"<{head}>{join(children)}</{tag}>")


def _attribute(name: str, value: str | float | None) -> str:
    if value is None:
        return ""
    name = "class" if name == "cls" else name.replace("_", "-")
    text = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
    # A data URI may be long; everything else comes through `clean` where it was read.
    return f' {name}="{html.escape(text, quote=True)}"'


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(child)
    if isinstance(child, int):
        return str(child)
    return join(child)
