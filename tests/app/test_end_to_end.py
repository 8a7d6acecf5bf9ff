"""The main job, whole: a virtual person over real LSL, decoded, drawn, recorded, replayed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from PIL import Image

from app.accuracy import Accuracy, Identification
from app.cli import main
from configs import SessionConfig, load_preset
from devices.virtual.accelerated import AcceleratedSource
from devices.virtual.boards import board_of
from devices.virtual.headset import HeadsetSettings
from models.embedded.encoder import load_encoder
from pipeline.gallery import load_gallery
from pipeline.live import LivePath
from pipeline.values import Outcome


def events_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.lsl
@pytest.mark.slow
def test_demo_then_replay_repeats_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live, again = tmp_path / "live", tmp_path / "again"
    arguments = ["demo", "--headless", "--duration", "6", "--seed", "5", "--out", str(live)]
    assert main(arguments) == 0
    events, summary = events_of(live), json.loads((live / "summary.json").read_text())
    # Every marker has one outcome, and the outcomes add up.
    assert [e["index"] for e in events] == list(range(len(events)))
    assert sum(summary["outcomes"].values()) == summary["markers"] == len(events) >= 4
    assert summary["samples"]["lost"] == 0
    assert summary["samples"]["recorded"] == summary["samples"]["received"] > 6 * 250
    assert {e["outcome"] for e in events} <= set(Outcome)
    decoded = [e for e in events if e["outcome"] == "decoded"]
    assert decoded
    for event in decoded:
        png = (live / event["image"]).read_bytes()
        assert hashlib.sha256(png).hexdigest() == event["image_sha256"]
        with Image.open(live / event["image"]) as image:
            assert image.size[0] >= 64
            assert image.info["phosphene:label"] == event["label"]
        stages = event["stages_ms"]
        parts = sum(v for name, v in stages.items() if name != "total_after_epoch")
        assert parts == pytest.approx(stages["total_after_epoch"], rel=0.05, abs=2.0)
    assert (live / "report.html").read_text().startswith("<!DOCTYPE html>")
    # The recording is a plain XDF whose markers are the session's.
    streams, _ = pyxdf.load_xdf(live / "recording.xdf", synchronize_clocks=False)
    by_type = {s["info"]["type"][0]: s for s in streams}
    assert [row[0] for row in by_type["Markers"]["time_series"]] == [e["label"] for e in events]
    assert by_type["EEG"]["time_series"].shape == (summary["samples"]["received"], 32)
    # A replay repeats outcomes, embeddings and pictures exactly.
    recording, settings = str(live / "recording.xdf"), str(live / "session.toml")
    replay = ["run", "--replay", recording, "--config", settings, "--out", str(again)]
    assert main(replay) == 0
    keys = ("index", "t_onset", "label", "outcome", "embedding_sha256", "image_sha256", "rank")
    assert [[e[k] for k in keys] for e in events_of(again)] == [
        [e[k] for k in keys] for e in events
    ]
    # A second session never writes into a folder that holds one.
    before = (live / "events.jsonl").read_bytes()
    capsys.readouterr()
    assert main([*replay[:-1], str(live)]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert (live / "events.jsonl").read_bytes() == before


def identify(snr: float, *, seed: int, n_stimuli: int = 110) -> Accuracy:
    """Decode a held-out virtual person through the live path, as fast as it goes."""
    config: SessionConfig = load_preset("demo")
    gallery, encoder = load_gallery(), load_encoder()
    upright = gallery.subset(kind="upright")
    rng = np.random.default_rng(seed)
    labels = [upright.labels[i] for i in rng.integers(0, len(upright), n_stimuli)]
    stimuli = [(5.0 + 1.3 * i, label) for i, label in enumerate(labels)]
    source = AcceleratedSource(
        HeadsetSettings(
            board=board_of("cap32"),
            subject_number=1003,
            snr=snr,
            seed=seed,
            duration=stimuli[-1][0] + 1.5,
        ),
        dict(zip(gallery.labels, gallery.embeddings, strict=True)),
        stimuli,
    )
    path = LivePath(config, source.streams)
    verdicts = []
    while items := source.read(0.0):
        for item in items:
            verdicts += path.feed(item)
    verdicts += path.finish()
    assert len(verdicts) == n_stimuli
    found = Identification(len(upright))
    for verdict in verdicts:
        if verdict.epoch is not None:
            ranked = upright.rank(encoder.encode(verdict.epoch).vector)
            rank = [each.label for each in ranked].index(verdict.marker.label) + 1
            found.add(verdict.marker.label, ranked[0].label, rank)
    assert found.accuracy is not None
    return found.accuracy


@pytest.mark.slow
def test_a_held_out_person_is_decoded_and_without_information_it_is_chance() -> None:
    found = identify(1.0, seed=11)
    assert found.n > 80
    assert found.p_value < 1e-3
    # The control that proves nothing leaks: the same stimuli, the same everything, SNR 0.
    control = identify(0.0, seed=11)
    assert control.p_value > 1e-3
    spread = control.n_candidates / np.sqrt(12 * control.n)
    assert abs(control.mean_rank - (control.n_candidates + 1) / 2) < 4 * spread
    assert found.mean_rank < (found.n_candidates + 1) / 2 - 6 * spread


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truncated = tmp_path / "cut.edf"
    truncated.write_bytes(b"0       X")
    missing = tmp_path / "none.xdf"
    out = str(tmp_path / "out")
    cases = {
        ("demo", "--headless", "--preset", "nope"): "preset 'nope' is unknown, expected one of",
        ("run", "--headless", "--config", str(missing), "--out", out): "no such file",
        ("run", "--headless", "--replay", str(missing), "--out", out): str(missing),
        ("run", "--headless", "--replay", str(truncated), "--out", out): str(truncated),
        ("demo", "--headless", "--snr", "-1"): "simulation.snr = -1.0",
        ("demo", "--headless", "--board", "nope", "--out", out): "nope",
        ("run", "--headless", "--adapter", "nope", "--out", out): "there is no adapter 'nope'",
    }
    for arguments, words in cases.items():
        assert main(list(arguments)) == 1, arguments
        captured = capsys.readouterr()
        assert words in captured.err, arguments
        assert len(captured.err.strip().splitlines()) == 1, captured.err
        assert not Path(out).exists(), arguments
