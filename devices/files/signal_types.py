"""What a recorded signal is, by its label, its unit and its transducer.

Owns the words; EDF names nothing else. Knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from configs.labels import difference
from configs.units import unit_scale
from pipeline.electrodes import canonical_name

_WORDS: Final = (
    ("ecg", r"ecg|ekg|cardio"),
    ("eog", r"[vh]?eog|loc|roc|e[12]"),
    ("emg", r"emg|chin|[lr]?leg|tib|masseter"),
    (
        "stim",
        r"markers?|events?|triggers?|trig|stim|status",
    ),
    (
        "misc",
        r"temp|spo2|sao2|sp02|oxim|osat|ox|resp|air|airflow|flow|thor|abdo|chest|effort|nasal|cpap"
        r"|snore|sound|mic|pleth|plethwv|pulse|puls|pr|hr|hrate|bpm|bvp|ppg|acc|accel|acceleration"
        r"|accelerometer|gyro|mag|imu|counter|count|packet|package|sample|interpolated|battery|batt"
        r"|cq|quality|contact|impedance|light"
        r"|position|pos|time|timestamp|gsr|eda|scr|skin|dc\d*|aux\d*|co2|etco2|capno|bp|pressure"
        r"|raw_cq|humidity|rssi|photic|ibi|bursts|suppr",
    ),
)
_SIGNAL: Final = tuple(
    (kind, re.compile(rf"(?:{words})[xyz]?(?:$|[^a-z])")) for kind, words in _WORDS
)
_QUANTITIES: Final = re.compile(
    r"%|.*deg.*|\W*[cfk]|bpm|1?/min|rpm|[km]?(?:ohms?|\u03a9|\u2126)|m?l(?:/\w+)?|(?:cm|mm)\s*h2?[o0g]|m?bar"
    r"|k?pa|m?g|g/s|m/s(?:\^?2|\u00b2)?|cm|mm|m|lux|k?hz|m?s|sec|db|bool(?:ean)?|m?mol|[\u00b5u]s|[un\u00b5]?a",
    re.I,
)
"""Units of something else than a voltage."""
_SENSOR: Final = re.compile(r"thermist|oximet|respir|thermo|accelero|gyro|piezo|microphone", re.I)


def guess_types(
    labels: Sequence[str], units: Sequence[str], transducers: Sequence[str]
) -> list[str]:
    """MNE's word for each signal of a file that types none: see `guess_type`.

    Where others are voltages, one without a readable unit that is called like no electrode is none.
    """
    said = list(zip(labels, units, transducers, strict=True))
    types = [guess_type(*each) for each in said]
    if any(
        kind == "eeg" and unit_scale(unit) is not None
        for kind, (_, unit, _) in zip(types, said, strict=True)
    ):
        for k, (label, unit, _) in enumerate(said):
            if types[k] == "eeg" and unit_scale(unit) is None and not _is_site(label):
                types[k] = "misc"
    return types


def guess_type(label: str, unit: str, transducer: str = "") -> str:
    """MNE's word for a signal that the file does not type: `eeg` unless something speaks against.

    A unit that cannot be read does not speak against it: it is asked for.

    Parameters
    ----------
    label, unit, transducer : str
        As the file says them; any may be empty.
    """
    word = label.strip().lower()
    word = re.sub(r"^eeg[\s_-]+", "", word)
    is_other = unit_scale(unit) is None and _QUANTITIES.fullmatch(unit.strip()) is not None
    if canonical_name(label) is None and difference(label) is None:
        parts = [word, *re.split(r"[\s_.:/-]+", word)]
        for kind, pattern in _SIGNAL:
            if any(pattern.match(part) for part in parts):
                return kind
    is_named = word != label.strip().lower()
    if is_other or (_SENSOR.search(transducer) and not is_named):
        return "misc"
    return "eeg"


def _is_site(label: str) -> bool:
    is_named = label.strip().lower().startswith("eeg")
    return is_named or canonical_name(label) is not None or difference(label) is not None
