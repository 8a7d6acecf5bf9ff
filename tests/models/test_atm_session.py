"""A whole session on the toy: the virtual headset's epochs through ATM-S, prior and SDXL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli import main


@pytest.mark.slow
def test_the_toy_decodes_the_virtual_headset(tmp_path: Path) -> None:
    out = tmp_path / "session"
    arguments = ["demo", "--fast", "--headless", "--preset", "atm-toy"]
    assert main([*arguments, "--duration", "4", "--seed", "3", "--out", str(out)]) == 0
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    decoded = [event for event in events if event["outcome"] == "decoded"]
    assert len(decoded) == len(events) >= 2
    pictures = []
    for event in decoded:
        with Image.open(out / event["image"]) as image:
            pictures.append(np.array(image))
        # It has learnt nothing, and says so: every label is about as probable as chance.
        assert event["top"][0][1] < 1.5 * event["chance"]
    assert (pictures[0] != pictures[1]).any()
    assert 'system = "atm-toy"' in (out / "session.toml").read_text()
    # Out of the session the same epochs give the same pictures, to the bit.
    again = tmp_path / "again"
    assert main(["generate", "atm-toy", "--data", str(out), "--out", str(again)]) == 0
    for index, picture in enumerate(pictures):
        with Image.open(again / "single" / f"{index:06d}.png") as image:
            np.testing.assert_array_equal(np.array(image), picture)
