"""What a result says of itself: a confidence, a chance and a rank only where there are any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.cli import main
from app.report.record import read_record
from app.report.sections import pictures
from app.runtime.folder import SessionFolder, result_to_json
from app.runtime.messages import Answer, job_of
from app.runtime.results import Cut, decoded
from configs import SessionConfig
from models.api import EncoderSpec, InputSpec
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Epoch, Float32, Info, length_of

GALLERY = load_gallery()
WANTED = InputSpec(250.0)
RANKING = EncoderSpec("ours", WANTED, -0.2, 0.8, None, None, GALLERY.n_features, space=SPACE)
STATING = replace(RANKING, states_confidence=True)
FOREIGN = replace(RANKING, name="foreign", space="clip")


def result_of(
    out: Path, spec: EncoderSpec, vector: Float32, confidence: float | None = None
) -> dict[str, Any]:
    """A result as `events.jsonl` and the events outlet carry it."""
    epoch = Epoch(
        np.zeros((2, 251), np.float32), -0.2, 0.8, 0.0, "volcano", Info(("O1", "O2"), 250.0), 0
    )
    folder = SessionFolder(out)
    try:
        result = decoded(
            Answer(0, vector, np.zeros((8, 8, 3), np.uint8), confidence=confidence),
            job_of(epoch, seed=0),
            Cut(epoch, 0.0, 0.0, 0.0, 0.0),
            config=SessionConfig(),
            candidates=GALLERY,
            folder=folder,
            spec=spec,
            sampler_sha256="",
        )
    finally:
        folder.close()
    return result_to_json(result)


def test_a_confidence_is_what_the_encoder_states(tmp_path: Path) -> None:
    vector = GALLERY.embedding("volcano") * np.float32(0.5)
    stated = result_of(tmp_path / "a", STATING, vector, length_of(vector))
    assert stated["confidence"] == pytest.approx(0.5)
    assert stated["rank"] == 1
    assert stated["chance"] == 1 / len(GALLERY)


@pytest.mark.parametrize("n_tokens", [0, 1, 77])
def test_without_a_statement_there_is_no_confidence(tmp_path: Path, n_tokens: int) -> None:
    """Long vectors of any shape: nothing is guessed from their length."""
    shape = (n_tokens, 64) if n_tokens else (64,)
    found = result_of(tmp_path / "a", FOREIGN, np.full(shape, 9.0, np.float32), 0.7)
    assert (found["confidence"], found["chance"], found["rank"]) == (None, None, None)
    assert found["top"] == []


def test_a_ranking_needs_the_gallerys_space_and_no_confidence(tmp_path: Path) -> None:
    found = result_of(tmp_path / "a", RANKING, GALLERY.embedding("volcano"))
    assert found["confidence"] is None
    assert (found["rank"], found["chance"]) == (1, 1 / len(GALLERY))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "is_ranked"), [("atm-toy", True), ("dreamdiffusion-toy", False)]
)
def test_published_systems_state_no_confidence(
    tmp_path: Path, system: str, is_ranked: bool
) -> None:
    """Random weights on noise: no bar in the report, no number in any file."""
    out = tmp_path / "session"
    arguments = ["demo", "--fast", "--headless", "--preset", system, "--snr", "0"]
    assert main([*arguments, "--duration", "4", "--seed", "3", "--out", str(out)]) == 0
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    drawn = [event for event in events if event["outcome"] == "decoded"]
    assert drawn
    for event in drawn:
        assert event["confidence"] is None
        assert (event["rank"] is not None, event["chance"] is not None) == (is_ranked, is_ranked)
        with Image.open(out / event["image"]) as image:
            assert not [key for key in image.info if "confidence" in str(key)]
    assert 'title="confidence' not in (out / "report.html").read_text()
    assert (json.loads((out / "summary.json").read_text())["accuracy"] is None) != is_ranked


def test_the_report_draws_a_bar_for_a_stated_confidence_only(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    event = {"index": 0, "t_onset": 1.0, "label": "volcano", "outcome": "decoded", "top": []}
    (folder / "events.jsonl").write_text(json.dumps(event | {"confidence": None}) + "\n")
    (folder / "summary.json").write_text("{}")
    (folder / "session.toml").write_text("")
    assert "confidence" not in str(pictures(read_record(folder), lambda _: None))
    (folder / "events.jsonl").write_text(json.dumps(event | {"confidence": 0.25}) + "\n")
    assert "confidence 0.25" in str(pictures(read_record(folder), lambda _: None))
