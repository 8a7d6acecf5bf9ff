"""Sessions recorded by an earlier version replay to what they held then (tests/fixtures/sessions).

Bit for bit on the kind of processor that recorded them; elsewhere within a few units of float32's
last place, and a picture within a level of grey.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from app.cli import main
from app.runtime.decoder import Decoder
from app.runtime.messages import Answer, Job

SESSIONS = Path(__file__).parents[1] / "fixtures" / "sessions"
NEAR = 2e-5
"""Largest difference of a probability on another processor."""


def processor() -> dict[str, str]:
    """What decides how a sum is rounded and a picture packed, beside the run's own libraries."""
    told = {}
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    for line in lines:
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    flags = " ".join(sorted(told.get("flags", "").split()))
    return {
        "machine": platform.machine(),
        "pillow": version("pillow"),
        "vendor": told.get("vendor_id", ""),
        "family": told.get("cpu family", ""),
        "model": told.get("model", ""),
        "flags_sha256": hashlib.sha256(flags.encode()).hexdigest(),
    }


def events_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def run_of(folder: Path) -> dict:
    return tomllib.loads((folder / "session.toml").read_text())["run"]


def check_ranking(found: dict, stored: dict) -> None:
    """The same labels in the same order, but for those that are all but equal."""
    ours, theirs = found["top"], stored["top"]
    values = np.array([p for _, p in theirs])
    np.testing.assert_allclose([p for _, p in ours], values, atol=NEAR, rtol=0)
    clear = np.diff(values, prepend=1.0, append=0.0) < -2 * NEAR
    # The last one's neighbour below is not stored.
    for place in np.flatnonzero((clear[:-1] & clear[1:])[:-1]):
        assert ours[place][0] == theirs[place][0], stored["index"]
    assert abs(found["rank"] - stored["rank"]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "adapter", "atm-toy"])
def test_an_old_session_replays_to_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    old, out = SESSIONS / name, tmp_path / "again"
    vectors: dict[int, np.ndarray] = {}
    take = Decoder._answer

    def note(self: Decoder, job: Job, answer: Answer) -> None:
        assert answer.vector is not None, answer.error
        vectors[job.index] = answer.vector
        take(self, job, answer)

    monkeypatch.setattr(Decoder, "_answer", note)
    arguments = ["run", "--headless", "--config", str(old / "session.toml")]
    arguments += ["--replay", str(old / "recording.xdf"), "--out", str(out)]
    for adapter in old.glob("*/adapter.json"):
        arguments += ["--adapter", str(adapter.parent)]
    assert main(arguments) == 0

    found, stored = events_of(out), events_of(old)
    keys = ["index", "t_onset", "label", "outcome", "reason", "chance", "image"]
    before, now = run_of(old), run_of(out)
    recorded_on = json.loads((SESSIONS / "recorded_on.json").read_text())
    libraries = ("torch", "numpy", "scipy", "diffusers")
    are_same = all(before[k] == now[k] for k in libraries)
    is_same = processor() == recorded_on and are_same
    # A toy's weights are its library's first guess: of another diffusers they are others.
    draws_alike = before["sampler_sha256"] == now["sampler_sha256"]
    assert draws_alike or (name == "atm-toy" and not are_same)
    if is_same:
        keys += ["top", "rank", "confidence", "embedding_sha256"]
    if is_same and before["phosphene"] == now["phosphene"]:  # a picture's file names the version
        keys += ["image_sha256"]
    assert [[e[k] for k in keys] for e in found] == [[e[k] for k in keys] for e in stored]
    old_vectors = load_file(old / "vectors.safetensors")
    for one, other in zip(found, stored, strict=True):
        check_ranking(one, other)
        vector = old_vectors[str(other["index"])]
        np.testing.assert_allclose(
            vectors[one["index"]], vector, atol=1e-4 * np.abs(vector).max(), rtol=0
        )
        if not draws_alike:
            continue
        with Image.open(out / one["image"]) as ours, Image.open(old / other["image"]) as theirs:
            difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
        assert np.abs(difference).mean() <= (0.0 if is_same else 1.0), other["index"]
    # The weights, gallery and adapter that were used are the old ones, by their hashes.
    for key in ("encoder", "encoder_sha256", "gallery_sha256", "options"):
        assert now[key] == before[key], key
