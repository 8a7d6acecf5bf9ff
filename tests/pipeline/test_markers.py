"""Labels out of every kind of marker stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.markers import MarkerReader
from pipeline.values import Packet, StreamInfo, StreamRole

INFO = StreamInfo("m", "Markers", "m", 1, 0.0, "string")


def _read(samples: object, info: StreamInfo | None = INFO) -> list[tuple[str, str]]:
    packet = Packet(StreamRole.MARKERS, samples, np.zeros(len(samples)), 0.0)  # type: ignore[arg-type]
    return MarkerReader(info).read(packet)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("face", "face"),
        (" face\x00", "face"),
        ("Tür/\N{SNOWMAN}", "Tür/\N{SNOWMAN}"),
        ('{"label": "house", "data": {"x": 1}}', "house"),
        ('{"label": 3}', "3"),
        ('{"data": 1}', '{"data": 1}'),
        ("{broken", "{broken"),
        ("x" * 65_536, "x" * 65_536),
    ],
)
def test_text(text: str, label: str) -> None:
    assert _read((text,)) == [(label, "")]


@pytest.mark.parametrize("text", ["", "  ", "x" * 65_537, "ü" * 40_000, '{"label": ""}'])
def test_text_that_is_no_label(text: str) -> None:
    ((label, reason),) = _read((text,))
    assert reason
    assert len(label) <= 80


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float32", "float64"])
def test_numbers_of_any_width_do_not_wrap(dtype: str) -> None:
    values = np.array([[3], [-4]], dtype=dtype)
    assert _read(values) == [("3", ""), ("-4", "")]
    if np.dtype(dtype).itemsize > 2:
        assert _read(np.array([[40_000]], dtype=dtype)) == [("40000", "")]


def test_numbers_that_are_no_labels() -> None:
    values = np.array([[np.nan], [np.inf], [1.5]])
    assert [bool(reason) for _, reason in _read(values)] == [True, True, False]
    assert _read(values)[2][0] == "1.5"


def test_one_hot_rows() -> None:
    info = replace(INFO, type="annotations", n_channels=2, ch_names=("face", "house"))
    rows = np.array([[0.0, -1.0], [0.3, 0.0], [0.0, 0.0], [1.0, 1.0], [np.nan, 0.0]])
    found = _read(rows, info)
    assert [label for label, _ in found] == ["house", "face", "", "", ""]
    assert [bool(reason) for _, reason in found] == [False, False, True, True, True]
    assert _read(rows[:1], None)[0] == ("1", "")
    single = replace(INFO, type="annotations", ch_names=("face",))
    assert _read(np.array([[-1.0]]), single) == [("face", "")]


def test_a_label_that_utf8_cannot_hold_is_mended() -> None:
    texts = ("a\ud800", '{"label": "b\\ud800"}', "naïve 猫")
    assert _read(texts) == [("a?", ""), ("b?", ""), ("naïve 猫", "")]
