"""Many inputs: one's failure its own, nothing done twice, nothing half made taken for done."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from app.batch.folder import BATCH, PARTS, STAMP, BatchFolder, fingerprint
from app.batch.inputs import Input, recordings, sessions
from app.batch.pool import run_each
from app.cli import main
from app.commands import evaluate
from app.errors import AppError
from app.evaluation.collecting import collect
from app.evaluation.joined import by_system
from app.output import bar
from app.runtime.lock import LOCK
from models.atm.toy import write_toy_weights
from tests.app.batch_work import work
from tests.waiting import wait_for


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_one_that_fails_or_dies_does_not_end_the_others(tmp_path: Path) -> None:
    asked, begun = threading.Event(), tmp_path / "begun"
    tasks = ["a", "refuse", "die", "b", str(begun)]
    found: dict[int, str] = {}
    runner = threading.Thread(
        target=lambda: found.update(run_each(work, tasks, jobs=2, asked=asked))
    )
    runner.start()
    wait_for(lambda: begun.exists() and len(found) == 4)
    # What is under way is given up when asked.
    asked.set()
    runner.join(30)
    assert not runner.is_alive()
    assert {k: why for k, why in found.items() if not why} == {0: "", 3: ""}
    assert found[1] == "it is no recording, expected one."
    assert "ended by SIGKILL" in found[2]
    assert 4 not in found


def test_inputs_are_named_as_what_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("p1/recording.xdf", "p1/events.jsonl", "p2/a.edf", "p2/b.txt", "out/x/y.edf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = recordings([tmp_path, tmp_path / "p1", tmp_path / "p2" / "a.edf"], out=out)
    assert [each.name for each in found] == ["p1", "p2-a", "p2-b", "p1", "a"]
    assert sessions([tmp_path], out=out) == [Input(tmp_path / "p1", "p1")]
    long = tmp_path / ("\N{MICROSCOPE}" * 60) / ("\N{MICROSCOPE}" * 60 + ".edf")
    long.parent.mkdir()
    long.touch()
    (of_bytes,) = recordings([tmp_path], out=tmp_path / "p1")[-1:]
    (tmp_path / "out" / f"{of_bytes.name}-dreamdiffusion-2").mkdir()  # a name that a disk takes
    with pytest.raises(AppError, match="holds no session"):
        sessions([tmp_path / "p2"], out=out)


def test_a_name_is_no_longer_than_a_folders_can_be(tmp_path: Path) -> None:
    deep = tmp_path / ("\u00fc" * 120) / ("\u00e9" * 120) / "a.edf"
    deep.parent.mkdir(parents=True)
    deep.touch()
    (found,) = recordings([tmp_path], out=tmp_path / "out")
    (tmp_path / f"{found.name}-999").mkdir()
    assert found.name.startswith("\u00fc" * 100)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_text_is_written_in_letters(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\x1b[31mcaf\xff\n.edf")
    try:
        odd.touch()
    except OSError:
        pytest.skip("this file system takes no such names")
    (found,) = recordings([tmp_path], out=tmp_path / "out")
    assert found.name == "_[31mcaf__"
    folder = BatchFolder(tmp_path / "out", "generate", {})
    with folder.held():
        folder.write({"inputs": [{"input": str(found.path)}]})
    written = json.loads((tmp_path / "out" / BATCH).read_text(encoding="utf-8"))
    assert written["inputs"][0]["input"].endswith("caf?\n.edf")


def test_a_session_is_not_joined_with_itself(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="is given twice, expected each once"):
        by_system([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def test_only_what_is_whole_and_unchanged_is_done(tmp_path: Path) -> None:
    data = [tmp_path / "1" / "a", tmp_path / "2" / "a"]
    for path in data:
        path.parent.mkdir()
        path.write_text("x")
    inputs = [Input(path, "a") for path in data]
    folder = BatchFolder(tmp_path / "out", "generate", {"steps": "2"})
    with folder.held():
        first, second = folder.places(inputs)
        assert (first.folder.name, second.folder.name) == ("a", "a-2")
        for place in (first, second):
            folder.part(place).mkdir()
        folder.finish(second, fingerprint(data[1]))
        with pytest.raises(AppError, match="is in use by process"):
            BatchFolder(tmp_path / "out", "generate", {"steps": "2"}).held().__enter__()
    # The first was half made: it is gone. The second keeps its number, while nobody changes it.
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a-2", BATCH]
    again = BatchFolder(tmp_path / "out", "generate", {"steps": "2"})
    assert [place.is_done for place in again.places(inputs)] == [False, True]
    data[1].write_text("something else")
    assert "has changed since" in again.places(inputs)[1].why_not
    with pytest.raises(AppError, match=r"begun with another --steps \(2, now 3\)"):
        BatchFolder(tmp_path / "out", "generate", {"steps": "3"})
    with pytest.raises(AppError, match="begun with another `generate`"):
        BatchFolder(tmp_path / "out", "evaluate", {"steps": "2"})
    with pytest.raises(AppError, match="not empty and no batch of ours"):
        BatchFolder(tmp_path / "1", "generate", {})


def test_what_a_killed_batch_left_is_taken_away(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path, "generate", {})
    with folder.held():
        (tmp_path / PARTS / "a").mkdir()
        lock = (tmp_path / LOCK).read_text()
        (place,) = folder.places([Input(tmp_path, "a")])
        assert not place.is_done
        (tmp_path / PARTS / "a" / STAMP).write_text("{}")
    (tmp_path / PARTS).mkdir()
    (tmp_path / PARTS / "a").mkdir()
    gone = json.loads(lock) | {"pid": 2**22 - 1, "start_time": "1"}
    (tmp_path / LOCK).write_text(json.dumps(gone))
    with BatchFolder(tmp_path, "generate", {}).held():
        assert list((tmp_path / PARTS).iterdir()) == []


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of two epochs each, and one that is none."""
    folder = tmp_path_factory.mktemp("epochs")
    info = mne.create_info(["Fz", "Oz", "O1", "O2"], 250.0, "eeg")
    for number in range(2):
        eeg = np.random.default_rng(number).normal(0, 1e-5, (2, 4, 301))
        made = mne.EpochsArray(eeg, info, tmin=-0.2, verbose="error")
        made.save(folder / f"some{number}-epo.fif", verbose="error")
    (folder / "none-epo.fif").write_bytes(b"no epochs")
    return folder


def test_a_folder_is_drawn_and_gone_on_with(
    epochs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "atm", tmp_path / "out"
    write_toy_weights(weights, n_features=32)
    given = ["generate", "atm", "--weights", str(weights), "--steps", "1"]
    assert main([*given, "--data", str(epochs), "--out", str(out), "--jobs", "1"]) == 1
    said = capsys.readouterr()
    assert "2 of 3 done, 1 failed" in said.out
    assert f"failed: {epochs / 'none-epo.fif'} holds no MNE epochs" in said.err
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/generation.json")}
    assert sorted(path.parent.name for path in before) == ["some0-epo", "some1-epo"]
    # By itself it is drawn the same.
    alone = tmp_path / "alone"
    assert main([*given, "--data", str(epochs / "some1-epo.fif"), "--out", str(alone)]) == 0
    pictures = [
        json.loads((folder / "generation.json").read_text())["items"]
        for folder in (alone, out / "some1-epo")
    ]
    assert pictures[0] == pictures[1]
    capsys.readouterr()
    names = [str(epochs / f"some{k}-epo.fif") for k in range(2)]
    more = [word for name in names for word in ("--data", name)]
    assert main([*given, *more, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["outcome"] for each in document["inputs"]] == ["done", "done"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*given, *more, "--out", str(out), "--jobs", "0"]) == 1
    assert "--jobs is 0, expected 1 or more" in capsys.readouterr().err


def test_each_session_recording_and_system_is_measured_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/p1/events.jsonl", "in/p2/events.jsonl", "rec/a.edf", "rec/b.edf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    asked: list[tuple[str, list[Path], Path | None, list[str]]] = []

    def note(_args: object, _run: object, tasks: list[tuple[Input, Any]], **_more: object) -> int:
        asked.extend((i.name, more["session"], more["data"], more["system"]) for i, more in tasks)
        return 0

    monkeypatch.setattr(evaluate, "run_many", note)
    given = ["evaluate", "--session", str(tmp_path / "in"), "--data", str(tmp_path / "rec")]
    given += ["--system", "embedded", "--system", "atm-toy", "--out", str(tmp_path / "out")]
    assert main([*given, "--jobs", "2"]) == 0
    a, b = (tmp_path / "rec" / f"{name}.edf" for name in "ab")
    assert asked == [
        *((p, [tmp_path / "in" / p], None, []) for p in ("p1", "p2")),
        ("a-embedded", [], a, ["embedded"]),
        ("a-atm-toy", [], a, ["atm-toy"]),
        ("b-embedded", [], b, ["embedded"]),
        ("b-atm-toy", [], b, ["atm-toy"]),
    ]
    assert main([*given, "--choose", "pixcorr", "--jobs", "1"]) == 1
    assert "--choose is for one report" in capsys.readouterr().err


def test_the_figures_of_all_are_one_table(tmp_path: Path) -> None:
    for name, value in (("p1", 0.5), ("p2", 0.25)):
        (tmp_path / name).mkdir()
        line = {"name": "pixcorr", "title": "PixCorr", "value": value, "low": None, "high": None}
        report = {"sets": [{"name": name, "measures": [line]}]}
        (tmp_path / name / "evaluation.json").write_text(json.dumps(report))
    table = collect(tmp_path, [tmp_path / "p1", tmp_path / "p2"])
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["evaluation"], row["name"], row["value"], row["chance"]) for row in rows] == [
        ("p1", "pixcorr", "0.5", ""),
        ("p2", "pixcorr", "0.25", ""),
    ]
    (tmp_path / "p1" / "evaluation.json").write_text('{"sets": 1}')
    with pytest.raises(AppError, match=r"p1/evaluation\.json is damaged or gone: delete .*p1"):
        collect(tmp_path, [tmp_path / "p1"])


def test_the_bar_says_how_far_it_is() -> None:
    assert bar(0, 0) == f"[{'.' * 30}] 0 of 0"
    said = bar(10, 40, 1, seconds_each=3.0)
    assert said == f"[{'#' * 7}{'.' * 23}] 10 of 40, 1 failed, about 1 min 30 s left"
