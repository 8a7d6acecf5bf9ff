"""`phosphene generate`: modes, grids, provenance, the label in the prompt, one-line refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from PIL import Image

from app.cli import main
from app.generation.items import Item, items_of, parse_picks
from app.generation.pictures import CELL, GAP, LEFT, TOP, Row, write_report, write_row
from configs import load_preset
from models.api import DrawingOptions
from models.atm.data import write_epochs
from models.atm.toy import write_toy_weights as write_atm
from models.drawing import open_drawer
from models.dreamdiffusion.toy import NUM_HEADS, SIDE, write_checkpoint
from models.multimodal.toy import write_toy_weights as write_multimodal
from models.things_eeg2.montage import CH_NAMES
from models.weights import write_hashes
from pipeline.values import Embedding
from tests.app.full_disk import FullDisk

N_FEATURES = 32
Generate = Callable[..., tuple[int, Path]]
ORDER = ("few", "middle", "large", "text", "image")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    write_atm(folder / "atm", n_features=N_FEATURES)
    write_multimodal(folder / "atm-multimodal", n_features=N_FEATURES)
    write_checkpoint(folder / "checkpoint.pth")
    from models.dreamdiffusion.importing import run_import

    run_import([folder / "checkpoint.pth"], folder / "dd", num_heads=NUM_HEADS, encoder_heads=4)
    table = json.loads((folder / "dd" / "config.json").read_text())
    table["preprocessing"]["side"] = SIDE
    (folder / "dd" / "config.json").write_text(json.dumps(table))
    write_hashes(folder / "dd")
    return {"atm": folder / "atm", "atm-multimodal": folder / "atm-multimodal"} | {
        "dreamdiffusion": folder / "dd"
    }


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test pictures of three repetitions each, as `train atm prepare` writes them."""
    folder = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    ids = np.repeat([0, 1], 3)
    eeg = rng.normal(size=(6, 63, 250)).astype(np.float32)
    write_epochs(
        folder,
        eeg=eeg,
        image_ids=ids,
        subject_ids=np.ones(6, np.int64),
        features={},
        ch_names=CH_NAMES,
    )
    names = ["00001_aircraft_carrier/one.png", "00002_antelope/two.png"]
    (folder / "features" / "pictures.json").write_text(json.dumps(names))
    (folder / "images" / "00001_aircraft_carrier").mkdir(parents=True)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "images" / names[0])
    return folder


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four MNE epochs of two events, in volts."""
    rng = np.random.default_rng(1)
    info = mne.create_info(["Fz", "Oz", "O1", "O2"], 250.0, "eeg")
    events = np.array([[i * 500, 0, 1 + i % 2] for i in range(4)])
    made = mne.EpochsArray(
        rng.normal(0, 1e-5, (4, 4, 301)),
        info,
        events=events,
        tmin=-0.2,
        event_id={"zebra": 1, "nobody-knows": 2},
        verbose="error",
    )
    path = tmp_path_factory.mktemp("epochs") / "some-epo.fif"
    made.save(path, verbose="error")
    return path


@pytest.fixture
def generate(weights: dict[str, Path], tmp_path: Path) -> Generate:
    def run(system: str, data: Path, *more: str, name: str = "out") -> tuple[int, Path]:
        out = tmp_path / name
        given = ["--weights", str(weights[system]), "--data", str(data), "--out", str(out)]
        return main(["generate", system, *given, "--steps", "1", *more]), out

    return run


def _report(out: Path) -> dict[str, Any]:
    return json.loads((out / "generation.json").read_text())


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_all_modes_of_the_multimodal_system(generate: Generate, things: Path) -> None:
    code, out = generate("atm-multimodal", things, "--mode", "all", "--prior-steps", "3")
    assert code == 0
    report = _report(out)
    assert report["modes"] == ["separate", "fused", "progressive"]
    assert (report["steps"], report["prior_steps"], report["faults"]) == (1, 3, [])
    assert [item["averaged"] for item in report["items"]] == [3, 3]
    assert [item["label"] for item in report["items"]] == ["aircraft carrier", "antelope"]
    progressive = [out / "progressive" / f"000000-{i + 1}-{m}.png" for i, m in enumerate(ORDER)]
    pictures = [_pixels(path) for path in progressive]
    assert all((a != b).any() for a, b in pairwise(pictures))
    # What has accumulated at the end is the fused picture.
    np.testing.assert_array_equal(pictures[-1], _pixels(out / "fused" / "000000.png"))
    assert len(list((out / "separate").iterdir())) == 10
    grid = _pixels(out / "grid-progressive.png")
    assert grid.shape == (TOP + 2 * (CELL + GAP) + GAP, LEFT + 6 * (CELL + GAP) + GAP, 3)
    # First what was shown, then the pictures in their order.
    assert (grid[TOP + 80, LEFT + 80] == (255, 0, 0)).all()
    with Image.open(progressive[4]) as image:
        text = dict(image.text)
    assert text["phosphene:part"] == "+image"
    assert text["phosphene:faults"] == "none"
    assert text["phosphene:prompt"] == ""
    assert "aircraft" not in json.dumps(report["warnings"])


def test_the_label_reaches_the_prompt_only_as_oracle(
    generate: Generate, things: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, honest = generate("atm-multimodal", things, name="honest")
    assert "label" not in capsys.readouterr().err
    code, oracle = generate("atm-multimodal", things, "--oracle-prompt", name="oracle")
    assert code == 0
    assert "not what the EEG holds" in capsys.readouterr().err
    assert _report(oracle)["faults"] == ["oracle_prompt"]
    assert _report(oracle)["warnings"]
    with Image.open(oracle / "fused" / "000001.png") as image:
        assert image.text["phosphene:prompt"] == "antelope"
        assert "not what the EEG holds" in image.text["phosphene:warning"]
    assert (_pixels(honest / "fused/000001.png") != _pixels(oracle / "fused/000001.png")).any()
    # The same EEG and seed under another name: the honest picture is the same, to the bit.
    names = things / "features" / "pictures.json"
    kept = names.read_text()
    names.write_text(json.dumps(["00001_cat/one.png", "00002_dog/two.png"]))
    try:
        _, renamed = generate("atm-multimodal", things, name="renamed")
    finally:
        names.write_text(kept)
    for name in ("000000", "000001"):
        first, second = (_pixels(out / "fused" / f"{name}.png") for out in (honest, renamed))
        np.testing.assert_array_equal(first, second)


def test_faults_and_adaptive_weights_change_the_picture_and_are_written_down(
    generate: Generate, things: Path
) -> None:
    made = {}
    for name, options in {
        "adaptive": ("--adaptive",),
        "faults": ("--published-faults",),
        "one": ("--fault", "unit_norm_embeddings"),
    }.items():
        code, out = generate("atm-multimodal", things, "--picks", "0", *options, name=name)
        assert code == 0
        made[name] = _report(out), _pixels(out / "fused" / "000000.png")
    assert made["faults"][0]["faults"] == ["blocks_without_attention", "unit_norm_embeddings"]
    assert made["one"][0]["faults"] == ["unit_norm_embeddings"]
    assert set(made["adaptive"][0]["items"][0]["confidence"]) == set(ORDER)
    pictures = [pixels.tobytes() for _, pixels in made.values()]
    assert len(set(pictures)) == len(pictures)


def test_atm_draws_mne_epochs_one_by_one_or_averaged(generate: Generate, epochs: Path) -> None:
    code, out = generate("atm", epochs, "--samples", "2", name="each")
    assert code == 0
    items = _report(out)["items"]
    assert [item["label"] for item in items] == ["zebra", "nobody-knows"] * 2
    assert list(items[0]["images"]) == ["single/000000.png", "single/000000-s1.png"]
    first, second = (_pixels(out / name) for name in items[0]["images"])
    assert (first != second).any()
    code, out = generate("atm", epochs, "--average", name="averaged")
    assert [(item["label"], item["averaged"]) for item in _report(out)["items"]] == [
        ("zebra", 2),
        ("nobody-knows", 2),
    ]
    # The gallery knows what a zebra looks like; the other row stays empty there.
    grid = _pixels(out / "grid-single.png")
    shown = grid[TOP : TOP + CELL, LEFT : LEFT + CELL]
    assert shown.std() > 10
    assert (grid[TOP + CELL + GAP : TOP + 2 * CELL, LEFT : LEFT + CELL] == 255).all()


@pytest.mark.parametrize("system", ["atm", "atm-multimodal", "dreamdiffusion"])
def test_an_embedding_has_as_many_values_as_its_encoder_says(
    system: str, weights: dict[str, Path], epochs: Path
) -> None:
    config = load_preset(system)
    decoder = config.decoder.model_copy(update={"weights": str(weights[system])})
    drawer = open_drawer(decoder, DrawingOptions())
    item = next(items_of(epochs, drawer, config))
    assert item.embedding.vector.size == drawer.spec.n_features


@pytest.mark.parametrize("system", ["atm", "atm-multimodal", "dreamdiffusion"])
def test_guidance_changes_the_bytes_and_stands_in_the_provenance(
    system: str, generate: Generate, epochs: Path
) -> None:
    pictures = []
    for guidance in ("1", "12"):
        options = ("--guidance", guidance, "--steps", "2", "--picks", "0")
        code, out = generate(system, epochs, *options, name=guidance)
        assert code == 0
        assert _report(out)["guidance"] == float(guidance)
        path = next(out.glob("*/000000.png"))
        with Image.open(path) as image:
            assert image.info["phosphene:guidance"] == f"{float(guidance)}"
        pictures.append(_pixels(path))
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize(("steps", "solver"), [("2", "DPM-Solver++"), ("10", "PLMS")])
def test_dreamdiffusion_draws_in_few_steps_and_as_published(
    steps: str,
    solver: str,
    generate: Generate,
    epochs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out = generate("dreamdiffusion", epochs, "--steps", steps, "--picks", "0,2-2")
    assert code == 0
    report = _report(out)
    is_said = "do not say that they were LCM-distilled" in capsys.readouterr().err
    assert is_said == any("LCM" in w for w in report["warnings"]) == (solver != "PLMS")
    with Image.open(out / "single" / "000000.png") as image:
        assert (report["solver"], image.info["phosphene:solver"]) == (solver, solver)
    assert (report["steps"], [item["index"] for item in report["items"]]) == (int(steps), [0, 2])
    assert _pixels(out / "single" / "000000.png").shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("system", "data", "options", "sentence"),
    [
        ("atm", "epochs", ("--mode", "fused"), "atm has no mode 'fused'"),
        ("atm", "epochs", ("--oracle-prompt",), "no oracle-prompt: leave the option out"),
        ("atm", "epochs", ("--adaptive",), "no adaptive"),
        ("atm", "epochs", ("--picks", "0,9"), "has no item 9, it has 0-3: choose"),
        ("atm", "epochs", ("--picks", "a"), "expected numbers or ranges"),
        ("atm", "epochs", ("--samples", "0"), "expected 1 or more"),
        ("atm", "nothing", (), "holds no recording, expected one of"),
        ("dreamdiffusion", "things", (), "does not take prepared THINGS-EEG2"),
        ("dreamdiffusion", "epochs", ("--prior-steps", "3"), "has no prior"),
        (
            "atm-multimodal",
            "epochs",
            ("--adaptive", "--mode", "separate"),
            "--adaptive shares nothing in the mode separate",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    system: str,
    data: str,
    options: tuple[str, ...],
    sentence: str,
    generate: Generate,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path if data == "nothing" else request.getfixturevalue(data)
    code, out = generate(system, path, *options)
    assert code == 1
    assert not list(out.rglob("*.png"))
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("phosphene generate: ")
    assert sentence in errors[-1]


def test_nothing_is_overwritten_and_missing_weights_are_named(
    generate: Generate, epochs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert generate("atm", epochs)[0] == 1
    assert "is not empty" in capsys.readouterr().err
    given = ["--data", str(epochs), "--out", str(tmp_path / "new"), "--weights", str(tmp_path)]
    assert main(["generate", "atm-multimodal", *given]) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path / 'encoder' / 'model.safetensors'} is missing" in message
    assert not (tmp_path / "new").exists()


def test_data_are_looked_for_before_the_weights(
    generate: Generate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("atm", tmp_path / "absent.xdf")[0] == 1
    assert f"{tmp_path / 'absent.xdf'}: no such file or folder" in capsys.readouterr().err


def test_picks_are_numbers_and_ranges() -> None:
    assert parse_picks("0,3,7-9,8") == (0, 3, 7, 8, 9)
    assert parse_picks(None) is None


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(tmp_path, monkeypatch)
    disk.is_full, disk.room = True, 200
    item = Item(0, "cat", Embedding(np.ones(4, np.float32), 0, 0.0), seed=0)
    row = Row(item, 0, {"+": np.zeros((64, 64, 3), np.uint8)})
    (tmp_path / "single").mkdir()
    facts = {"encoder_sha256": "", "sampler_sha256": "", "system": "embedded"}
    with pytest.raises(OSError, match="No space"):
        write_row(tmp_path, "single", row, seed=0, facts=facts)
    with pytest.raises(OSError, match="No space"):
        write_report(tmp_path, {"text": "b" * 500})
    assert disk.n_refused == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
