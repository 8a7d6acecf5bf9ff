"""Every later setting is reached from the command line, acts, and is listed with its gain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from app.cli import main
from configs import DecoderConfig
from configs.atm import RetrievalTrainingConfig
from models.api import SystemDescriptor
from models.atm import live
from models.atm.data import write_epochs
from models.atm.folder import load_encoder
from models.atm.generation import ADAPTER_FILE
from models.atm.nice import NiceEncoder
from models.atm.stages import EncoderLoss
from models.atm.toy import write_toy_weights
from models.registry import find_system
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.weights import WeightState
from pipeline.values import Epoch, Info

N_IMAGES, N_REPETITIONS, N_FEATURES = 8, 4, 24
EXPECTED_GAINS = {
    "training.multi_positive": "+2.41",
    "training.normalise": "63.2 % against 46.4 %",
    "training.average_repetitions": "60 % top-1",
    "training.picks": "UBP 50.9 %, NeuroBridge 63.2 %",
    "training.features": "CognitionCapturerPro 61.2 %",
    "training.layers": "SAMGA 91.3 %, arXiv 2604.17782",
    "training.blurred": "UBP 50.9 %, arXiv",
    "preset = 'enigma'": "PixCorr 0.167 (ATM-S 0.136)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(2)
    ids = np.repeat(np.arange(N_IMAGES), N_REPETITIONS)
    names = ("ViT-H-14", "RN50", "ViT-L-14")
    widths = dict(zip(names, (N_FEATURES, N_FEATURES + 8, N_FEATURES + 16), strict=True))
    widths |= {"ViT-H-14.blurred": N_FEATURES}
    widths |= {f"ViT-H-14.layer-{number}": N_FEATURES + 4 for number in (2, 3)}
    out = tmp_path_factory.mktemp("things")
    write_epochs(
        out,
        eeg=rng.normal(size=(len(ids), 63, 250)).astype(np.float32),
        image_ids=ids,
        subject_ids=np.ones_like(ids),
        features={n: rng.normal(size=(N_IMAGES, w)).astype(np.float32) for n, w in widths.items()},
        ch_names=CH_NAMES,
    )
    return out


def _train(folder: Path, out: Path, settings: str) -> list[str]:
    """Weights after training, the first bytes of each."""
    path = out.with_suffix(".toml")
    path.write_text(settings)
    given = ["--data", str(folder), "--out", str(out), "--config", str(path), "--device", "cpu"]
    assert main(["train", "atm", "encoder", *given]) == 0
    model, _, _ = load_encoder(out / "encoder")
    return [value.detach().numpy().tobytes().hex()[:64] for value in model.parameters()]


BASE = "[model]\nfeedforward = 8\n[training]\npasses = 1\nbatch_size = 16\n"


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return _train(folder, tmp_path_factory.mktemp("plain") / "out", BASE)


@pytest.mark.parametrize(
    "option",
    [
        "multi_positive = true",
        'normalise = "both"',
        "average_repetitions = true",
        'picks = "posterior"',
        'features = "RN50"',
        "blurred = true",
        "layers = [2]",
        "layers = [2, 3]",
    ],
)
def test_each_setting_of_the_file_changes_what_is_trained(
    option: str, folder: Path, plain: list[str], tmp_path: Path
) -> None:
    assert _train(folder, tmp_path / "other", BASE + option) != plain


@pytest.mark.parametrize(
    ("preset", "n_channels", "n_features"), [("modern", 17, N_FEATURES + 8), ("nice", 63, 40)]
)
def test_presets_by_name(
    preset: str, n_channels: int, n_features: int, folder: Path, tmp_path: Path
) -> None:
    _train(folder, tmp_path / "out", f'preset = "{preset}"\n[training]\npasses = 1\n')
    model, facts, _ = load_encoder(tmp_path / "out" / "encoder")
    assert (model.config.n_channels, model.config.n_features) == (n_channels, n_features)
    assert facts.ch_names == (POSTERIOR if n_channels == 17 else CH_NAMES)
    assert isinstance(model, NiceEncoder) == (preset == "nice")


def test_layers_are_a_space_of_their_own_and_mixed_for_each_subject(
    folder: Path, tmp_path: Path
) -> None:
    _train(folder, tmp_path / "out", BASE + "layers = [2, 3]")
    model, facts, _ = load_encoder(tmp_path / "out" / "encoder")
    assert (model.config.n_features, facts.space) == (N_FEATURES + 4, "vit-h-14-layer-2-3")
    config = RetrievalTrainingConfig(layers=(2, 3))
    loss = EncoderLoss(model, config, n_subjects=2)
    assert loss.mixture is not None
    loss.mixture.weight.data[1] = torch.tensor([50.0, 0.0])
    image = torch.tensor([[3.0, 0.0], [0.0, 5.0]]).expand(2, 2, 2)
    mixed = loss.mixed(image, torch.tensor([0, 1]))
    assert torch.allclose(mixed, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    with pytest.raises(ValidationError, match="for the objective 'retrieval'"):
        RetrievalTrainingConfig(layers=(2,), objective="reconstruction")


def test_enigma_decodes_without_a_prior(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _train(folder, out, 'preset = "enigma"\n[model]\nfeedforward = 8\n[training]\npasses = 1\n')
    write_toy_weights(tmp_path / "toy", n_features=N_FEATURES)
    shutil.copytree(tmp_path / "toy" / "generator", out / "generator")
    shutil.copy(tmp_path / "toy" / ADAPTER_FILE, out)
    settings = json.loads((out / "system.json").read_text())
    (out / "system.json").write_text(json.dumps(settings | {"size": 64}))
    config = DecoderConfig(weights=str(out), num_inference_steps=1)
    encoder, sampler = live.load_encoder(config), live.load_sampler(config)
    data = np.random.default_rng(0).normal(0, 10, (17, 301)).astype(np.float32)
    info = Info(POSTERIOR, 250.0)
    embedding = encoder.encode(
        Epoch(data, tmin=-0.2, tmax=1.0, t_onset=0.0, event="", info=info, index=0)
    )
    vector = torch.from_numpy(np.array(embedding.vector)).reshape(-1)
    assert torch.equal(sampler.clip_vector(vector, seed=1), vector)
    assert sampler.sample(embedding, seed=1).pixels.shape == (64, 64, 3)
    # The list of systems does not ask such a folder for a prior.
    facts = _at("atm", out)
    status = facts.status()
    assert status is not None
    assert status.state == WeightState.UNVERIFIED
    (out / "system.json").unlink()
    status = facts.status()
    assert status is not None
    assert [p for p in status.problems if "prior" in p]


def _at(system: str, folder: Path) -> SystemDescriptor:
    from dataclasses import replace

    return replace(find_system(system).descriptor, folder=folder)


@pytest.mark.parametrize("system", ["atm", "atm-multimodal", "dreamdiffusion"])
def test_every_missing_file_is_a_sentence_with_place_purpose_and_source(
    system: str, tmp_path: Path
) -> None:
    facts = _at(system, tmp_path)
    status = facts.status()
    assert status is not None
    assert status.state == WeightState.MISSING
    needed = [(name, item) for item in facts.weights for name in item.files]
    assert len(status.problems) == len(needed)
    for problem, (name, item) in zip(status.problems, needed, strict=True):
        assert problem.startswith(f"{tmp_path / name} is missing, expected the {item.purpose}: ")
        assert item.source in problem
        assert any(word in problem for word in ("phosphene train", "phosphene import", "Hugging"))


def test_the_list_of_systems_shows_each_option_with_its_published_gain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["systems", "--json"]) == 0
    entries = {e["name"]: e for e in json.loads(capsys.readouterr().out)["systems"]}
    options = dict(entries["atm"]["options"])
    for name, gain in EXPECTED_GAINS.items():
        assert gain in options[name], name
    assert main(["systems", "atm"]) == 0
    assert "option training.multi_positive: Every repetition" in capsys.readouterr().out


def test_the_document_names_every_option_with_its_gain() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "models", "atm.md").read_text()
    for name in RetrievalTrainingConfig.model_fields:
        assert f"`{name}" in text, name
    for gain in ("+2.41", "63.2", "46.4", "61.2", "0.167"):
        assert gain in text
