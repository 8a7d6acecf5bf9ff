"""Fake session folders in the contract's layout, as the runtime writes them."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from PIL import Image

from app.accuracy import Identification
from app.runtime.statistics import accuracy_table

LABELS = tuple(f"thing-{number:03d}" for number in range(200))
STAGES = ("arrival", "filter", "epoch", "queue", "encode", "sample")
MEDIANS = (11.0, 1.4, 0.6, 2.1, 9.5, 46.0)


def picture_of(label: str, *, noise: float = 0.0, seed: int = 0) -> np.ndarray[Any, Any]:
    """A small drawing that depends on the label: (96, 96, 3) uint8."""
    rng = np.random.default_rng(int(hashlib.sha256(label.encode()).hexdigest()[:8], 16))
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    colours = rng.uniform(40, 235, (2, 3))
    cx, cy, width = rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3), rng.uniform(0.35, 0.7)
    inside = (np.abs(x - cx) ** rng.uniform(1, 4) + np.abs(y - cy) ** 2 < width**2)[..., None]
    plain = np.where(inside, colours[0], 0.35 * colours[1] + 165)
    plain = plain * (1 - 0.25 * y[..., None])
    plain += noise * np.random.default_rng(seed).normal(0, 60, plain.shape)
    return np.clip(plain, 0, 255).astype(np.uint8)


def stimulus(label: str) -> np.ndarray[Any, Any] | None:
    """What the gallery would show for a label; None for a label it does not know."""
    return picture_of(label) if label in LABELS else None


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def make_event(index: int, *, skill: float, rng: np.random.Generator) -> dict[str, Any]:
    label = LABELS[int(rng.integers(len(LABELS)))]
    t_onset = 5000.0 + 1.31 * index
    outcome = str(rng.choice(["decoded"] * 22 + ["artifact", "gap", "overload"]))
    base = {
        "index": index,
        "t_onset": t_onset,
        "label": label,
        "outcome": outcome,
        "reason": "" if outcome == "decoded" else f"why it was refused: {outcome}",
        "quality": {"peak_to_peak_uv": 42.5},
    }
    if outcome != "decoded":
        return base
    rank = 1 if rng.random() < skill else int(rng.integers(1, len(LABELS) + 1))
    if skill and rank > 1:
        rank = 1 + int((rank - 1) * rng.random() ** 2)
    scores = np.sort(rng.dirichlet(np.full(8, 0.5)))[::-1] * 0.9
    others = [name for name in LABELS if name != label]
    names = [others[int(i)] for i in rng.permutation(len(others))[:8]]
    if rank <= 8:
        names[rank - 1] = label
    spread = rng.lognormal(0, 0.15, len(STAGES))
    times = {n: float(m * s) for n, m, s in zip(STAGES, MEDIANS, spread, strict=True)}
    times["total_after_epoch"] = sum(times.values())
    return base | {
        "top": [[name, round(float(score), 6)] for name, score in zip(names, scores, strict=True)],
        "chance": 1 / len(LABELS),
        "rank": rank,
        "confidence": round(float(np.clip(rng.normal(0.55, 0.15), 0, 1)), 6),
        "image": f"images/{index:06d}.png",
        "embedding_sha256": hashlib.sha256(str(index).encode()).hexdigest(),
        "stages_ms": times,
    }


def make_session(
    folder: Path, *, n_markers: int = 48, skill: float = 0.22, seed: int = 3, **summary: Any
) -> Path:
    """Write a whole session folder; `skill` 0 decodes at chance."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    events = [make_event(index, skill=skill, rng=rng) for index in range(n_markers)]
    for event in events:
        if event["outcome"] == "decoded":
            noise = 0.3 if event["rank"] < 10 else 1.0
            shown = event["label"] if event["rank"] < 10 else event["top"][0][0]
            data = png(picture_of(shown, noise=noise, seed=event["index"]))
            (folder / event["image"]).write_bytes(data)
            event["image_sha256"] = hashlib.sha256(data).hexdigest()
    write_events(folder, events)
    table = make_summary(events) | summary
    (folder / "summary.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "session.toml").write_text(tomli_w.dumps(SETTINGS), encoding="utf-8")
    return folder


def write_events(folder: Path, events: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events.jsonl").write_text(lines, encoding="utf-8")


def make_summary(events: list[dict[str, Any]]) -> dict[str, Any]:
    found = Identification(len(LABELS))
    for event in events:
        if event.get("rank"):
            found.add(event["label"], event["top"][0][0], event["rank"])
    rows = [event["stages_ms"] for event in events if "stages_ms" in event]
    latency = {}
    for name in (*STAGES, "total_after_epoch"):
        p50, p95, p99 = np.percentile([row[name] for row in rows], [50, 95, 99])
        latency[name] = {"p50": p50, "p95": p95, "p99": p99, "n": len(rows)}
    return {
        "schema_version": 1,
        "phase": "stopped",
        "duration_s": 61.4,
        "markers": len(events),
        "outcomes": dict(Counter(event["outcome"] for event in events)),
        "samples": {"received": 15280, "lost": 64, "recorded": 15280},
        "gaps": [{"start": 5020.0, "end": 5020.8}],
        "reconnects": 0,
        "effective_sfreq": 250.02,
        "latency_ms": latency,
        "latency_check": {"sum_of_stages_p50": 71.2, "total_p50": 71.2, "relative_error": 0.001},
        "overhead_ms": {"chunk_ms": 20.0, "compute_p50": 55.5, "p50": 71.2, "limit_p50": 90.5},
        "accuracy": accuracy_table(found.accuracy),
        "decoder": {"state": "ready (cpu, 1 thread)", "restarts": 0},
        "warnings": [],
        "recording": {"path": "recording.xdf", "bytes": 2034567, "dropped": 0},
        "replay_of": None,
        "latency_clock": "live",
    }


SETTINGS: dict[str, Any] = {
    "schema_version": 1,
    "preset": "demo",
    "seed": 7,
    "subject": "S01",
    "filter": {"l_freq": 0.5, "h_freq": 40.0, "notch_freqs": [50.0]},
    "decoder": {"system": "embedded", "num_inference_steps": 4},
    "simulation": {"board": "cap32", "subject_number": 1001, "snr": 1.0},
    "run": {
        "started": "2026-11-21T02:00:00Z",
        "versions": {"phosphene": "0.1.0", "torch": "2.13.0+cpu"},
        "encoder_sha256": "5f" * 32,
    },
    "streams": {
        "eeg": {
            "name": "Phosphene virtual cap32",
            "simulated": True,
            "sfreq": 250.0,
            "ch_names": ["Fp1", "Fp2", "O1", "O2"],
            "manufacturer": "Phosphene virtual headset",
        }
    },
}
