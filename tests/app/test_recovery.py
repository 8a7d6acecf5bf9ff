"""Session folders that were left behind are found, finished, and never touched while in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calibration.reading import parse_labels
from app.errors import FolderError
from app.port import Result, StageTimes
from app.report.markup import clean
from app.report.record import read_record
from app.runtime.folder import LOCK, SessionFolder
from app.runtime.recovery import is_abandoned, recover
from app.view_models.session.past_sessions import PastSessionsModel, scan
from configs import SessionConfig
from devices.montage import read_montage
from pipeline.values import Outcome

LABELS = st.text(
    st.one_of(
        st.sampled_from("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\n\r"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=8,
)


def dead_pid() -> int:
    """The number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def crashed(path: Path, *, n_pictures: int = 3) -> Path:
    """A session folder as a crash leaves it: a lock, events, half a line, no summary."""
    folder = SessionFolder(path)
    folder.write_session(SessionConfig(subject="s01"), run={}, streams={})
    for index in range(n_pictures):
        folder.add_event(
            Result(
                index,
                10.0 + index,
                "tree",
                Outcome.DECODED,
                top=(("tree", 0.3),),
                chance=0.01,
                rank=1,
                stages=StageTimes(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 6.0),
            )
        )
    folder._files.close()
    with (path / "events.jsonl").open("a") as stream:
        stream.write('{"index": 99, "t_on')
    (path / LOCK).write_text(str(dead_pid()))
    return path


def test_a_crashed_session_is_finished_with_what_is_there(tmp_path: Path) -> None:
    folder = crashed(tmp_path / "a")
    events = (folder / "events.jsonl").read_bytes()
    assert is_abandoned(folder)
    report = recover(folder)
    assert "without being finished" in report.read_text(encoding="utf-8")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["outcomes"] == {"decoded": 3}
    assert summary["subject"] == "s01"
    assert summary["accuracy"]["n_correct"] == 3
    assert summary["latency_ms"]["total_after_epoch"]["p50"] == 6.0
    assert (folder / "events.jsonl").read_bytes() == events
    assert not is_abandoned(folder)
    with pytest.raises(FolderError, match="nothing was changed"):
        recover(folder)


def test_a_session_without_a_single_event_is_finished_too(tmp_path: Path) -> None:
    assert recover(crashed(tmp_path / "a", n_pictures=0)).is_file()


@pytest.mark.parametrize("owner", ["ours", "1", "", "not a number"])
def test_a_folder_in_use_is_left_alone(tmp_path: Path, owner: str) -> None:
    folder = crashed(tmp_path / "a")
    # The id itself would name the test differently in each of xdist's workers.
    (folder / LOCK).write_text(str(os.getpid()) if owner == "ours" else owner)
    assert not is_abandoned(folder)
    with pytest.raises(FolderError):
        recover(folder)
    assert not (folder / "summary.json").exists()


@settings(max_examples=30, deadline=None)
@given(st.lists(LABELS, min_size=1, max_size=6))
def test_whatever_a_label_holds_no_event_is_lost(labels: list[str]) -> None:
    """U+2028, U+0085, U+000B and others end a line for `str.splitlines`, and not in JSON."""
    with tempfile.TemporaryDirectory() as root:
        folder = SessionFolder(Path(root) / "a")
        for index, label in enumerate(labels):
            result = Result(index, float(index), label, Outcome.GAP, top=((label, 0.5),))
            folder.add_event(result)
        folder.close()
        recover(folder.path)
        summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
        assert summary["outcomes"] == {"gap": len(labels)}
        assert [event.label for event in read_record(folder.path).events] == [
            clean(label) for label in labels
        ]


def test_label_files_are_cut_at_ends_of_lines_only(tmp_path: Path) -> None:
    odd = "face\u2028a", "house\u0085b", "tree\x0bc"
    (tmp_path / "labels.txt").write_text("\r\n".join(odd) + "\n", encoding="utf-8")
    assert parse_labels(str(tmp_path / "labels.txt")) == {label: label for label in odd}
    (tmp_path / "montage.txt").write_text("\n".join(odd), encoding="utf-8")
    assert read_montage(str(tmp_path / "montage.txt")) == odd


def test_a_summary_that_exists_stays(tmp_path: Path) -> None:
    folder = crashed(tmp_path / "a")
    (folder / "summary.json").write_text('{"schema_version": 1, "message": "mine"}')
    recover(folder)
    assert json.loads((folder / "summary.json").read_text())["message"] == "mine"


def test_sessions_are_listed_abandoned_first_then_the_newest(tmp_path: Path) -> None:
    for name, age in (("old", 30), ("lost", 20), ("new", 10)):
        folder = crashed(tmp_path / "sessions" / name)
        if name != "lost":
            recover(folder)
        os.utime(folder / "events.jsonl", (1e9 - age, 1e9 - age))
    (tmp_path / "sessions" / "no session").mkdir()
    found = scan(tmp_path / "sessions", [tmp_path / "sessions" / "old", tmp_path / "gone"])
    assert [s.path.name for s in found] == ["lost", "new", "old"]
    assert [s.has_report for s in found] == [False, True, True]
    assert found[1].summary == "s01 · 2 s · 3 pictures"
    assert scan(tmp_path / "missing") == []


def test_the_model_recovers_in_the_background(tmp_path: Path) -> None:
    folder = crashed(tmp_path / "sessions" / "a")
    model = PastSessionsModel(tmp_path / "sessions")
    model.refresh()
    model.close()
    assert model.poll()
    assert [s.path for s in model.abandoned] == [folder.resolve()]
    model.recover(folder)
    model.close()
    assert model.poll()
    assert model.error == ""
    assert model.report == folder / "report.html"
    assert not model.abandoned
    model.recover(folder)
    model.close()
    assert model.poll()
    assert "nothing was changed" in model.error


def test_notes_are_written_whole_also_after_the_end(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "a")
    folder.write_notes("one, and more")
    folder.finish({})
    folder.close()
    folder.write_notes("two ☺")
    assert (tmp_path / "a" / "notes.txt").read_text(encoding="utf-8") == "two ☺"
    assert not list((tmp_path / "a").glob("*.partial"))
