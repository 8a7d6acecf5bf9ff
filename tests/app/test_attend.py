"""A session of looks: a virtual person, its recording again, and trials of real people."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from app.attend.opening import filtered
from app.attend.reading import LookOptions, past_revision
from app.attend.session import HONEST, AttendSession, table_of
from app.benchmarks.attend import FOLDER, figures, look_at, read_people
from app.cli import main
from app.errors import AppError
from app.view_models.attend.grid_frames import grid_for
from configs import load_preset
from devices.errors import FileError, SourceError
from devices.files.cvep import CvepRecording
from devices.replay import RecordedSource
from devices.virtual.looker import Looker, LookerSource
from models.adapters import AdapterError, AdapterStore
from models.attend.decoder import Decision
from pipeline.codes import gold_codes
from pipeline.errors import InfoError
from pipeline.looks import Grid
from pipeline.ports import Source
from pipeline.values import SourceItem
from tests.conformance.files import cvep, xdf

PEOPLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cvep"
GRID = Grid(gold_codes(6), tuple("abcdef"), 60.0)
FAST = LookOptions(trial_seconds=2.1)


def session(source: Source, *, out: Path | None, options: LookOptions = FAST) -> AttendSession:
    return AttendSession(
        load_preset("attend"), source, options, out=out, cues=itertools.cycle([4, 1, 3]), n_looks=3
    )


def test_a_replay_repeats_every_decision_bit_for_bit(tmp_path: Path) -> None:
    looker = Looker(number=5, snr=3.0, drops=0.02)
    live = session(LookerSource(looker, GRID, n_looks=3), out=tmp_path / "live").play()
    again = session(
        RecordedSource(tmp_path / "live" / "recording.xdf"), out=tmp_path / "again"
    ).play()
    assert [trial["decided"] for trial in live["attend"]["trials"]] == [4, 1, 3]
    assert live["attend"]["frames_late"] > 0
    assert again["attend"] == live["attend"]
    lines = [(tmp_path / name / "events.jsonl").read_bytes() for name in ("live", "again")]
    assert lines[0] == lines[1]
    event = json.loads(lines[0].splitlines()[0])
    assert event["outcome"] == "decoded"
    assert len(event["top"]) == 6
    assert event["chance"] == pytest.approx(1 / 6)
    assert HONEST.split(".")[0] in json.dumps(live["warnings"])
    assert (tmp_path / "live" / "report.html").is_file()


def test_a_session_says_which_rules_it_was_read_by() -> None:
    assert past_revision(table_of(LookOptions())) == 2
    assert past_revision({"error_rate": 0.05}) == 1  # of before there was a second
    assert "revision" not in table_of(LookOptions(revision=1))
    for unknown in (3, 0, "2"):
        with pytest.raises(AppError, match="expected 1 to 2"):
            past_revision({"revision": unknown})


class _Breaking:
    """A person whose headset is pulled out after some seconds."""

    def __init__(self) -> None:
        self._looker = LookerSource(Looker(number=5, snr=3.0), GRID, n_looks=3)
        self.streams, self.is_live = self._looker.streams, False
        self.wants_look, self.end_look = False, self._looker.end_look
        self._looker.begin_look(4)
        self._n_left = 20

    def read(self, timeout: float) -> list[SourceItem]:
        self._n_left -= 1
        if not self._n_left:
            raise SourceError("the headset is gone: plug it in.")
        return self._looker.read(timeout)

    def close(self) -> None:
        self._looker.close()


def test_a_source_that_breaks_leaves_a_session_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is gone"):
        session(_Breaking(), out=tmp_path / "out").play()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["phase"] == "failed"
    assert "is gone" in summary["message"]
    assert summary["samples"]["recorded"] == summary["samples"]["received"] > 0
    assert (tmp_path / "out" / "report.html").is_file()


def test_pictures_that_flash_in_turn_are_read_as_well() -> None:
    grid = grid_for(tuple("abcdef"), 60.0, "flash")
    config = filtered(load_preset("attend"), "flash")
    source = LookerSource(Looker(number=5, snr=4.0), grid, n_looks=6)
    cues = itertools.cycle([4, 1, 3])
    found = AttendSession(config, source, LookOptions(), out=None, cues=cues, n_looks=6).play()
    trials = found["attend"]["trials"]
    assert [trial["decided"] for trial in trials] == [None] * 4 + [1, 3]  # a stranger's only teach
    assert all(1.7 <= trial["seconds"] <= 9.9 for trial in trials)
    with pytest.raises(InfoError, match="give --flash"):
        session(LookerSource(Looker(), grid, n_looks=1), out=None)


def test_who_looks_away_is_told_not_sure() -> None:
    away = LookerSource(Looker(snr=0.0), GRID, n_looks=3)
    found = session(away, out=None, options=LookOptions(error_rate=0.01)).play()["attend"]
    assert found["not_sure"] == 3
    assert found["mean_seconds"] == pytest.approx(10.5, abs=0.1)


def test_a_source_that_describes_no_codes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InfoError, match="describes no codes"):
        session(RecordedSource(xdf(tmp_path)), out=None)


def test_an_archive_of_trials_is_one_stream_with_its_looks(tmp_path: Path) -> None:
    recording = CvepRecording(cvep(tmp_path))
    blocks = list(recording.blocks())
    labels = [block.samples[0] for block in blocks if block.stream == 1]
    eeg = np.concatenate([np.asarray(b.samples) for b in blocks if b.stream == 0])
    assert labels[0] == "look 0 frame 0 cue 0"
    assert sum(" cue " in str(label) for label in labels) == 3
    assert len(eeg) == 3 * (480 + 600)
    assert eeg[480:1080].std() == pytest.approx(10, rel=0.1)  # volts became microvolts
    assert recording.streams[1].desc["codes"][0]["code"][0] == "010101"


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": np.zeros((2, 3, 40))},
        {"X": np.zeros((2, 40)), "y": np.zeros(2), "V": np.zeros((2, 8)), "fs": 240},
        {"X": np.ones((2, 3, 40)), "y": np.array([0, 9]), "V": np.zeros((2, 8)), "fs": 240},
        {"X": np.ones((2, 3, 40)), "y": np.zeros(2), "V": np.zeros((2, 8)), "fs": 250},
        {"X": np.full((2, 3, 40), np.nan), "y": np.zeros(2), "V": np.zeros((2, 8)), "fs": 240},
        {"X": np.array([{}], dtype=object), "y": np.zeros(2), "V": np.zeros((2, 8)), "fs": 240},
    ],
)
def test_an_archive_of_something_else_is_refused_in_one_line(
    tmp_path: Path, arrays: dict[str, object]
) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, allow_pickle=True, **arrays)  # type: ignore[arg-type]
    with pytest.raises(FileError, match=r"odd\.npz") as caught:
        CvepRecording(path)
    assert "\n" not in str(caught.value)


def test_figures_count_what_was_not_decided_as_time_and_not_as_right() -> None:
    flat = np.full(4, 0.25)
    found = [
        (Decision(1, 2.0, flat), 1),
        (Decision(2, 2.0, flat), 1),
        (Decision(None, 8.0, flat), 1),
    ]
    result = figures(found, 4)
    assert (result["mean_s"], result["wrong_of_decided"]) == (4.0, 0.5)
    assert (result["right"], result["not_sure"]) == (0.3333, 0.3333)


def test_the_bench_says_which_folder_it_wants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from app.benchmarks.attend import run_attend_bench

    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(AppError, match=FOLDER):
        run_attend_bench()
    with pytest.raises(AppError, match=r"holds no \.npz"):
        read_people(tmp_path)


def test_a_real_person_is_read_without_calibration() -> None:
    if not PEOPLE.is_dir():
        pytest.skip(f"{PEOPLE} is absent: recordings of people do not travel with the project")
    person = read_people(PEOPLE)[0]
    decoder = person.decoder(trial_seconds=8.4)
    right = [
        look_at(person, decoder, trial, step=2.1).answer == person.targets[trial]
        for trial in range(8)
    ]
    assert sum(right) >= 7


class _Window:
    """What shows the grid beside a source that only streams."""

    def __init__(self, looker: LookerSource) -> None:
        self._looker = looker
        self.asked: list[int] = []

    @property
    def wants_look(self) -> bool:
        return self._looker.wants_look

    def begin_look(self, target: int) -> None:
        self.asked.append(target)
        self._looker.begin_look(target)

    def end_look(self) -> None:
        self._looker.end_look()


def test_a_screen_beside_the_source_begins_and_ends_the_looks() -> None:
    looker = LookerSource(Looker(number=5, snr=3.0), GRID, n_looks=3)
    screen = _Window(looker)
    found = AttendSession(
        load_preset("attend"),
        looker,
        FAST,
        out=None,
        cues=itertools.cycle([4, 1, 3]),
        n_looks=3,
        screen=screen,
    ).play()
    assert screen.asked == [4, 1, 3]
    assert [trial["target"] for trial in found["attend"]["trials"]] == [4, 1, 3]


@pytest.mark.parametrize("other", [["--fast"], ["--board", "cyton"], ["--duration", "5"]])
def test_a_demo_of_attending_refuses_what_it_has_no_use_for(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--attend", *other]) == 1
    assert f"{other[0]} and --attend given" in capsys.readouterr().err


def _calibrated(capsys: pytest.CaptureFixture[str], out: Path, *more: str) -> dict[str, object]:
    argv = ["attend", "--headless", "--person", "5", "--snr", "3", "--targets", "6", "--json"]
    assert main([*argv, "--out", str(out), *more]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_calibration_is_stored_used_and_repeated_with_a_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("app.commands.attend._pictures", lambda *_: None)
    own = ("--subject", "kim", "--trial-seconds", "2.1")
    found = _calibrated(capsys, tmp_path / "cal", "--calibrate", "--looks", "10", *own)
    adapter = str(found["adapter"])
    assert main(["adapters", "show", adapter, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["method"], shown["subject"], shown["active"]) == ("noise-tagged", "kim", False)
    assert shown["accuracy"] >= 0.9
    assert shown["manifest"]["looks"]["is_simulated"] is True
    used = ("--adapter", adapter, "--trial-seconds", "1.05", "--looks", "2", "--seed", "3")
    live = _calibrated(capsys, tmp_path / "live", *used)
    assert [trial["seconds"] for trial in live["trials"]] == [1.05, 1.05]  # type: ignore[attr-defined]
    recording = str(tmp_path / "live" / "recording.xdf")
    again = _calibrated(capsys, tmp_path / "again", "--replay", recording)
    assert again["trials"] == live["trials"]
    lines = [(tmp_path / name / "events.jsonl").read_bytes() for name in ("live", "again")]
    assert lines[0] == lines[1]
    capsys.readouterr()
    assert main(["attend", "--headless", "--adapter", adapter, "--subject", "joe"]) == 1
    assert "is of kim, and the session of joe" in capsys.readouterr().err
    store = AdapterStore()
    with pytest.raises(AdapterError, match="phosphene attend --adapter"):
        store.activate(adapter)
    archive = tmp_path / "kim.zip"
    assert main(["adapters", "export", adapter, str(archive)]) == 0
    assert main(["adapters", "delete", adapter, "--yes"]) == 0
    assert store.import_(archive).method == "noise-tagged"
    assert main(["adapters", "list"]) == 0
    assert "noise-tagged" in capsys.readouterr().out


def test_looks_at_nothing_are_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("app.commands.attend._pictures", lambda *_: None)
    own = ("--subject", "kim", "--calibrate", "--trial-seconds", "2.1", "--snr", "0")
    found = _calibrated(capsys, tmp_path / "cal", *own, "--looks", "10")
    assert found["adapter"] is None
    assert main(["attend", "--headless", "--calibrate"]) == 1
    assert "--subject S" in capsys.readouterr().err
