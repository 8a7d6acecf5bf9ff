"""`phosphene evaluate`: sets of pictures from anywhere, its report, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from app.cli import main
from app.errors import AppError
from app.evaluation.auditing import of_recording
from app.evaluation.baselines import MEAN, NOISE, RANDOM, session_baselines
from app.evaluation.choosing import choose
from app.evaluation.figures import SetFigures
from app.evaluation.fitted import fitted_of
from app.evaluation.generated import generated_sets
from app.evaluation.joined import by_system, groups_of, of_systems
from app.evaluation.session_facts import session_facts
from app.evaluation.sets import FolderPictures, SessionPictures, TensorPictures
from app.generation.pictures import write_shown
from configs import load_preset
from models.api import EncoderSpec, InputSpec
from models.evaluation.audit import Material
from models.evaluation.measuring import Measure, Measured
from models.evaluation.splits import fitted_statistics
from pipeline.gallery import load_gallery
from pipeline.values import Embedding, Epoch, GeneratedImage
from tests.conformance.files import xdf

GALLERY = load_gallery(None)
LABELS = GALLERY.labels[:4]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures shown, two copies drawn of each: the picture itself, and another one."""
    root = tmp_path_factory.mktemp("pictures")
    for k, label in enumerate(LABELS):
        save(root / "shown" / f"{label}.png", GALLERY.image(label))
        save(root / "drawn" / f"{label}_0.png", GALLERY.image(label))
        save(root / "drawn" / f"{label}_1.png", GALLERY.image(LABELS[k - 1]))
    return root


def session(folder: Path) -> Path:
    """A finished session's files; the second trial was learnt from, the last is a button."""
    events = []
    for k, label in enumerate([*LABELS, "button"]):
        name = f"images/{k:06d}.png"
        save(folder / name, GALLERY.image(LABELS[k % 4]))
        event = {"index": k, "t_onset": float(k), "label": label, "outcome": "decoded"}
        event |= {"top": [[LABELS[k % 4], 0.9]], "rank": 1, "chance": 1 / 227, "image": name}
        events.append(json.dumps(event | ({"learnt": True} if k == 1 else {})))
    (folder / "events.jsonl").write_text("\n".join(events) + "\n")
    (folder / "summary.json").write_text("{}")
    return folder


def test_copies_of_one_picture_are_one_item(folders: Path) -> None:
    found = FolderPictures(folders / "drawn", folders / "shown")
    assert (len(found.stimuli), found.n_copies) == (4, 2)
    assert (found.drawn(0, 0) == found.shown(found.stimuli[0])).all()
    assert not (found.drawn(0, 1) == found.shown(found.stimuli[0])).all()


def test_pairs_come_from_a_table_and_stay_in_their_folders(folders: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(f"drawn,shown\n{LABELS[0]}_0.png,{LABELS[2]}.png\n")
    found = FolderPictures(folders / "drawn", folders / "shown", pairs=table)
    assert found.stimuli[0].endswith(f"{LABELS[2]}.png")
    for name in ("../shown/x.png", "/etc/passwd", "nothing.png"):
        table.write_text(f"drawn,shown\n{name},{LABELS[2]}.png\n")
        with pytest.raises(AppError, match="line 2 names"):
            FolderPictures(folders / "drawn", folders / "shown", pairs=table)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(AppError, match="expected the columns drawn and shown"):
        FolderPictures(folders / "drawn", folders / "shown", pairs=table)


def test_a_drawing_without_a_namesake_is_named(folders: Path, tmp_path: Path) -> None:
    save(tmp_path / "stranger.png", GALLERY.image(LABELS[0]))
    with pytest.raises(AppError, match=r"1 of the pictures .*stranger\.png"):
        FolderPictures(tmp_path, folders / "shown")


def test_tensors_are_read_as_data_and_repeats_are_one_stimulus(tmp_path: Path) -> None:
    shown = torch.rand(3, 3, 8, 8)
    shown[2] = shown[0]
    torch.save(shown, tmp_path / "shown.pt")
    torch.save(torch.rand(3, 2, 3, 8, 8), tmp_path / "drawn.pt")
    found = TensorPictures(tmp_path / "drawn.pt", tmp_path / "shown.pt")
    assert (list(found.stimuli), found.n_copies) == (["000000", "000001", "000000"], 2)
    assert found.drawn(1, 1).shape == (8, 8, 3)
    np.save(tmp_path / "few.npy", np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(AppError, match="has 2 items and"):
        TensorPictures(tmp_path / "few.npy", tmp_path / "shown.pt")
    np.save(tmp_path / "flat.npy", np.zeros((3, 8, 8), np.float32))
    with pytest.raises(AppError, match="expected \\(n, 3, height, width\\)"):
        TensorPictures(tmp_path / "flat.npy", tmp_path / "shown.pt")


def test_learnt_trials_count_only_when_asked_for(tmp_path: Path) -> None:
    folder = session(tmp_path / "session")
    assert [e.index for e in SessionPictures(folder).events] == [0, 2, 3]
    assert [e.index for e in SessionPictures(folder, with_learnt=True).events] == [0, 1, 2, 3]


def test_a_session_of_one_picture_and_a_class_says_so(tmp_path: Path) -> None:
    folder = session(tmp_path / "session")
    assert SessionPictures(folder).n_left_out == 1
    events = (folder / "events.jsonl").read_text()
    for label in LABELS[1:]:
        events = events.replace(f'"label": "{label}"', '"label": "face"')
    (folder / "events.jsonl").write_text(events)
    with pytest.raises(AppError, match=f"none but {LABELS[0]} whose marker names a picture"):
        SessionPictures(folder)


def test_a_session_s_generator_draws_without_its_brain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three baselines beside the same items; what is drawn says which vector it was drawn of."""
    drawn: list[Embedding] = []

    class Brain:
        spec = EncoderSpec("toy", InputSpec(100.0), 0.0, 0.5, None, None, 6)

        def encode(self, epoch: Epoch) -> Embedding:
            vector = np.asarray(epoch.data[:2, :3], np.float32)
            return Embedding(vector, index=0, t_onset=0.0, condition=np.ones(2, np.float32))

    class Artist:
        def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
            drawn.append(embedding)
            return GeneratedImage(np.full((8, 8, 3), seed, np.uint8), seed, 0, 0.0)

    system = SimpleNamespace(encoder=Brain(), sampler=Artist())
    monkeypatch.setattr("models.systems.load_system", lambda _config, **_named: system)
    folder = session(tmp_path / "session")
    with pytest.raises(AppError, match=r"no session\.toml"):
        session_baselines(SessionPictures(folder), [0])
    (folder / "session.toml").write_text("seed = 3\n")
    monkeypatch.setattr(
        "app.evaluation.baselines.embeddings_of",
        lambda _path, _events: {0: np.ones(6, np.float32), 2: np.full(6, 3.0, np.float32)},
    )
    (folder / "recording.xdf").touch()
    pictures = SessionPictures(folder)
    found = session_baselines(pictures, [0, 2])
    assert list(found) == [NOISE, RANDOM, MEAN]
    for name, each in found.items():
        assert [each.stimuli[k] for k in range(2)] == [pictures.stimuli[0], pictures.stimuli[2]]
        drawn.clear()
        for k in (0, 0, 1):
            each.drawn(k, 0)
        assert len(drawn) == 2, name
        assert all((e.condition is not None) == (name == NOISE) for e in drawn)
        if name == RANDOM:
            lengths = [float(np.linalg.norm(e.vector)) for e in drawn]
            np.testing.assert_allclose(lengths, 2 * 6**0.5, rtol=1e-5)
        if name == MEAN:
            np.testing.assert_allclose(drawn[0].vector, np.full((2, 3), 2.0))


def test_a_session_and_somebody_s_folders_become_one_report(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--drawn", str(folders / "drawn"), "--shown", str(folders / "shown")]
    given += ["--session", str(session(tmp_path / "session")), "--with-learnt"]
    assert main(["evaluate", *given, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "evaluation.json").read_text())
    mine, theirs = report["sets"]
    lines = {each["name"]: each for each in theirs["measures"]}
    # The first copy is right, the second is the other's: half of the pairs by pixels, more or less.
    assert lines["pixcorr"]["best"] == pytest.approx(1.0, abs=1e-6)
    assert lines["pixcorr"]["value"] < 1
    assert mine["session"]["identification"]["top1"] == 1.0
    assert next(m for m in mine["measures"] if m["name"] == "pixel_identification")["value"] == 1.0
    assert any(each.startswith("CLIP two-way: left out") for each in report["left_out"])
    assert "Trials that the decoder had learnt from" in report["stamp"]
    page = (out / "report.html").read_text()
    assert report["stamp"] in page
    assert "http" not in page.replace("http-equiv", "")
    assert (out / "report.html").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "nothing to measure was given"),
        (["--drawn", "x"], "--drawn and --shown belong together"),
        (["--data", "x"], "--data was given alone"),
        (["--system", "embedded", "--session", "x"], "--system decodes --data"),
        (["--session", "nowhere"], "no such file, expected a session folder"),
        (["--generated", "nowhere"], "expected a folder that `phosphene generate` wrote"),
        (["--session", "x", "--choose-on-test"], "expected --choose MEASURE too"),
        (["--data", "x", "--audit", "--fitted", "y.npz"], "expected --audit, --train-data PATH"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    given: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *given, "--out", str(tmp_path / "out")]) == 1
    assert sentence in capsys.readouterr().err


def test_a_recording_without_the_named_markers_is_not_called_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(xdf(tmp_path)), "--labels", "nothing,nobody", "--audit"]
    assert main(["evaluate", *given, "--out", str(tmp_path / "out")]) == 1
    assert "no marker of nothing, nobody" in capsys.readouterr().err


def test_sessions_of_one_system_are_one_set(tmp_path: Path) -> None:
    one, other = (session(tmp_path / name) for name in ("one", "other"))
    (other / "session.toml").write_text('subject = "02"')
    (joined,) = by_system([one, other])
    assert joined.groups["session"] == ("1",) * 3 + ("2",) * 3
    assert joined.groups["person"] == ("anonymous",) * 3 + ("02",) * 3
    assert joined.place(4) == (joined.sessions[1], 1)
    assert (joined.drawn(4, 0) == joined.sessions[1].drawn(1, 0)).all()
    assert set(joined.stimuli) == {LABELS[0], LABELS[2], LABELS[3]}
    assert session_facts(joined.sessions)["identification"]["n"] == 6
    assert groups_of([joined, joined], "person") == joined.groups["person"]
    with pytest.raises(AppError, match="not of the same sessions, several each"):
        groups_of([joined, SessionPictures(one)], "session")


def test_systems_are_compared_on_the_trials_that_all_decoded(tmp_path: Path) -> None:
    one, other = (session(tmp_path / name) for name in ("one", "other"))
    lines = (other / "events.jsonl").read_text().splitlines()
    (other / "events.jsonl").write_text("\n".join(lines[1:]))
    sets, remarks = of_systems({"a": [one], "b": [other]})
    assert [tuple(each.stimuli) for each in sets] == [LABELS[2:]] * 2
    assert remarks == ["Pictures left out, since not every system decoded their trials: 1."]
    pooled, _ = of_systems({"a": [one, one], "b": [other, other]})
    assert [(each.name, len(each.stimuli)) for each in pooled] == [("a", 4), ("b", 4)]


def generated(folder: Path, *, faults: tuple[str, ...] = ()) -> Path:
    """What `phosphene generate` leaves: two drawings of each of four items in one mode."""
    items = []
    folder.mkdir()
    for k, label in enumerate(LABELS):
        shown = write_shown(folder, GALLERY.image(label))
        images = {}
        for sample, drawn in enumerate((label, LABELS[k - 1])):
            name = f"fused/{k:06d}{f'-s{sample}' if sample else ''}.png"
            save(folder / name, GALLERY.image(drawn))
            images[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        items.append({"index": k, "label": label, "shown": shown, "images": images})
    table = {"items": items, "faults": list(faults)}
    (folder / "generation.json").write_text(json.dumps(table))
    return folder


def test_what_generate_drew_is_measured_as_it_was_drawn(folders: Path, tmp_path: Path) -> None:
    (one,), remark = generated_sets(generated(tmp_path / "clean"))
    assert remark == ""
    assert (len(one.stimuli), one.n_copies, one.name) == (4, 2, "clean")
    other = FolderPictures(folders / "drawn", folders / "shown")
    for item in range(4):
        assert (one.shown(one.stimuli[item]) == GALLERY.image(LABELS[item])).all()
        theirs = next(k for k in range(4) if LABELS[item] in other.stimuli[k])
        for copy in range(2):
            assert (one.drawn(item, copy) == other.drawn(theirs, copy)).all()
    save(tmp_path / "clean" / "fused" / "000001.png", GALLERY.image(LABELS[0]))
    with pytest.raises(AppError, match="is not the picture that"):
        one.drawn(1, 0)
    _, remark = generated_sets(generated(tmp_path / "oracle", faults=("oracle_prompt",)))
    assert "the true label was in the text prompt" in remark
    table = {"items": [{"index": 0, "images": {}}]}
    (tmp_path / "oracle" / "generation.json").write_text(json.dumps(table))
    with pytest.raises(AppError, match="does not hold what its 1 items showed"):
        generated_sets(tmp_path / "oracle")
    table["items"][0] |= {"shown": "shown/x.png", "images": {"../../etc/passwd": "0"}}
    (tmp_path / "oracle" / "generation.json").write_text(json.dumps(table))
    with pytest.raises(AppError, match="expected MODE/NNNNNN"):
        generated_sets(tmp_path / "oracle")


def figures(name: str, values: list[float], better: str = "higher") -> SetFigures:
    table = np.array([values])
    measure = Measure("m", "M", "", better, table)  # type: ignore[arg-type]
    n = table.shape[1]
    measured = Measured((measure,), np.arange(n), tuple("abcdefgh"[:n]), np.arange(n), ())
    return SetFigures(name=name, measured=measured, scores={}, rows={}, judged_by="M", n_copies=1)


def test_the_best_set_is_chosen_where_its_figure_does_not_count() -> None:
    rng = np.random.default_rng(0)
    # Sets of luck alone: who is best by chance is not best on what did not choose.
    on_test, apart = [], []
    for seed in range(40):
        sets = [figures(f"s{k}", list(rng.normal(size=8))) for k in range(20)]
        on_test.append(choose(sets, "m", split="test", seed=seed)["figure"]["value"])
        apart.append(choose(sets, "m", seed=seed)["figure"]["value"])
    assert np.mean(on_test) > 0.4
    assert abs(np.mean(apart)) < 0.25
    lower = [figures("bad", [2.0] * 8, "lower"), figures("good", [1.0] * 8, "lower")]
    found = choose(lower, "m", split="block")
    assert (found["chosen"], found["figure"]["n"]) == ("good", 4)
    assert found["on"] == "the first half of the items in time"
    with pytest.raises(AppError, match="expected two or more"):
        choose(lower[:1], "m")
    with pytest.raises(AppError, match="expected one of m: a measure"):
        choose(lower, "nothing")
    with pytest.raises(AppError, match="do not show the same pictures"):
        choose([*lower, figures("short", [1.0] * 7)], "m")
    # By session: two of the four choose, and each is wholly on one side.
    pair = [figures("a", [9, 9, 0, 0, 9, 9, 0, 0]), figures("b", [1.0] * 8)]
    of_session = [str(k // 2) for k in range(8)]
    found = choose(pair, "m", split="session", groups=of_session)
    assert found["figure"]["n"] == 4
    assert found["candidates"][0]["value"] in (0.0, 4.5, 9.0)
    with pytest.raises(AppError, match=r"items of one person \(anonymous\)"):
        choose(pair, "m", split="person", groups=["anonymous"] * 8)
    with pytest.raises(AppError, match="2 stimuli are too few"):
        choose([figures("a", [1.0, 2.0]), figures("b", [1.0, 2.0])], "m")


@pytest.mark.parametrize("leaks", [True, False])
def test_a_scaler_of_both_parts_is_found_by_its_file(tmp_path: Path, leaks: bool) -> None:
    rng = np.random.default_rng(3)
    parts = [
        Material(epochs=rng.normal(k, 1 + k, (20, 3, 10)).astype(np.float32), sfreq=10.0)
        for k in range(2)
    ]
    rows = [each.epochs.transpose(1, 0, 2).reshape(3, -1) for each in parts]  # type: ignore[union-attr]
    used = np.concatenate(rows if leaks else rows[:1], axis=1).astype(np.float64)
    arrays = {"mean": used.mean(axis=1), "std": used.std(axis=1)}
    np.savez(tmp_path / "s.npz", **arrays, covariance=np.cov(used, bias=True))
    check = fitted_statistics(fitted_of(tmp_path / "s.npz", *parts))
    assert check.is_leak == leaks
    assert len(check.figures) == 3
    np.savez(tmp_path / "s.npz", mean=np.zeros(2))
    with pytest.raises(AppError, match=r"mean of shape \(2,\), expected \(3,\)"):
        fitted_of(tmp_path / "s.npz", *parts)
    np.savez(tmp_path / "s.npz", mean=np.array([{}]))
    with pytest.raises(AppError, match="cannot be read"):
        fitted_of(tmp_path / "s.npz", *parts)


def test_responses_of_voxels_are_audited_too(tmp_path: Path) -> None:
    """Their epochs begin at onset, so that the audit cuts longer ones, without a baseline."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "scan.npz",
        betas=rng.normal(size=(12, 20)).astype(np.float32),
        onsets=2.0 * np.arange(12),
        labels=[LABELS[k % 4] for k in range(12)],
        tr=2.0,
    )
    material = of_recording(tmp_path / "scan.npz", load_preset("fmri-ridge-toy"))
    assert list(material.labels)[:4] == list(LABELS)
    assert material.epochs is not None
    assert material.epochs.shape[1] == 20
