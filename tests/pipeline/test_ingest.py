"""From the wire to microvolts: every unit, format and spelling, and one line for what cannot be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.labels import canonical_label
from configs.models import SourceConfig
from configs.units import unit_scale
from pipeline.errors import InfoError, ShapeError
from pipeline.ingest import Ingest
from pipeline.values import Packet, StreamInfo, StreamRole

STREAM = StreamInfo(
    name="cap",
    type="EEG",
    source_id="x",
    n_channels=3,
    sfreq=250.0,
    channel_format="float32",
    ch_names=("EEG FP1-REF", "t3", "Cz"),
    ch_units=("microvolts",) * 3,
    ch_types=("EEG",) * 3,
)


def _packet(samples: np.ndarray) -> Packet:
    return Packet(StreamRole.EEG, samples, np.arange(len(samples)) / 250.0, 0.0)


@pytest.mark.parametrize("name", ["COUNTER", "sample counter"])
def test_a_counter_is_no_eeg_though_it_is_typed_so(name: str) -> None:
    stream = replace(STREAM, ch_names=("Cz", name, "Pz"))
    ingest = Ingest(SourceConfig(), stream)
    assert ingest.info.ch_names == ("Cz", "Pz")
    assert name in ingest.note
    assert "is not taken for EEG" in ingest.note
    # Who names it, means it.
    assert Ingest(SourceConfig(picks=(name,)), stream).info.ch_names == (name,)
    counted = Ingest(SourceConfig(counter_channel=name), stream)
    assert counted.has_counter
    assert counted.note == ""
    assert counted.info.ch_names == ("Cz", "Pz")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("EEG FP1-REF", "Fp1"),
        ("fpz", "Fpz"),
        ("T3", "T7"),
        ("t6-LE", "P8"),
        ("Fc5.", "FC5"),
        ("OZ", "Oz"),
        ("ffc1h", "FFC1h"),
        ("AFP3H", "AFp3h"),
        ("Cp1..", "CP1"),
        ("AF7", "AF7"),
        ("Fp1-F7", "Fp1-F7"),
        ("sample counter", "sample counter"),
        ("Aux1", "Aux1"),
    ],
)
def test_labels_are_spelt_as_in_the_10_05_system(given: str, expected: str) -> None:
    assert canonical_label(given) == expected
    assert canonical_label(expected) == expected


def test_labels_agree_with_mne() -> None:
    import mne

    known = mne.channels.get_builtin_montages()
    kind = "colin27_1005" if "colin27_1005" in known else "standard_1005"
    names = mne.channels.make_standard_montage(kind).ch_names
    wrong = [
        name
        for name in names
        if canonical_label(name.lower())
        != {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}.get(name, name)
    ]
    assert wrong == []


def test_unit_words() -> None:
    assert unit_scale("uV") == unit_scale("µV") == unit_scale("microvolts ") == 1.0
    assert unit_scale("V") == unit_scale("volts") == 1e6
    assert unit_scale("mV") == 1e3
    assert unit_scale("MV") is None
    assert unit_scale("") is None
    assert unit_scale("counts") is None


@pytest.mark.parametrize("unit", ["volts", "millivolts", "microvolts", "nanovolts"])
def test_one_signal_in_any_unit_is_the_same(unit: str) -> None:
    signal = np.random.default_rng(0).normal(0, 50, (100, 3))
    scale = unit_scale(unit)
    assert scale is not None
    for stream in (STREAM, replace(STREAM, ch_units=())):
        ingest = Ingest(SourceConfig(unit=unit), stream)  # type: ignore[arg-type]
        block = ingest.read(_packet(signal / scale))
        np.testing.assert_allclose(block.data, signal.T, rtol=1e-6)
        assert block.data.dtype == np.float32
    assert ingest.info.ch_names == ("Fp1", "T7", "Cz")
    assert ingest.display_names == ("EEG FP1-REF", "t3", "Cz")


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float32", "float64"])
def test_every_numeric_format(dtype: str) -> None:
    samples = np.array([[1, -2, 3], [4, 5, -6]], dtype=dtype)
    block = Ingest(SourceConfig(), STREAM).read(_packet(samples))
    np.testing.assert_array_equal(block.data, samples.T.astype(np.float32))


def test_picks_by_label_and_by_type() -> None:
    stream = replace(STREAM, ch_types=("EEG", "EOG", "eeg"), ch_units=("uV", "a.u.", "uV"))
    assert Ingest(SourceConfig(), stream).info.ch_names == ("Fp1", "Cz")
    picked = Ingest(SourceConfig(picks=("CZ", "fp1")), stream)
    samples = np.array([[1.0, 2.0, 3.0]])
    assert picked.read(_packet(samples)).data.tolist() == [[3.0], [1.0]]
    eog = Ingest(SourceConfig(picks=("T7",), unit="microvolts"), stream)
    assert eog.info.ch_types == ("eog",)


def test_counter_channel_is_apart() -> None:
    ingest = Ingest(SourceConfig(counter_channel="Cz"), STREAM)
    block = ingest.read(_packet(np.array([[1.0, 2.0, 7.0], [1.0, 2.0, 8.0]])))
    assert ingest.info.ch_names == ("Fp1", "T7")
    assert block.counts is not None
    assert block.counts.tolist() == [7.0, 8.0]


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=8), seed=st.integers(0, 99))
def test_values_that_are_not_finite_are_held_at_any_cut(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(60, 3)).astype(np.float32)
    broken = samples.copy()
    hits = rng.random((60, 3)) < 0.2
    broken[hits] = rng.choice([np.nan, np.inf, -np.inf, 1e30], hits.sum())
    ingest = Ingest(SourceConfig(), STREAM)
    blocks = [ingest.read(_packet(broken[a:b])) for a, b in pairwise(sorted({0, 60, *cuts}))]
    data = np.concatenate([b.data for b in blocks], axis=1)
    expected = np.zeros((3, 60), np.float32)
    for ch in range(3):
        last = np.float32(0)
        for i in range(60):
            last = last if hits[i, ch] else samples[i, ch]
            expected[ch, i] = last
    assert data.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(np.concatenate([b.bad for b in blocks]), hits.any(axis=1))


@pytest.mark.parametrize(
    ("source", "stream", "words"),
    [
        (SourceConfig(), replace(STREAM, ch_names=()), "no labels.*montage and unit.*--montage"),
        (SourceConfig(), replace(STREAM, ch_units=()), "no unit.*--unit"),
        (SourceConfig(), replace(STREAM, ch_units=("furlongs",) * 3), "'furlongs'.*--unit"),
        (
            SourceConfig(),
            replace(STREAM, n_channels=8, ch_names=tuple(f"E{i}" for i in range(200))),
            "200 labels for 8 channels",
        ),
        (SourceConfig(ch_names=("C3", "C4")), STREAM, "2 labels for 3 channels"),
        (SourceConfig(ch_names=("C3", "c3", "Cz")), STREAM, "C3 more than once"),
        (SourceConfig(picks=("Oz",)), STREAM, "picks has 'Oz'.*correct"),
        (SourceConfig(counter_channel="n"), STREAM, "counter_channel is 'n'"),
        (SourceConfig(), replace(STREAM, ch_types=("misc",) * 3), "none of type EEG"),
        (SourceConfig(), replace(STREAM, sfreq=0.0), "irregular.*source.sfreq"),
    ],
)
def test_a_stream_that_does_not_say_enough(
    source: SourceConfig, stream: StreamInfo, words: str
) -> None:
    with pytest.raises(InfoError, match=words) as caught:
        Ingest(source, stream)
    assert "\n" not in str(caught.value)


def test_a_packet_of_another_width_is_refused() -> None:
    with pytest.raises(ShapeError, match="has 4 channels, expected 3"):
        Ingest(SourceConfig(), STREAM).read(_packet(np.zeros((2, 4))))
    with pytest.raises(ShapeError, match="choose another stream"):
        Ingest(SourceConfig(), STREAM).read(Packet(StreamRole.EEG, ("a",), np.zeros(1), 0.0))


BOLD = replace(
    STREAM,
    type="fMRI",
    sfreq=0.5,
    ch_names=("a", "b", "c"),
    ch_types=("fMRI", "fMRI", "eeg"),
    ch_units=("percent", "", "volts"),
)


def test_a_session_reads_the_type_that_it_is_set_to_where_none_is_eeg() -> None:
    only = replace(BOLD, n_channels=2, ch_names=("a", "b"), ch_types=("fMRI",) * 2, ch_units=())
    with pytest.raises(InfoError, match="none of type EEG"):
        Ingest(SourceConfig(), only)
    ingest = Ingest(SourceConfig(type="fMRI"), only)
    assert ingest.info.ch_types == ("fmri", "fmri")
    block = ingest.read(_packet(np.array([[1.5, 900.0]], np.float32)))
    np.testing.assert_array_equal(block.data, [[1.5], [900.0]])
    # EEG goes before it; what is named is taken whatever it is, and only volts are scaled.
    assert Ingest(SourceConfig(type="fMRI"), BOLD).info.ch_types == ("eeg",)
    both = Ingest(SourceConfig(picks=("a", "c")), BOLD)
    block = both.read(_packet(np.array([[1.5, 0.0, 1e-6]], np.float32)))
    np.testing.assert_allclose(block.data, [[1.5], [1.0]])
