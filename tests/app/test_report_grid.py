"""The grid of a session of classes: what was shown beside what was drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from app.report import grid_of
from app.report.grid import HALF, NONE, RIGHT, WRONG, colour_of, heading_of, unseen_trials
from app.report.record import read_record

BLUE = (0, 0, 255)


def session(folder: Path, *, learnt: int = 1) -> Path:
    """Six trials of classes by other markers' names; the first `learnt` are no test."""
    shown = ["11", "12", "21", "13", "12", "press"]
    class_of = {"11": "face-upright", "12": "face-inverted", "21": "house", "13": "face-upright"}
    decoded = ["face-upright", "face-inverted", "house", "face-inverted", "house", None]
    (folder / "images").mkdir()
    Image.new("RGB", (64, 64), BLUE).save(folder / "images/000000.png")
    lines: list[dict[str, Any]] = []
    for k, (label, best) in enumerate(zip(shown, decoded, strict=True)):
        line = {"index": k, "t_onset": 1.0 * k, "label": label, "confidence": 0.5}
        line |= {"outcome": "decoded", "image": "images/000000.png", "top": [[best, 0.9]]}
        line |= {"class": class_of.get(label), "learnt": k < learnt}
        if label == "press":
            line |= {"outcome": "ignored", "top": [], "image": None}
        lines.append(line)
    refused = {"index": 6, "t_onset": 6.0, "label": "21", "outcome": "artifact", "top": []}
    lines.append(refused)
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    channels = {"O1": {}, "O2": {}}
    (folder / "summary.json").write_text(json.dumps({"channels": channels}))
    (folder / "session.toml").write_text("[decoder]\nnum_inference_steps = 1\n")
    return folder


def test_trials_come_in_order_without_those_that_were_learnt(tmp_path: Path) -> None:
    record = read_record(session(tmp_path))
    trials = unseen_trials(record)
    assert [event.index for event in trials] == [1, 2, 3, 4, 6]
    shown = ["face-inverted", "house", "face-upright", "face-inverted", "house"]
    colours = [colour_of(event, name) for event, name in zip(trials, shown, strict=True)]
    assert colours == [RIGHT, RIGHT, HALF, WRONG, NONE]
    assert heading_of(record) == "Shown (in words) and drawn, 2 electrodes, 1 step a picture"


def test_the_grid_shows_the_sessions_own_pictures(tmp_path: Path) -> None:
    found = grid_of(session(tmp_path))
    assert found is not None
    sheet = Image.open(io.BytesIO(found)).convert("RGB")
    blue = sum(n for n, (r, g, b) in sheet.getcolors(1 << 20) or () if b > 200 > 60 > r + g)
    assert 3.0 * 128 * 128 < blue < 4 * 128 * 128  # of four pictures, less their frames


def test_no_grid_where_no_class_was_tested(tmp_path: Path) -> None:
    folder = session(tmp_path, learnt=5)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().split("\n")]
    assert grid_of(folder) is None
    for line in lines:
        line.pop("class", None)
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert grid_of(folder) is None
