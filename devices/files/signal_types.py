"""What a recorded signal is, by its label, its unit and its transducer.

Owns the words; EDF names nothing else. Knows nothing of files.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.electrodes import canonical_name
from pipeline.labels import unit_scale

_WORDS: Final = (
    ("ecg", r"ecg|ekg|cardio"),
    ("eog", r"eog|[vh]eog|loc|roc"),
    ("emg", r"emg|chin|[lr]?leg|tib|masseter"),
    (
        "misc",
        r"temp|spo2|sao2|sp02|oxim|osat|ox|resp|air|airflow|flow|thor|abdo|chest|effort|nasal|cpap"
        r"|snore|sound|mic|pleth|plethwv|pulse|puls|pr|hr|hrate|bpm|bvp|ppg|acc|accel|acceleration"
        r"|accelerometer|gyro|mag|imu|counter|count|packet|package|sample|interpolated|battery|batt"
        r"|cq|quality|contact|impedance|marker|markers|event|events|trigger|trig|status|light"
        r"|position|pos|time|timestamp|gsr|eda|scr|skin|stim|dc\d*|aux\d*|co2|etco2|capno|bp|pressure"
        r"|raw_cq|humidity|rssi",
    ),
)
_SIGNAL: Final = tuple(
    (kind, re.compile(rf"(?:{words})[xyz]?(?:$|[^a-z])")) for kind, words in _WORDS
)
_ODD_VOLTS: Final = re.compile(r"\W?v|", re.I)
"""A unit that may have been volts, with what stood before the V lost; or none at all."""
_SENSOR: Final = re.compile(r"thermist|oximet|respir|thermo|accelero|gyro|piezo|microphone", re.I)


def guess_type(label: str, unit: str, transducer: str = "") -> str:
    """MNE's word for a signal that the file does not type: `eeg` unless something speaks against.

    Parameters
    ----------
    label, unit, transducer : str
        As the file says them; any may be empty.
    """
    word = label.strip().lower()
    if word.startswith("eeg"):
        return "eeg" if _may_be_volts(unit) else "misc"
    if canonical_name(label) is None:
        parts = [word, *re.split(r"[\s_.:/-]+", word)]
        for kind, pattern in _SIGNAL:
            if any(pattern.match(part) for part in parts):
                return kind
    if not _may_be_volts(unit) or _SENSOR.search(transducer):
        return "misc"
    return "eeg"


def _may_be_volts(unit: str) -> bool:
    return unit_scale(unit) is not None or _ODD_VOLTS.fullmatch(unit.strip()) is not None
