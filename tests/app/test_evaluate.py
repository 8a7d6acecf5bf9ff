"""`phosphene evaluate`: sets of pictures from anywhere, its report, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from app.cli import main
from app.errors import AppError
from app.evaluation.baselines import MEAN, NOISE, RANDOM, session_baselines
from app.evaluation.sets import FolderPictures, SessionPictures, TensorPictures
from models.api import EncoderSpec, InputSpec
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
    monkeypatch.setattr("models.systems.load_system", lambda _config: system)
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
    assert report["stamp"].startswith("Trials that the decoder had learnt from")
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
