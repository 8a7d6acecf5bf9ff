"""A session takes the gallery of its settings: ranking, files, report and window."""

from __future__ import annotations

import json
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.benchmarks.idle import idle_decoder
from app.report.pictures import gallery_stimuli
from app.report.record import read_record
from app.runtime.decoder import Decoder
from app.runtime.session import Session
from app.view_models.session.pictures import GalleryPictures
from configs import OutletsConfig, RecordingConfig, SessionConfig
from devices.hostile import HostileSettings, HostileSource
from devices.virtual.service import gallery_embeddings
from pipeline.errors import GalleryError
from pipeline.gallery import SPACE, Gallery, load_gallery
from pipeline.gallery.making import find_pictures, make_gallery
from pipeline.values import Float32, Uint8
from tests.own_pictures import save_pictures
from tests.waiting import PATIENCE


def unit(pictures: Uint8) -> Float32:
    rows = np.random.default_rng(0).standard_normal((len(pictures), 64))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def own_gallery(folder: Path, *spaces: str) -> Gallery:
    save_pictures(folder / "pictures", ("ball", "cats/tom", "cats/minka"))
    found = find_pictures(folder / "pictures")
    encoders = dict.fromkeys(spaces, unit)
    return make_gallery(found, folder / "mine", name="mine", encoders=encoders)


def decoded(folder: Path, gallery: str | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Three seconds of a session with a decoder that does no work: its events, its summary."""
    session = Session(
        SessionConfig(
            gallery=gallery,
            outlets=OutletsConfig(enabled=False),
            recording=RecordingConfig(enabled=False),
        ),
        out=folder,
        open_source=lambda _stop: HostileSource(HostileSettings(duration=6.0, chunk=20)),
        clock=lambda: 0.0,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
        replay_of=Path("recording.xdf"),
    )
    session.start()
    assert session.wait(PATIENCE)
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [event for line in lines if (event := json.loads(line))["outcome"] == "decoded"]
    assert events
    return events, json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_a_session_ranks_in_its_own_gallery_and_says_which(tmp_path: Path) -> None:
    gallery = own_gallery(tmp_path, SPACE)
    events, summary = decoded(tmp_path / "session", str(gallery.folder))
    for event in events:
        assert {label for label, _ in event["top"]} == {"ball", "tom", "minka"}
        assert event["chance"] == pytest.approx(1 / 3)
    assert summary["warnings"] == []
    settings = tomllib.loads((tmp_path / "session" / "session.toml").read_text(encoding="utf-8"))
    assert settings["gallery"] == str(gallery.folder)
    assert settings["run"]["gallery"] == "mine"
    assert settings["run"]["gallery_sha256"] == gallery.sha256


def test_without_vectors_of_the_space_nothing_is_ranked_and_it_is_said(tmp_path: Path) -> None:
    gallery = own_gallery(tmp_path, "elsewhere-3")
    events, summary = decoded(tmp_path / "session", str(gallery.folder))
    assert all(not event["top"] and event["chance"] is None for event in events)
    assert summary["warnings"] == [
        f"Nothing is ranked: the decoder's vectors are of {SPACE}, and the gallery mine has "
        "elsewhere-3."
    ]
    with pytest.raises(GalleryError, match="which the virtual headset needs"):
        gallery_embeddings(str(gallery.folder))


def test_a_report_shows_the_pictures_only_of_the_gallery_that_was_shown(tmp_path: Path) -> None:
    gallery = own_gallery(tmp_path, SPACE)
    decoded(tmp_path / "session", str(gallery.folder))
    record = read_record(tmp_path / "session")
    shown = gallery_stimuli(record)
    assert shown("tom") is not None
    assert shown("house") is None
    (tmp_path / "mine" / f"{SPACE}.safetensors").unlink()
    (tmp_path / "mine" / "gallery.json").touch()
    assert gallery_stimuli(record)("tom") is None
    (tmp_path / "mine" / "gallery.json").unlink()
    assert gallery_stimuli(record)("tom") is None


def test_the_window_shows_pictures_of_the_sessions_gallery(tmp_path: Path) -> None:
    own = own_gallery(tmp_path, SPACE)
    pictures = GalleryPictures()
    assert pictures("house") is not None
    assert pictures.category("house") == "house"
    pictures.use(str(own.folder))
    assert pictures("house") is None
    assert pictures("tom") is not None
    assert pictures.category("tom") == "cats"
    assert pictures.category("house") == "house"
    pictures.use("nowhere")
    assert pictures("tom") is None
    pictures.use(None)
    np.testing.assert_array_equal(pictures("cat"), load_gallery().image("cat"))
