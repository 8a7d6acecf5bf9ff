"""Decoding from Python is the session's decoding: the same bits as `phosphene run --replay`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest
import torch

import phosphene
from app.cli import main
from configs import FilterConfig
from models.adapters import save_adapter
from models.adapters.classes import fit_classes
from models.adapters.suggesting import target_of
from phosphene import Outcome, SessionConfig, Trial
from pipeline.gallery import load_gallery
from tests.conformance.recut import Recut
from tests.devices.edf_tools import write_edf

CH_NAMES = ["O1", "Oz", "O2", "P7", "P8", "Pz", "PO7", "PO8"]
LABELS = [each.label for each in load_gallery().stimuli[:5]]
SFREQ = 250.0


NO_FILTER = {"l_freq": None, "h_freq": None, "notch_freqs": []}


def make_raw() -> mne.io.RawArray:
    """Noise of 10 microvolts with six events and one jump that is an artifact."""
    rng = np.random.default_rng(3)
    data = rng.normal(0, 1e-5, (len(CH_NAMES), round(30 * SFREQ)))
    data[:, round(20.1 * SFREQ)] += 2e-3
    raw = mne.io.RawArray(data, mne.create_info(CH_NAMES, SFREQ, "eeg"), verbose="ERROR")
    onsets = [1.0, 10.0, 12.5, 15.004, 20.0, 25.0]
    raw.set_annotations(mne.Annotations(onsets, 0.0, [*LABELS, LABELS[0]]))
    return raw


@pytest.fixture(scope="module")
def system() -> phosphene.System:
    return phosphene.load_system(backend="auto", dtype="auto")  # as the presets have it


@pytest.fixture(scope="module")
def fif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "walk_raw.fif"
    make_raw().save(path, fmt="double", verbose="ERROR")
    return path


@pytest.fixture(scope="module")
def session(fif: Path, tmp_path_factory: pytest.TempPathFactory) -> phosphene.Session:
    out = tmp_path_factory.mktemp("sessions") / "s"
    assert main(["run", "--headless", "--replay", str(fif), "--out", str(out)]) == 0
    return phosphene.read_session(out)


def same_bits(one: Sequence[Trial], other: Sequence[Trial]) -> None:
    assert [(t.label, t.outcome, t.rank) for t in one] == [
        (t.label, t.outcome, t.rank) for t in other
    ]
    for a, b in zip(one, other, strict=True):
        assert (a.epoch is None) is (b.epoch is None)
        if a.epoch is not None and b.epoch is not None:
            assert np.array_equal(a.epoch.data, b.epoch.data)
        if a.embedding is not None and b.embedding is not None:
            assert np.array_equal(a.embedding.vector, b.embedding.vector)
        if a.image is not None and b.image is not None:
            assert np.array_equal(a.image.pixels, b.image.pixels)


def test_it_is_what_run_replay_decodes(
    fif: Path, session: phosphene.Session, system: phosphene.System
) -> None:
    trials = {t.index: t for t in phosphene.decode(fif, system=system)}
    assert len(trials) == len(session.events) == 6
    outcomes = [str(trials[k].outcome) for k in range(6)]
    assert outcomes == ["settling", "decoded", "decoded", "decoded", "artifact", "decoded"]
    vectors = session.embeddings()
    for event in session.events:
        trial = trials[event.index]
        assert (str(trial.outcome), trial.label, trial.rank, trial.chance) == (
            event.outcome,
            event.label,
            event.rank,
            event.chance,
        )
        assert trial.confidence == pytest.approx(event.confidence, abs=1e-6)
        assert [label for label, _ in trial.top[:10]] == [label for label, _ in event.top]
        if trial.embedding is None or trial.image is None:
            assert session.image(event) is None
            continue
        vector = np.ascontiguousarray(trial.embedding.vector, dtype="<f4")
        assert hashlib.sha256(vector.tobytes()).hexdigest() == event.embedding_sha256
        assert np.array_equal(vectors[event.index], vector)
        pixels = session.image(event)
        assert pixels is not None
        assert np.array_equal(pixels, trial.image.pixels)


def test_mne_raw_is_decoded_as_its_file(fif: Path, system: phosphene.System) -> None:
    by_file = list(phosphene.decode(fif, system=system, draw=False))
    raw = mne.io.read_raw_fif(fif, verbose="ERROR")
    same_bits(by_file, list(phosphene.decode(raw, system=system, draw=False)))
    same_bits(by_file, list(phosphene.decode(raw.load_data(), system=system, draw=False)))
    same_bits(by_file, list(phosphene.decode(make_raw(), system=system, draw=False)))


@pytest.mark.parametrize("seed", range(3))
def test_pieces_do_not_matter(fif: Path, system: phosphene.System, seed: int) -> None:
    whole = list(phosphene.decode(fif, system=system, draw=False))
    source = Recut(phosphene.open_recording(fif), seed)
    try:
        same_bits(whole, list(phosphene.decode(source, system=system, draw=False)))
        assert source.read(0.0) == []
    finally:
        source.close()


def test_volts_become_microvolts_whatever_the_file_said(tmp_path: Path) -> None:
    """A file in millivolts, read by MNE into volts: the epochs are microvolts of 10 or so."""
    path = tmp_path / "mv.edf"
    events = [(4.0, "cat")]
    written = write_edf(path, ["EEG O1", "EEG O2"], units=["mV", "mV"], events=events, scale=0.2)
    raw = mne.io.read_raw_edf(path, verbose="ERROR")
    plain = phosphene.load_settings(filter=NO_FILTER, epochs={"baseline": None, "reject_uv": {}})
    (verdict,) = phosphene.cut_epochs(raw, settings=plain)
    assert verdict.epoch is not None
    expected = 1e3 * written[:, 380:481]
    assert np.allclose(verdict.epoch.data, expected, rtol=1e-5)


def test_mne_epochs_are_runs_of_their_own(system: phosphene.System) -> None:
    raw = make_raw()
    events, event_id = mne.events_from_annotations(raw, verbose="ERROR")
    long = mne.Epochs(
        raw, events[1:], event_id, -6.0, 1.0, baseline=None, preload=True, verbose="ERROR"
    )
    trials = list(phosphene.decode(long, system=system, draw=False))
    assert [t.label for t in trials] == [*LABELS[1:], LABELS[0]]
    found = [t.outcome for t in trials]
    assert found[:3] == [Outcome.DECODED] * 3
    assert found[3] is Outcome.ARTIFACT
    short = mne.Epochs(
        raw, events[1:], event_id, -0.2, 0.8, baseline=None, preload=True, verbose="ERROR"
    )
    refused = list(phosphene.cut_epochs(short))
    assert {v.outcome for v in refused} == {Outcome.SETTLING}
    # Without a filter nothing has to settle, and the samples are the Raw's own.
    plain = phosphene.load_settings(filter=NO_FILTER, epochs={"reject_uv": {}})
    by_epochs = [v.epoch for v in phosphene.cut_epochs(short, settings=plain)]
    by_raw = [v.epoch for v in phosphene.cut_epochs(raw, settings=plain)][1:]
    assert len(by_epochs) == len(by_raw) == 5
    for one, other in zip(by_epochs, by_raw, strict=True):
        assert one is not None
        assert other is not None
        assert np.array_equal(one.data, other.data)


def test_nothing_of_torch_is_changed_for_the_rest_of_the_program(
    fif: Path, system: phosphene.System
) -> None:
    torch.set_num_threads(2)
    next(phosphene.decode(fif, system=system, draw=False))
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()


def test_no_chance_and_no_confidence_where_nothing_states_it(fif: Path) -> None:
    """A toy of random weights in a space of its own: neither rank nor confidence."""
    settings = phosphene.load_settings("dreamdiffusion-toy")
    trials = [
        t for t in phosphene.decode(fif, settings=settings, draw=False) if t.embedding is not None
    ]
    assert trials
    assert {(t.rank, t.chance, t.confidence, t.top) for t in trials} == {(None, None, None, ())}
    assert phosphene.score(trials) is None


def test_what_cannot_be_a_source_is_one_line() -> None:
    with pytest.raises(phosphene.PhospheneError, match="a int was given, expected the path"):
        next(phosphene.cut_epochs(3, settings=SessionConfig()))
    with pytest.raises(phosphene.PhospheneError, match="expected an MNE Raw or Epochs"):
        phosphene.from_mne("walk.fif")
    info = mne.create_info(["STI"], 100.0, "stim")
    raw = mne.io.RawArray(np.zeros((1, 100)), info, verbose="ERROR")
    with pytest.raises(phosphene.PhospheneError, match="holds no EEG channel"):
        phosphene.from_mne(raw)
    with pytest.raises(phosphene.PhospheneError, match=r"load_settings: epochs\.tmax"):
        phosphene.load_settings(epochs={"tmax": -1.0})


def test_a_session_reads_as_records_and_as_mne(fif: Path, session: phosphene.Session) -> None:
    assert session.summary["markers"] == 6
    assert session.settings.filter == SessionConfig().filter
    records = session.records()
    assert [r["label"] for r in records] == [*LABELS, LABELS[0]]
    assert {type(v) for r in records for v in r.values()} <= {int, float, str, type(None)}
    raw = session.to_raw()
    original = mne.io.read_raw_fif(fif, verbose="ERROR")
    assert raw.ch_names == original.ch_names
    assert np.allclose(raw.get_data(), original.get_data(), atol=1e-11)
    assert [a["description"] for a in raw.annotations] == [*LABELS, LABELS[0]]
    assert np.allclose(raw.annotations.onset, original.annotations.onset, atol=0.5 / SFREQ)
    found = phosphene.score(session.events)
    assert found is not None
    assert found.n == 4
    with pytest.raises(phosphene.PhospheneError, match="no event of index 99"):
        session.image(99)


def test_an_adapter_brings_its_channels_events_and_classes(tmp_path: Path) -> None:
    gallery, (first, second) = load_gallery(), LABELS[:2]
    targets = tuple(target_of(name, name, gallery) for name in (first, second))
    rng = np.random.default_rng(0)
    info = phosphene.Info(("Oz", "PO7"), SFREQ)
    epochs = [
        phosphene.Epoch(
            rng.normal(0, 10, (2, 251)).astype(np.float32),
            -0.2, 0.8, float(k), (first, second)[k % 2], info, k,
        )
        for k in range(40)
    ]  # fmt: skip
    narrow = FilterConfig(h_freq=30.0)
    adapter = fit_classes(epochs, targets, gallery, filter_config=narrow, subject="kim")
    classes = adapter.manifest.event_classes
    labels = classes.model_copy(update={"labels": {first: first, second: second}})
    manifest = adapter.manifest.model_copy(update={"classes": labels})
    save_adapter(replace(adapter, manifest=manifest), tmp_path / "kim")
    system = phosphene.load_system(adapter=str(tmp_path / "kim"))
    assert system.settings.source.picks == ("Oz", "PO7")
    assert (system.settings.filter.h_freq, system.settings.subject) == (30.0, "kim")
    trials = list(phosphene.decode(make_raw(), system=system, draw=False))
    others = [each for each in trials if each.label not in (first, second)]
    assert {each.outcome for each in others} == {Outcome.IGNORED}
    decoded = [each for each in trials if each.outcome is Outcome.DECODED]
    assert decoded
    assert all({name for name, _ in each.top} == {first, second} for each in decoded)
    assert all(each.epoch is not None and each.epoch.info.n_channels == 2 for each in decoded)
    assert all(each.chance == 0.5 and each.rank in (1, 2) for each in decoded)
    same = list(phosphene.decode(make_raw(), settings=SessionConfig(), system=system, draw=False))
    assert [each.outcome for each in same] == [each.outcome for each in trials]
