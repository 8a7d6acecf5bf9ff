"""NumPy's files as data: `.npy` and `.npz`, never anything that runs.

Owns what is refused before an array is made: Python objects (pickles), headers that promise more
than the file holds, members that unpack to more than memory should take. Knows nothing of what the
numbers mean.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from configs.arrays import array_errors
from configs.guard import open_file
from devices.errors import FileError

LARGEST: Final = 8 << 30
"""Most bytes of one member of an `.npz`, which is unpacked into memory; an `.npy` is mapped."""
_PICKLED: Final = (
    "holds Python objects, expected numbers or text: such a file can run code, so it is "
    "not opened; save it anew as plain arrays (dtype float32, str)."
)


class Arrays:
    """The arrays of one `.npz` by name, each read when it is asked for.

    Raises
    ------
    FileError
        It is no such file, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_file(path)
        try:
            with array_errors():
                self._zip = zipfile.ZipFile(self._file)
        except (OSError, ValueError) as error:
            self._file.close()
            raise FileError(
                f"{path} is damaged ({error}), expected an .npz file of NumPy: copy it again."
            ) from None
        self.names = tuple(
            name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, from its header alone."""
        with self._zip.open(f"{name}.npy") as member:
            return self._header(name, member)[0]

    def read(self, name: str) -> NDArray[Any]:
        """Read an array whole.

        Raises
        ------
        FileError
            It holds objects, is larger than the file, or damaged.
        """
        try:
            with array_errors(), self._zip.open(f"{name}.npy") as member:
                shape, dtype = self._header(name, member)
                size = math.prod(shape) * dtype.itemsize
                if size > LARGEST or size > self._zip.getinfo(f"{name}.npy").file_size:
                    raise FileError(
                        f"{self._path} promises {size} bytes for {name}, expected at most what "
                        f"the file holds (and {LARGEST >> 30} GiB): it is damaged; copy it again."
                    )
            with array_errors(), self._zip.open(f"{name}.npy") as member:
                return np.asarray(npy.read_array(member, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise FileError(
                f"{self._path}, array {name}, is damaged ({error}): copy it again."
            ) from None

    def _header(self, name: str, member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return _header(member, f"{self._path}, array {name},")

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def map_array(path: Path) -> NDArray[Any]:
    """Map an `.npy` file read-only: what is not read takes no memory.

    Raises
    ------
    FileError
        It holds objects, or is no such file, or damaged.
    """
    with open_file(path) as file:
        _header(file, str(path))
    try:
        with array_errors():
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} is damaged ({error}), expected an .npy file: copy it again."
        ) from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a new `.npz` of plain arrays, in their order.

    Raises
    ------
    FileError
        The file is there already, or cannot be written.
    """
    try:
        with path.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array(member, np.asanyarray(array), allow_pickle=False)
    except FileExistsError:
        raise FileError(f"{path} is there already, expected a new file: name another.") from None
    except OSError as error:
        raise FileError(f"{path} cannot be written ({error.strerror}): name another.") from None


def _header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that a member says of itself."""
    try:
        with array_errors():
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
    except (OSError, ValueError) as error:
        said = "no .npy data" if "magic" in str(error) else str(error)
        raise FileError(
            f"{what} is no array of NumPy ({said}): save it with numpy.save or numpy.savez."
        ) from None
    if dtype.hasobject:
        raise FileError(f"{what} {_PICKLED}")
    if any(side < 0 for side in shape):
        raise FileError(f"{what} says a shape of {shape}: it is damaged; copy it again.")
    return shape, dtype
