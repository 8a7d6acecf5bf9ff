"""Dictionaries of arrays in NumPy's object files, read as data: nothing is imported or called.

Owns the interpreter of the few instructions that such files are made of (protocols 2 to 5 of
Python's object format, as `numpy.save` and the published preprocessing write them). Names in a
file are compared with a short list and never looked up; arrays are views of the mapped file, so a
recording of gigabytes costs no memory until it is used. Knows nothing of what the arrays mean.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from configs.arrays import array_errors
from models.things_eeg2.errors import ThingsError

MAX_VALUES = 1_000_000
"""Values in one file; the published ones have a few hundred. Bounds memory beside the arrays."""
MAX_DEPTH = 32
MAX_NAME = 200
_DTYPE = re.compile(r"[biufcSU]\d+|\?|O8?")
_KEYS = (str, int, float, bytes, type(None))


class _RefusedError(ValueError):
    """The file holds something that is not data, or is damaged."""


class _Part(Enum):
    """What a name in a file stands for."""

    NDARRAY = auto()
    DTYPE = auto()
    NO_BYTES = auto()
    ENCODE = auto()
    RECONSTRUCT = auto()
    SCALAR = auto()
    FROM_BUFFER = auto()


_NAMES = {
    ("numpy", "ndarray"): _Part.NDARRAY,
    ("numpy", "dtype"): _Part.DTYPE,
    # Protocol 2 has no bytes: it stores text and asks for its latin-1 form, or for no bytes.
    ("__builtin__", "bytes"): _Part.NO_BYTES,
    ("_codecs", "encode"): _Part.ENCODE,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 2 renamed the modules that files name
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Part.RECONSTRUCT
    _NAMES[f"{_core}.multiarray", "scalar"] = _Part.SCALAR
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Part.FROM_BUFFER


@dataclass(slots=True, eq=False)
class _Draft:
    """An array, a dtype, a scalar or bytes: what the file says of it, before it is made."""

    part: _Part
    arguments: tuple[Any, ...]
    state: Any = None


def read_table(path: Path) -> dict[str, Any]:
    """Read a saved dictionary of arrays and plain values, with or without a `.npy` header.

    Returns
    -------
    dict
        Arrays are read-only views of the mapped file, with the dtype and shape that it says.

    Raises
    ------
    ThingsError
        Missing, damaged, no dictionary, or it holds anything that is not data.
    """
    try:
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        content = _values_of(_Machine(memoryview(mapped), start=_start(mapped)).run())
    except FileNotFoundError:
        raise ThingsError(f"{path}: no such file, expected one of THINGS-EEG2.") from None
    except (ValueError, TypeError, LookupError, struct.error, OverflowError, OSError) as error:
        reason = str(error) if isinstance(error, _RefusedError) else "it is damaged"
        raise ThingsError(
            f"{path} is refused ({reason}): expected a dictionary of arrays, lists and numbers."
        ) from None
    if isinstance(content, np.ndarray) and content.shape == ():
        content = content.item()
    if not isinstance(content, dict):
        raise ThingsError(f"{path} holds a {type(content).__name__}, expected a dictionary.")
    return content


def _start(mapped: mmap.mmap) -> int:
    """Where the values begin: behind the header, if there is one."""
    if mapped[: len(npy.MAGIC_PREFIX)] != npy.MAGIC_PREFIX:
        return 0
    version = npy.read_magic(mapped)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with array_errors():
        dtype = read(mapped)[2]
    if not dtype.hasobject:
        raise _RefusedError(f"it holds a plain array of {dtype}")
    return mapped.tell()


_MARK = object()


class _Machine:
    """Runs the instructions over a stack of plain values and drafts."""

    def __init__(self, data: memoryview, *, start: int) -> None:
        self._data, self._at = data, start
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._n_values = 0

    def run(self) -> Any:
        """Return what the last instruction leaves."""
        while (code := self._take(1)[0]) != ord("."):
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise _RefusedError(
                    f"instruction {code:#04x} at byte {self._at - 1} is not for data"
                )
            instruction(self)
        return self._pop()

    def _take(self, n: int) -> memoryview:
        if self._at + n > len(self._data):
            raise _RefusedError(f"it ends at byte {len(self._data)}, within a value")
        view = self._data[self._at : self._at + n]
        self._at += n
        return view

    def _number(self, kind: str) -> Any:
        return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]

    def _line(self) -> str:
        end = bytes(self._data[self._at : self._at + MAX_NAME]).find(b"\n")
        if end < 0:
            raise _RefusedError("a name has no end")
        return str(self._take(end + 1)[:-1], "ascii")

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _RefusedError("an instruction lacks its values")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self._stack[-1] is not _MARK:
            values.append(self._stack.pop())
        self._stack.pop()
        return values[::-1]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._n_values += 1
        if self._n_values > MAX_VALUES:
            raise _RefusedError(f"it has more than {MAX_VALUES} values")
        self._stack.append(value)

    def text(self, kind: str) -> None:
        """Text after its length."""
        self.push(str(self._take(self._number(kind)), "utf-8"))

    def buffer(self, kind: str) -> None:
        """Bytes after their length: a view, however long."""
        self.push(self._take(self._number(kind)))

    def number(self, kind: str) -> None:
        """Push a number of a fixed width."""
        self.push(self._number(kind))

    def integer(self) -> None:
        """Push an integer of any width."""
        self.push(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

    def skip(self, n: int) -> None:
        """Pass over what only helps reading ahead."""
        self._take(n)

    def take_tuple(self, n: int) -> None:
        """Join the last `n` values."""
        self.push(tuple([self._pop() for _ in range(n)][::-1]))

    def marked_tuple(self) -> None:
        """Join the values since the mark."""
        self.push(tuple(self._pop_to_mark()))

    def append(self, *, many: bool) -> None:
        """Add to the list below."""
        values = self._pop_to_mark() if many else [self._pop()]
        self._below(list).extend(values)

    def set_items(self, *, many: bool) -> None:
        """Add pairs to the dictionary below."""
        values = self._pop_to_mark() if many else [self._pop(), self._pop()][::-1]
        table = self._below(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise _RefusedError(f"a key is a {type(key).__name__}")
            table[key] = value

    def _below(self, kind: type[Any]) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise _RefusedError(f"an instruction lacks its {kind.__name__}")
        return self._stack[-1]

    def put(self, kind: str | None) -> None:
        """Remember the last value under a number, or under the next."""
        place = len(self._memo) if kind is None else self._number(kind)
        self._memo[place] = self._stack[-1]

    def get(self, kind: str) -> None:
        """Push a remembered value again."""
        self.push(self._memo[self._number(kind)])

    def name(self, *, stacked: bool) -> None:
        """Push what a name stands for; any name that is not of arrays ends the reading."""
        if stacked:
            name, module = self._pop(), self._pop()
        else:
            module, name = self._line(), self._line()
        part = _NAMES.get((module, name))
        if part is None:
            raise _RefusedError(f"it names {module}.{name}")
        self.push(part)

    def call(self) -> None:
        """Note what the file wants made of a name and its arguments."""
        arguments, part = self._pop(), self._pop()
        if not isinstance(part, _Part) or not isinstance(arguments, tuple):
            raise _RefusedError("it calls what is no part of an array")
        self.push(_Draft(part, arguments))

    def build(self) -> None:
        """Note the state of the draft below."""
        state = self._pop()
        self._below(_Draft).state = state


def _instructions() -> dict[int, Callable[[_Machine], None]]:
    """Every instruction that is known, by its byte."""
    of: dict[bytes, Callable[[_Machine], None]] = {
        b"\x80": lambda m: m.skip(1),  # protocol
        b"\x95": lambda m: m.skip(8),  # frame
        b"(": lambda m: m.push(_MARK),
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
        b"K": lambda m: m.number("<B"),
        b"M": lambda m: m.number("<H"),
        b"J": lambda m: m.number("<i"),
        b"G": lambda m: m.number(">d"),
        b"\x8a": lambda m: m.integer(),
        b"\x8c": lambda m: m.text("<B"),
        b"X": lambda m: m.text("<I"),
        b"\x8d": lambda m: m.text("<Q"),
        b"C": lambda m: m.buffer("<B"),
        b"B": lambda m: m.buffer("<I"),
        b"\x8e": lambda m: m.buffer("<Q"),
        b"\x96": lambda m: m.buffer("<Q"),
        b")": lambda m: m.push(()),
        b"]": lambda m: m.push([]),
        b"}": lambda m: m.push({}),
        b"t": lambda m: m.marked_tuple(),
        b"\x85": lambda m: m.take_tuple(1),
        b"\x86": lambda m: m.take_tuple(2),
        b"\x87": lambda m: m.take_tuple(3),
        b"a": lambda m: m.append(many=False),
        b"e": lambda m: m.append(many=True),
        b"s": lambda m: m.set_items(many=False),
        b"u": lambda m: m.set_items(many=True),
        b"\x94": lambda m: m.put(None),
        b"q": lambda m: m.put("<B"),
        b"r": lambda m: m.put("<I"),
        b"h": lambda m: m.get("<B"),
        b"j": lambda m: m.get("<I"),
        b"c": lambda m: m.name(stacked=False),
        b"\x93": lambda m: m.name(stacked=True),
        b"R": lambda m: m.call(),
        b"b": lambda m: m.build(),
    }
    return {code[0]: instruction for code, instruction in of.items()}


_INSTRUCTIONS = _instructions()


def _values_of(root: Any) -> Any:
    """Make the drafts; each value once, however often the file refers to it."""
    return _Maker().value(root, 0)


class _Maker:
    """Turns drafts into arrays and numbers."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()
        self._n_objects = 0

    def value(self, draft: Any, depth: int) -> Any:
        """Return the value of whatever the machine left."""
        if isinstance(draft, (str, int, float, type(None))):
            return draft
        if id(draft) in self._made:
            return self._made[id(draft)]
        if id(draft) in self._open or depth > MAX_DEPTH:
            raise _RefusedError("a value holds itself, or is nested too deep")
        self._open.add(id(draft))
        self._made[id(draft)] = made = self._make(draft, depth + 1)
        self._open.discard(id(draft))
        return made

    def _make(self, draft: Any, depth: int) -> Any:
        if isinstance(draft, dict):
            return {key: self.value(value, depth) for key, value in draft.items()}
        if isinstance(draft, (list, tuple)):
            return type(draft)(self.value(value, depth) for value in draft)
        if isinstance(draft, memoryview):
            return bytes(draft)
        if isinstance(draft, _Draft):
            return self._made_of(draft, depth)
        raise _RefusedError("it holds the name of an array's part where a value belongs")

    def _made_of(self, draft: _Draft, depth: int) -> Any:
        if draft.part is _Part.DTYPE:
            return _dtype(draft)
        if draft.part in (_Part.ENCODE, _Part.NO_BYTES):
            return _encoded(draft)
        if draft.part is _Part.SCALAR:
            dtype, raw = draft.arguments
            return self._array((), dtype, raw, "C", depth)[()]
        if draft.part is _Part.FROM_BUFFER:
            raw, dtype, shape, order = draft.arguments
            return self._array(shape, dtype, raw, order, depth)
        if draft.part is _Part.RECONSTRUCT:
            _, shape, dtype, is_fortran, raw = draft.state
            return self._array(shape, dtype, raw, "F" if is_fortran else "C", depth)
        raise _RefusedError(f"it makes a {draft.part.name.lower()}")

    def _array(self, shape: Any, dtype: Any, raw: Any, order: str, depth: int) -> Any:
        kind = self.value(dtype, depth)
        if not isinstance(kind, np.dtype) or not _is_shape(shape) or order not in ("C", "F"):
            raise _RefusedError("an array's description is damaged")
        if kind.hasobject:
            return self._objects(shape, raw, order, depth)
        raw = self.value(raw, depth) if isinstance(raw, _Draft) else raw
        expected = math.prod(shape) * kind.itemsize
        if not isinstance(raw, (bytes, memoryview)) or len(raw) != expected:
            raise _RefusedError(f"an array of shape {shape} has not its {expected} bytes")
        array: Any = np.frombuffer(raw, kind) if expected else np.empty(math.prod(shape), kind)
        return array.reshape(shape, order=order)

    def _objects(self, shape: tuple[int, ...], raw: Any, order: str, depth: int) -> Any:
        if not isinstance(raw, list) or len(raw) != math.prod(shape):
            raise _RefusedError(f"an array of shape {shape} has not its values")
        self._n_objects += len(raw)  # many arrays may name one list
        if self._n_objects > MAX_VALUES:
            raise _RefusedError(f"it has more than {MAX_VALUES} values")
        array: Any = np.empty(len(raw), dtype=object)
        for place, value in enumerate(raw):
            array[place] = self.value(value, depth)
        return array.reshape(shape, order=order)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)


def _dtype(draft: _Draft) -> np.dtype[Any]:
    name = draft.arguments[0]
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise _RefusedError(f"an array is of {name!r}")
    described: tuple[Any, ...] = draft.state or (3, "|", None, None, None)
    order, *parts = described[1:5]
    if order not in ("<", ">", "|", "=") or parts != [None, None, None]:
        raise _RefusedError("an array is of records")
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype.newbyteorder(order)


def _encoded(draft: _Draft) -> bytes:
    if draft.part is _Part.NO_BYTES and not draft.arguments:
        return b""
    if draft.part is not _Part.ENCODE or not isinstance(draft.arguments[0], str):
        raise _RefusedError("bytes are no text")
    text, encoding = draft.arguments
    if encoding != "latin1":
        raise _RefusedError(f"bytes are in {encoding!r}")
    return str(text).encode("latin1")
