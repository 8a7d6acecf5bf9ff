"""Units of voltage: our four names, their size, and every spelling that the field has for them.

Owns the table. The samples are microvolts from the inlet on.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

UnitName = Literal["microvolts", "millivolts", "volts", "nanovolts"]
UNITS: Final[tuple[UnitName, ...]] = get_args(UnitName)

_SCALES: Final = {
    "volts": 1e6,
    "volt": 1e6,
    "v": 1e6,
    "millivolts": 1e3,
    "millivolt": 1e3,
    "mv": 1e3,
    "microvolts": 1.0,
    "microvolt": 1.0,
    "microv": 1.0,
    # As far as EDF has room.
    "microvol": 1.0,
    "millivol": 1e3,
    "muv": 1.0,
    "uv": 1.0,
    "uvolt": 1.0,
    "uvolts": 1.0,
    "mcv": 1.0,
    # UTF-8, read as Latin-1.
    "âµv": 1.0,
    "µv": 1.0,
    "μv": 1.0,
    # The sign in Shift-JIS, read as Latin-1.
    "\x83\xeav": 1.0,
    "nanovolts": 1e-3,
    "nanovolt": 1e-3,
    "nv": 1e-3,
}
_NAMES: Final = {_SCALES[name]: name for name in UNITS}


def unit_name(word: str) -> str | None:
    """Return our name for any spelling of a voltage, upper or lower case; None: it is none."""
    scale = _SCALES.get(word.strip().lower())
    return None if scale is None else _NAMES[scale]


def unit_scale(unit: str) -> float | None:
    """Microvolts in one `unit`; None for a word that is no voltage. `mV` is not `MV`."""
    word = unit.strip()
    if word.lower() in ("mv", "µv", "μv") and word[0] == "M":
        return None
    return _SCALES.get(word.lower())
