"""Arrays whose headers are none end as one kind of error, whatever a parser raises of them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from configs.arrays import array_errors

PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
HEADERS = {
    "never closed": "{'descr': (\n",
    "signs without end": PLAIN % f"({'-' * 9000}1,)",
    "brackets without end": PLAIN % ("(" * 3000 + ")" * 3000),
    "an empty type": "{'descr': (), 'fortran_order': False, 'shape': (3,)}",
    "half a type": "{'descr': ('<f8',), 'fortran_order': False, 'shape': (3,)}",
    "a number for a type": "{'descr': 5, 'fortran_order': False, 'shape': (3,)}",
    "a length that nobody has": PLAIN % f"({2**70},)",
    "zeros": "\0" * 50,
}


def foreign(header: str) -> bytes:
    """An .npy whose header says what it likes."""
    said = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_none_is_a_value_error_of_one_line(header: str) -> None:
    with pytest.raises(ValueError, match=r"^.{1,200}$"), array_errors():
        np.load(io.BytesIO(foreign(header)), allow_pickle=False)


def test_a_file_that_is_away_stays_what_it_is() -> None:
    with pytest.raises(FileNotFoundError), array_errors():
        np.load("not there.npy")
