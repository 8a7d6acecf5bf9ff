"""From somebody's recording to pictures of what they saw: two commands, and what each keeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.calibration.channels import use_of
from app.calibration.collection import Collection
from app.calibration.data import calibration_data, joined_data, said_of
from app.calibration.reading import (
    Until,
    parse_pictures,
    parse_until,
    read_recording,
    recordings_of,
)
from app.cli import main
from app.contract import check_person, follow
from app.errors import AppError
from configs import SessionConfig
from models.adapters.files import read_manifest
from pipeline.errors import PhospheneError
from tests.app.class_recording import CHANNELS, write_person
from tests.models.adapter_files import edit_part, small_adapter

CLASSES = ("face-upright", "house-inverted", "nothing-known")
N_TRIALS = 72


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    capsys.readouterr()
    code = main([*words, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read(path: Path, out: Path, classes: Mapping[str, str], **options: Any) -> Collection:
    collection = Collection(classes)
    stop = threading.Event()
    read_recording(path, SessionConfig(), collection, out=out, stop=stop, **options)
    return collection


def test_two_commands_from_a_recording_to_scored_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOSPHENE_HOME", str(tmp_path / "home"))
    names = (*CHANNELS, "Fp1", "Fp2")
    path = write_person(
        tmp_path / "person_raw.fif", CLASSES, n_trials=N_TRIALS, ch_names=names, bad="Fp1"
    )
    words = ("--headless", "--from", str(path), "--labels", ",".join(CLASSES), "--until", "70%")
    code, about, said = command(
        capsys, "calibrate", *words, "--subject", "kim", "--out", str(tmp_path / "c")
    )
    assert code == 0, said
    assert about["result"]["verdict"] == "found"
    told = " ".join(about["result"]["classes"])
    assert "Area under the curve" in told
    assert "Confidence is off by" in told
    assert about["epochs"]["n_refused"] <= 0.05 * about["epochs"]["n_good"]
    notes = " ".join(about["checks"]["notes"])
    assert "Left out: Fp1 (100%)" in notes
    assert "face-upright as smiling-face; house-inverted as house-inverted" in notes
    assert "nothing-known as fog (no picture)" in notes
    # A session folder as any.
    files = {each.name for each in (tmp_path / "c").iterdir()}
    assert {"recording.xdf", "session.toml", "events.jsonl", "summary.json"} <= files
    assert {line["outcome"] for line in lines_of(tmp_path / "c")} == {"collected", "no_data"}

    folder = next((tmp_path / "home" / "adapters" / "kim").glob("kim-*"))
    manifest = read_manifest(folder)
    assert set(manifest.ch_names) == set(names) - {"Fp1"}
    assert set(manifest.event_classes.labels) == set(CLASSES)
    pictures = {each.event: each.picture for each in manifest.event_classes.targets}
    assert pictures["nothing-known"] == ""
    hashed = [each.image_sha256 for each in manifest.event_classes.targets if each.picture]
    assert all(len(each) == 64 for each in hashed)

    run = ("run", "--headless", "--replay", str(path), "--adapter", folder.name)
    code, summary, said = command(capsys, *run, "--out", str(tmp_path / "r"))
    assert code == 0, said
    assert f"follows the adapter {folder.name} of kim: 9 channels" in said
    events = lines_of(tmp_path / "r")
    assert {e["outcome"] for e in events if e["label"] == "press"} == {"ignored"}
    decoded = [e for e in events if e["outcome"] == "decoded"]
    assert len(decoded) >= 0.95 * N_TRIALS
    assert all(set(e["classes"]) == set(CLASSES) for e in decoded)
    assert all(abs(sum(e["classes"].values()) - 1) < 1e-4 for e in decoded)
    assert all(e["chance"] == pytest.approx(1 / 3) for e in decoded)
    learnt = [e for e in decoded if e.get("learnt")]
    assert summary["learnt"] == len(learnt) == pytest.approx(0.7 * N_TRIALS, abs=6)
    assert summary["accuracy"]["n"] == len(decoded) - len(learnt)
    assert summary["accuracy"]["accuracy"] > 0.6
    assert sum(map(sum, summary["confusion"])) == summary["accuracy"]["n"]
    pairs = [p for e in decoded for p in e.get("repetitions", ()) if p["n"] == 2]
    assert not [e for e in learnt if "repetitions" in e]
    (two, *_) = summary["repetitions"]
    assert (two["n_repetitions"], two["n"]) == (2, len(pairs))
    assert two["n_correct"] == sum(p["rank"] == 1 for p in pairs)
    assert summary["auc"] > 0.7
    assert summary["balanced_accuracy"] > 0.6
    assert summary["subject"] == "kim"
    # Fog, whoever it is: the vector of a class without a picture is zero, and so is its picture's.
    fog = {e["embedding_sha256"] for e in decoded if e["top"][0][0] == "nothing-known"}
    assert len(fog) == 1
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "Above chance" in page
    assert "Which class was taken for which" in page
    # All of it once more, where all was learnt: nothing is claimed.
    part = tmp_path / "part"
    code, summary, said = command(capsys, *run, "--out", str(part), "--duration", "40")
    assert code == 0, said
    assert summary["accuracy"] is None
    assert "none is a test" in " ".join(summary["warnings"])
    # Somebody else.
    code, _, said = command(capsys, *run, "--subject", "lee", "--out", str(tmp_path / "no"))
    assert code == 1
    assert "is of kim, and the session of lee" in said
    assert "--other-person" in said


def test_a_foreign_adapter_asks_or_is_refused(tmp_path: Path) -> None:
    folder = small_adapter(tmp_path / "a", subject="kim")
    lee = SessionConfig(subject="lee")
    with pytest.raises(AppError, match=r"confident and wrong.*Calibrate lee first"):
        check_person(lee, folder, is_meant=False)
    with pytest.raises(AppError, match="other-person"):
        check_person(lee, folder, is_meant=False, ask=lambda _what, _question: False)
    check_person(lee, folder, is_meant=False, ask=lambda _what, _question: True)
    check_person(lee, folder, is_meant=True)
    check_person(SessionConfig(), folder, is_meant=False)


def test_a_session_follows_its_adapter(tmp_path: Path) -> None:
    folder = small_adapter(tmp_path / "a", subject="kim")
    config, said = follow(SessionConfig(), folder)
    assert config.source.picks == ("Fz", "Cz", "Pz")
    assert config.markers.event_id == ()  # an adapter of before does not say
    assert config.subject == "kim"
    assert config.epochs.leave_out_share > 0
    assert "Fz, Cz, Pz" in said
    edit_part(folder, "classes", labels={"11": "face", "12": "face", "21": "house"}, tmax=0.9)
    config, said = follow(SessionConfig(subject="kim"), folder)
    assert config.markers.event_id == ("11", "12", "21")
    assert config.epochs.tmax == 0.9
    assert "(others are ignored)" in said


def test_one_bad_channel_costs_itself_and_no_trial(tmp_path: Path) -> None:
    names = tuple(f"E{k}" for k in range(24))
    path = write_person(
        tmp_path / "p_raw.fif", ("a", "b"), n_trials=40, ch_names=names, bad="E7", strength=0
    )
    collection = read(path, tmp_path / "c", {"a": "a", "b": "b"})
    assert collection.counts.n_refused == 0
    use = use_of([epoch for _, epoch in collection.epochs()], names)
    assert use.left_out == {"E7": 1.0}
    data = calibration_data(collection.epochs(), SessionConfig(), pictures={})
    assert data.channels == tuple(name for name in names if name != "E7")


def test_two_sessions_with_different_caps_share_what_both_have(tmp_path: Path) -> None:
    caps = (CHANNELS, (*CHANNELS[:6], "Cz", "Fz"))
    collection = Collection({"a": "a", "b": "b"})
    for number, cap in enumerate(caps):
        path = write_person(tmp_path / f"{number}_raw.fif", ("a", "b"), n_trials=12, ch_names=cap)
        collection.start_session()
        options = {"out": tmp_path / str(number), "stop": threading.Event()}
        read_recording(path, SessionConfig(), collection, **options)
    days = [(f"day {k}", "kim", collection.epochs(k)) for k in (1, 2)]
    data = joined_data(days, SessionConfig(), pictures={})
    assert data.channels == CHANNELS[:6]
    assert len(data) == 24
    assert data.onsets[12] % 60 == 0, "no minute is of both"
    assert data.sessions == ("day 1",) * 12 + ("day 2",) * 12
    assert set(data.subjects) == {"kim"}


def test_labels_of_another_case_are_told_with_those_that_came(tmp_path: Path) -> None:
    path = write_person(tmp_path / "p_raw.fif", ("face", "house"), n_trials=8)
    words = ("calibrate", "--headless", "--subject", "s", "--from", str(path))
    code = main([*words, "--labels", "Face,House", "--out", str(tmp_path / "c")])
    assert code == 1
    about = json.loads((tmp_path / "c" / "summary.json").read_text())
    assert about["markers"] == 16


def test_pictures_are_named_or_suggested_and_never_guessed(tmp_path: Path) -> None:
    path = write_person(tmp_path / "p_raw.fif", ("face", "S2"), n_trials=8)
    epochs = read(path, tmp_path / "c", {}).epochs()
    epochs = [(name, epoch) for name, epoch in epochs if name != "press"]
    data = calibration_data(epochs, SessionConfig(), pictures={"face": "cat"})
    assert [(each.event, each.picture) for each in data.classes] == [("S2", ""), ("face", "cat")]
    assert "S2 as fog (no picture); face as cat" in said_of(data)[0]
    with pytest.raises(PhospheneError, match=r"drawn as 'Cat-House'.*did you mean cat"):
        calibration_data(epochs, SessionConfig(), pictures={"face": "Cat-House"})
    with pytest.raises(AppError, match="names the class 'faces', expected one of S2, face"):
        calibration_data(epochs, SessionConfig(), pictures={"faces": "cat"})


def test_what_the_options_say_is_read_or_refused(tmp_path: Path) -> None:
    assert parse_pictures(None) is None
    assert parse_pictures("a=cat, b = none") == {"a": "cat", "b": "none"}
    for text in ("a", "a=", "a=cat,a=dog"):
        with pytest.raises(AppError, match="CLASS=PICTURE"):
            parse_pictures(text)
    assert parse_until("60%") == Until(0.6, is_share=True)
    assert parse_until("600") == Until(600.0)
    for text in ("0", "101%", "x", "-3", "nan"):
        with pytest.raises(AppError, match="--until"):
            parse_until(text)
    with pytest.raises(AppError, match="in seconds"):
        Until(0.5, is_share=True).seconds(None, Path("x"))
    (tmp_path / "sub-1" / "eeg").mkdir(parents=True)
    (tmp_path / "dataset_description.json").touch()
    with pytest.raises(AppError, match="without a recording"):
        recordings_of([tmp_path])
    files = [tmp_path / "sub-1" / "eeg" / f"sub-{k}_eeg.edf" for k in (1, 2)]
    for file in files:
        file.touch()
    assert recordings_of([tmp_path]) == files
    assert recordings_of([tmp_path], "2") == files[1:]
