"""Text that others wrote (names of streams, labels, hosts, markers, files), made safe to show.

Owns which characters a terminal, a log line or a label may be given. A stream's name can hold
anything: escape sequences that repaint a terminal, line ends that forge a line of ours, marks that
turn the direction of writing. Values keep what they were given; only what is shown is cleaned.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

SHOWN: Final = 200
"""Characters of a name that are shown."""
REPLACEMENT: Final = "?"
_FORBIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Written languages and emoji need these two; they hide nothing."""


def plain(text: str, *, limit: int | None = SHOWN, keep: str = "") -> str:
    """Return text without control characters, escapes, line ends and marks of direction.

    Parameters
    ----------
    text : str
    limit : int or None
        Longest result, characters; None: any.
    keep : str
        Characters that may stay (line ends, in text of several lines).
    """
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(c if c in keep or _is_harmless(c) else REPLACEMENT for c in cut)


def encodable(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate, which it cannot, becomes `?`."""
    return text if text.isascii() else utf8(text).decode()


def utf8(text: str) -> bytes:
    """Encode text for a file of ours; what UTF-8 cannot hold becomes `?`, so nothing is refused."""
    return text.encode("utf-8", "replace")


def plain_json(document: Any, *, indent: int | None = 2) -> str:
    """Write JSON whose every character a terminal can be given; it reads back the same."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=str)
    if text.isascii():
        return text
    return "".join(c if c == "\n" or _is_harmless(c) else _escaped(c) for c in text)


def _is_harmless(c: str) -> bool:
    return unicodedata.category(c) not in _FORBIDDEN or c in _JOINERS


def _escaped(c: str) -> str:
    return json.dumps(c)[1:-1] if c != "\x7f" else "\\u007f"
