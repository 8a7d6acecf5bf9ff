"""A session's files on a disk that is full, gone or read-only: said, kept, written later."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.benchmarks.idle import idle_decoder
from app.port import Phase, Result
from app.runtime import folder as folder_module
from app.runtime import writing
from app.runtime.decoder import Decoder
from app.runtime.decoding import read_past
from app.runtime.folder import RESERVE, SessionFolder, encode_png
from app.runtime.lock import LOCK
from app.runtime.session import Session
from app.runtime.writing import PatientFiles
from configs import DecoderConfig, EpochsConfig, OutletsConfig, RecordingConfig, SessionConfig
from devices.hostile import HostileSettings, HostileSource
from devices.replay import RecordedSource
from pipeline.values import Outcome
from tests.app.full_disk import FullDisk
from tests.waiting import PATIENCE, wait_for


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    (tmp_path / "disk").mkdir()
    return FullDisk(tmp_path / "disk", monkeypatch)


def result(index: int) -> Result:
    image = f"images/{index:06d}.png"
    return Result(
        index, 100.0 - index, "tiger", Outcome.DECODED, image_path=image, image_sha256="f00"
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_text_that_utf8_cannot_hold_leaves_no_folder_unfinished(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "s")
    folder.add_event(replace(result(0), label="a\ud800", image_path=None))
    folder.finish({"note": "\ud800"})
    folder.finish_report("<p>\ud800</p>")
    assert folder.is_finished
    assert lines_of(folder.path / "events.jsonl")[0]["label"] == "a?"
    assert json.loads((folder.path / "summary.json").read_text()) == {"note": "?"}


def test_what_waits_is_written_when_there_is_room_again(disk: FullDisk) -> None:
    now = [0.0]
    files = PatientFiles(disk.root, lines="lines", clock=lambda: now[0])
    files.append("first")
    assert files.alarm == ""
    disk.is_full, disk.room = True, 3  # three bytes of the next line reach the disk
    files.append("second")
    files.append("third")
    assert files.write("pictures/1", b"one") == "pictures/1"
    assert f"{disk.root} cannot be written (No space left on device)" in files.alarm
    assert (files.n_lines_missing, files.missing) == (2, {"pictures/1"})
    assert (disk.root / "lines").read_text() == "first\nsec"
    disk.is_full = False
    files.retry()
    now[0] += 0.5
    files.retry()  # too soon after the last
    assert files.n_lines_missing == 0
    assert (disk.root / "lines").read_text() == "first\nsecond\nthird\n"
    assert (disk.root / "pictures/1").read_bytes() == b"one"
    assert not files.missing
    assert files.alarm.endswith("what waited was written when there was room again.")
    files.close()


def test_what_memory_cannot_hold_is_lost_and_counted(
    disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_KEPT", 100)
    files = PatientFiles(disk.root, lines="lines")
    disk.is_full = True
    for number in range(10):
        files.append(f"{number}" * 19)
        files.write(f"{number}.png", bytes(40))
    assert len(files.lines()) == 1 + 5  # an empty file, and a hundred bytes
    assert files.n_lines_missing == 10
    assert len(files.missing) == 10
    disk.is_full = False
    files.retry(at_once=True)
    assert files.n_lines_missing == 5
    assert files.missing == {f"{number}.png" for number in range(2, 10)}
    files.close()


def test_all_goes_on_in_the_fallback_folder_without_a_hole(disk: FullDisk, tmp_path: Path) -> None:
    other = tmp_path / "other" / "s"
    files = PatientFiles(disk.root, lines="lines", fallback=other)
    assert files.write("a.png", b"a") == "a.png"
    files.append("0")
    disk.is_full, disk.room = True, 1
    files.append("11")
    assert files.write("b.png", b"b") == str(other / "b.png")
    assert files.alarm == (
        f"The session's files go on in {other}, because {disk.root} cannot be written "
        "(No space left on device)."
    )
    assert (other / "lines").read_text() == "0\n11\n"
    assert (other / "b.png").read_bytes() == b"b"
    assert (files.n_lines_missing, files.missing) == (0, frozenset())
    files.close()


def test_a_folder_that_vanishes_leaves_its_newest_lines_for_the_fallback(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    files = PatientFiles(tmp_path / "gone", lines="lines", fallback=tmp_path / "other")
    for number in range(5):
        files.append(str(number))
    shutil.rmtree(tmp_path / "gone")
    files.append("5")
    assert (tmp_path / "other" / "lines").read_text() == "0\n1\n2\n3\n4\n5\n"
    files.close()


def test_two_disks_that_fail_keep_it_all_in_memory(disk: FullDisk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    files = PatientFiles(disk.root, lines="lines", fallback=tmp_path / "file" / "s")
    disk.is_full = True
    files.append("0")
    assert "the fallback" in files.alarm
    assert "failed too" in files.alarm
    disk.is_full = False
    files.retry()
    assert (disk.root / "lines").read_text() == "0\n"
    files.close()


def test_a_folder_that_stays_full_ends_with_what_fits_and_says_what_is_missing(
    disk: FullDisk,
) -> None:
    """The reserve that is given up at the end holds the summary and the events."""
    folder = SessionFolder(disk.root / "s")
    png = encode_png(np.zeros((8, 8, 3), np.uint8), {})
    assert (disk.root / "s" / RESERVE).stat().st_size > 100_000
    assert folder.write_image(0, png)[0] == "images/000000.png"
    folder.add_event(result(0))
    disk.is_full = True
    name, digest = folder.write_image(1, png)
    assert (name, len(digest)) == ("images/000001.png", 64)
    folder.add_event(result(1))
    disk.room = 0
    assert folder.settle() == {"events": 1, "pictures": 1}
    with pytest.raises(OSError, match="No space"):
        folder.finish({"markers": 2})
    disk.room = 4000
    folder._files._kept["images/000001.png"] = bytes(5000)  # a picture that does not fit
    folder.finish({"markers": 2})
    folder.close()
    assert sorted(path.name for path in (disk.root / "s").iterdir()) == [
        "events.jsonl",
        "images",
        "summary.json",
    ]
    events = lines_of(disk.root / "s" / "events.jsonl")
    assert [event["index"] for event in events] == [1, 0]
    # The picture that is nowhere is not pointed to; its hash stays.
    assert [(event["image"], event["image_sha256"]) for event in events] == [
        (None, "f00"),
        ("images/000000.png", "f00"),
    ]


def test_a_folder_that_cannot_be_finished_stays_locked_for_recovery(disk: FullDisk) -> None:
    folder = SessionFolder(disk.root / "s")
    disk.is_full = True
    folder.add_event(result(0))
    with pytest.raises(OSError, match="No space"):
        folder.finish({})
    folder.close()
    assert (disk.root / "s" / LOCK).exists()
    assert not (disk.root / "s" / RESERVE).exists()


# -- whole sessions ---------------------------------------------------------------------------


def config_of(fallback: Path | None) -> SessionConfig:
    return SessionConfig(
        buffer=60.0,
        # The source runs ahead of any decoder that has no processor to itself: every epoch waits.
        decoder=DecoderConfig(queue_size=256, max_wait=None),
        epochs=EpochsConfig(reject_uv={}),
        outlets=OutletsConfig(enabled=False),
        recording=RecordingConfig(
            min_free_mb=0, fallback=None if fallback is None else str(fallback)
        ),
    )


def run(
    disk: FullDisk,
    *,
    full_from: int,
    full_until: int | None = None,
    fallback: Path | None = None,
    is_live: bool = True,
) -> Session:
    """Run a session of a minute whose disk is full between two markers."""
    source = HostileSource(HostileSettings(duration=60.0, chunk=20))
    seen: list[int] = []

    def heard(_: Any) -> None:
        seen.append(len(seen))
        disk.is_full = len(seen) > full_from and (full_until is None or len(seen) <= full_until)
        if disk.is_full or len(seen) == full_from:
            wait_for(lambda: not session._decoding.n_under_way)

    def open_source(_: threading.Event) -> HostileSource:
        wait_for(lambda: session._decoding.is_ready)
        return source

    session = Session(
        config_of(fallback),
        out=disk.root / "s",
        open_source=open_source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=is_live,
        on_epoch=heard,
    )
    session.start()
    assert session.wait(PATIENCE)
    return session


@pytest.mark.parametrize("is_live", [True, False])
def test_a_session_on_a_full_disk_goes_on_to_its_end_and_can_be_finished(
    is_live: bool, disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_RESERVED", 0)
    session = run(disk, full_from=10, is_live=is_live)
    snapshot = session.snapshot()
    assert disk.n_refused > 10
    # All of the minute was acquired and decoded; only the files are wanting, and that is said.
    assert snapshot.n_received == 15_000
    assert sum(snapshot.outcomes.values()) == snapshot.n_markers > 40
    assert set(snapshot.outcomes) == {"decoded", "no_data", "settling"}
    assert snapshot.phase is Phase.FAILED
    assert "could not be finished (No space left on device)" in snapshot.message
    assert "phosphene recover" in snapshot.message
    missing = snapshot.n_markers - len(lines_of(disk.root / "s" / "events.jsonl"))
    assert missing > 20
    assert any(f"{missing} events and " in sentence for sentence in snapshot.warnings)
    assert any("cannot be written (No space left" in sentence for sentence in snapshot.warnings)
    assert (disk.root / "s" / LOCK).exists()


def test_a_disk_that_has_room_again_has_every_event_and_picture(disk: FullDisk) -> None:
    session = run(disk, full_from=10, full_until=30)
    snapshot = session.snapshot()
    assert snapshot.phase is Phase.STOPPED, snapshot.message
    folder = disk.root / "s"
    summary = json.loads((folder / "summary.json").read_text())
    events = lines_of(folder / "events.jsonl")
    assert summary["missing"] == {"events": 0, "pictures": 0}
    assert len(events) == summary["markers"] == snapshot.n_markers
    assert all((folder / e["image"]).is_file() for e in events if e["outcome"] == "decoded")
    assert summary["samples"]["recorded"] == summary["samples"]["received"] == 15_000
    assert any("what waited was written" in sentence for sentence in summary["warnings"])
    assert not (folder / LOCK).exists()
    recorded = RecordedSource(folder / "recording.xdf")
    assert len(read_past(recorded.recorded_events()).outcomes) == summary["markers"]
    recorded.close()


def test_a_session_with_a_fallback_is_whole_there(disk: FullDisk, tmp_path: Path) -> None:
    session = run(disk, full_from=10, fallback=tmp_path / "spare")
    snapshot = session.snapshot()
    there = tmp_path / "spare" / "s"
    assert snapshot.phase is Phase.STOPPED, snapshot.message
    assert snapshot.message == f"Saved in {there}."
    assert any(f"go on in {there}" in sentence for sentence in snapshot.warnings)
    summary = json.loads((there / "summary.json").read_text())
    events = lines_of(there / "events.jsonl")
    assert len(events) == summary["markers"] == snapshot.n_markers
    assert summary["missing"] == {"events": 0, "pictures": 0}
    # The first pictures lie where there was room, the others here; a path says which.
    images = [e["image"] for e in events if e["outcome"] == "decoded"]
    assert {Path(image).is_absolute() for image in images} == {True, False}
    assert all((disk.root / "s" / image).is_file() for image in images)
    assert (there / "report.html").is_file()
    assert (there / "session.toml").is_file()
    recorded = RecordedSource(there / "recording.xdf")
    outcomes = read_past(recorded.recorded_events()).outcomes
    recorded.close()
    assert {e["index"]: e["outcome"] for e in events}.items() >= outcomes.items()
    assert not (disk.root / "s" / LOCK).exists()


def test_an_alarm_is_said_while_the_session_runs(disk: FullDisk) -> None:
    source = HostileSource(HostileSettings(duration=1e5, chunk=20))
    session = Session(
        config_of(None),
        out=disk.root / "s",
        open_source=lambda _: source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
    )
    session.start()
    wait_for(lambda: session.results(0))
    disk.is_full = True
    wait_for(lambda: any("events and pictures wait" in w for w in session.snapshot().warnings))
    wait_for(lambda: any("recording.xdf failed" in w for w in session.snapshot().warnings))
    assert session.snapshot().phase is Phase.RUNNING
    n_warnings = len(session.snapshot().warnings)
    n_refused = disk.n_refused
    wait_for(lambda: disk.n_refused > n_refused + 5)
    assert len(session.snapshot().warnings) == n_warnings  # the same sentence stands, once
    disk.is_full = False
    session.request_stop()
    assert session.wait(120.0)
    assert session.snapshot().phase is Phase.STOPPED
