"""Real commands, ended by signals at their worst moments: whole, no orphan, no lock."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.benchmarks.signal_scenes import Material, Scene, make_material, scenes
from app.benchmarks.signals import WAYS, end_scene, markdown, own_environment, what_it_left

pytestmark = [
    pytest.mark.lsl,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("command", "moment", "way"),
    [
        # The window's session has all of the demo's processes: headset, decoder, spare.
        ("gui", "streaming", "HUP"),
        ("demo", "loading", "KILL"),
        ("demo", "streaming", "twice"),
        ("calibrate", "training", "INT"),
        ("export", "writing", "twice"),
        ("train", "training", "TERM"),
    ],
)
def test_a_signalled_command_leaves_everything_whole(
    material: Material, tmp_path: Path, command: str, moment: str, way: str
) -> None:
    (scene,) = (s for s in scenes(material) if (s.command, s.moment) == (command, moment))
    # The tests' cache: building an engine once more is no part of any moment.
    environment = own_environment(tmp_path) | {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    found = end_scene(scene, way, tmp_path / "case", environment)
    assert not found["faults"], found
    if way != "KILL":
        assert found["code"] == 128 + WAYS[way][0]


def test_the_campaign_is_eight_commands_and_the_window_at_four_moments(tmp_path: Path) -> None:
    moments: dict[str, list[str]] = {}
    for scene in scenes(Material(tmp_path, tmp_path)):
        moments.setdefault(scene.command, []).append(scene.moment)
    assert len(moments) == 9
    assert all(len(set(each)) == 4 for each in moments.values())
    assert set(WAYS) == {"INT", "TERM", "HUP", "twice", "KILL"}


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    words = ("doctor", "--no-such-option")
    scene = Scene("doctor", "never", words, lambda _run: False)
    folder = tmp_path / "case"
    found = end_scene(scene, "INT", folder, own_environment(tmp_path))
    assert found["faults"] == ["the moment never came", "exit code 2"]
    assert "| doctor, never | the moment never came; exit code 2 |" in markdown([found])


def test_what_a_lost_session_lacks_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "events.jsonl").write_text('{"index": 0}\n{"ind')
    (folder / "summary.json").write_text("{")
    (folder / ".phosphene.lock").write_text("1")
    (folder / "recording.xdf").write_text("nothing of that kind")
    faults = " ".join(what_it_left(tmp_path, killed=False))
    for words in ("report.html is missing", "a lock: out", "ends within a line", "summary.json"):
        assert words in faults
    assert "recording.xdf" in faults
