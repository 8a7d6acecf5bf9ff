"""What NumPy's readers raise of a file that is no array, as one kind of error and in one line.

Owns the list of what they let through: an array's header is Python that they parse, so that a
foreign one ends in whatever a parser can raise. The lowest layer, so that all who read arrays can
ask. Knows nothing of arrays themselves.
"""

from __future__ import annotations

import contextlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

_LONGEST = 200
_DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def array_errors() -> Iterator[None]:
    """Within, an array that cannot be read is a `ValueError` of one line; `OSError` stays."""
    try:
        yield
    except _DAMAGED as error:
        lines = str(error).splitlines() or ["its header cannot be parsed"]
        raise ValueError(lines[0][:_LONGEST]) from None
