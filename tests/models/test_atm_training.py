"""Training of the ATM family: losses fall, a killed run ends in the same weights, options act."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.atm import MultimodalTrainingConfig, PriorTrainingConfig, RetrievalTrainingConfig
from models.atm.data import EpochSet, open_epochs, write_epochs
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.errors import AtmError
from models.atm.folder import load_encoder, load_prior
from models.atm.losses import clip_loss, multi_positive_clip_loss
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.stages import EncoderTask, PriorTask
from models.multimodal.modalities import Modality
from models.multimodal.stage import MultimodalModel, MultimodalTask
from models.registry import find_entry, find_system
from models.stages import StageRequest
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.training import LoopConfig, Task, make_engine, train
from models.training.draws import Draws
from models.training.errors import TrainingError
from models.training.loop import Progress
from pipeline.errors import ConfigurationError
from research.comparison.retrieval import draw_competitors, k_way_retrieval

N_IMAGES, N_REPETITIONS, N_FEATURES = 12, 4, 16
TARGETS = ("ViT-H-14", "ViT-H-14.text", "RN50", *(m.published_name for m in Modality))


def _stage(system: str, stage: str) -> Callable[..., Any]:
    return find_entry(find_system(system).descriptor.stages, stage, what="stage")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Epochs of the published shape (63 x 250), each picture a pattern in noise."""
    rng = np.random.default_rng(7)
    image_ids = np.repeat(np.arange(N_IMAGES), N_REPETITIONS)
    patterns = rng.normal(size=(N_IMAGES, 63, 250))
    noise = rng.normal(size=(len(image_ids), 63, 250))
    out = tmp_path_factory.mktemp("things")
    write_epochs(
        out,
        eeg=(patterns[image_ids] + noise).astype(np.float32),
        image_ids=image_ids,
        subject_ids=image_ids % 2,
        features={t: rng.normal(size=(N_IMAGES, N_FEATURES)).astype(np.float32) for t in TARGETS},
        ch_names=CH_NAMES,
    )
    return out


@pytest.fixture(scope="module")
def data(folder: Path) -> EpochSet:
    return open_epochs(folder, TARGETS)


def _encoder(**sizes: int) -> AtmsEncoder:
    torch.manual_seed(1)
    return AtmsEncoder(AtmsConfig(n_features=N_FEATURES, **sizes))


def _prior() -> PriorConfig:
    return PriorConfig(
        embed_dim=N_FEATURES, cond_dim=N_FEATURES, hidden_dim=(16, 8), time_embed_dim=8
    )


def _task(kind: str, data: EpochSet) -> tuple[Task, LoopConfig]:
    if kind == "prior":
        torch.manual_seed(2)
        vectors = torch.randn(64, N_FEATURES)
        config = PriorTrainingConfig(passes=60, batch_size=32, lr=3e-3)
        task = PriorTask(DiffusionPriorUNet(_prior()), vectors, vectors.flip(1), config)
        return task, LoopConfig(passes=60, batch_size=32)
    if kind == "multimodal":
        model = MultimodalModel(_encoder(n_channels=17), _prior())
        task = MultimodalTask(model, data.picked(POSTERIOR), MultimodalTrainingConfig(lr=2e-3))
        return task, LoopConfig(passes=5, batch_size=16)
    config = RetrievalTrainingConfig.model_validate(
        {"objective": kind, "lr": 1e-3, "validation_fraction": 0.2}
    )
    return EncoderTask(_encoder(), data, config), LoopConfig(passes=2, batch_size=8)


def _run(task: Task, config: LoopConfig, out: Path, stop_after: int | None = None) -> list[float]:
    losses: list[float] = []
    train(
        task,
        config,
        engine=make_engine(device="cpu"),
        out=out,
        stop_after=stop_after,
        on_step=lambda at: losses.append(at.losses["loss"]),
    )
    task.module.eval()
    return losses


@pytest.mark.parametrize("kind", ["retrieval", "reconstruction", "prior", "multimodal"])
def test_the_loss_falls(kind: str, data: EpochSet, tmp_path: Path) -> None:
    losses = _run(*_task(kind, data), tmp_path)
    quarter = len(losses) // 4
    assert np.mean(losses[-quarter:]) < 0.97 * np.mean(losses[:quarter])


@pytest.mark.parametrize("kind", ["retrieval", "prior", "multimodal"])
def test_a_killed_run_resumes_to_the_same_weights(
    kind: str, data: EpochSet, tmp_path: Path
) -> None:
    whole, cut, resumed = (_task(kind, data) for _ in range(3))
    _run(*whole, tmp_path / "whole", 3)
    _run(*cut, tmp_path / "cut", 2)
    torch.rand(100)  # whatever happens to the global generator in between
    _run(*resumed, tmp_path / "cut", 3)
    expected = whole[0].module.state_dict()
    for name, value in resumed[0].module.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_retrieval_after_training_is_above_chance(data: EpochSet, tmp_path: Path) -> None:
    data = data.picked(POSTERIOR)
    task = EncoderTask(
        _encoder(n_channels=17), data, RetrievalTrainingConfig(lr=1e-3, validation_fraction=0)
    )
    _run(task, LoopConfig(passes=5, batch_size=16), tmp_path)
    batch = data.batch(range(len(data)))
    gallery = torch.nn.functional.normalize(torch.from_numpy(np.array(data.targets["ViT-H-14"])))
    with torch.inference_mode():
        vectors = task.module.encoder(batch.eeg, batch.subject_ids)
    others = draw_competitors(
        batch.image_ids.numpy(), n_ways=10, n_classes=N_IMAGES, rng=np.random.default_rng(0)
    )
    score = k_way_retrieval(vectors, gallery, batch.image_ids, torch.from_numpy(others))
    assert score.top1 > 0.3  # chance: 0.1


def test_averaging_makes_one_sample_of_the_repetitions(data: EpochSet) -> None:
    averaged = data.averaged()
    assert len(averaged) == N_IMAGES
    expected = np.asarray(data.eeg[:N_REPETITIONS]).mean(axis=0)
    np.testing.assert_allclose(averaged.batch([0]).eeg[0].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_validation_holds_out_whole_pictures(data: EpochSet) -> None:
    training, held = data.split(0.25, seed=0)
    seen = {int(i) for i in training.batch(range(len(training))).image_ids}
    kept = {int(i) for i in held.batch(range(len(held))).image_ids}
    assert len(kept) == 3
    assert not seen & kept


def test_posterior_channels_reach_a_smaller_network(data: EpochSet) -> None:
    config = RetrievalTrainingConfig.modern()
    task = EncoderTask(_encoder(n_channels=17), data.picked(POSTERIOR), config)
    batch = task.batch(np.arange(4), Draws.of(np.arange(4), 0), training=True)
    assert batch["eeg"].shape == (4, 17, 250)
    assert torch.isfinite(task.module(**batch)["loss"])


def test_repetitions_are_positives_of_each_other() -> None:
    vectors = torch.eye(4)[[0, 0, 1, 1]] * 10
    ids = torch.tensor([0, 0, 1, 1])
    assert multi_positive_clip_loss(vectors, vectors, 1.0, ids) < 1e-6
    assert clip_loss(vectors, vectors, 1.0) > 0.69  # its own repetition stands against it
    alone = torch.arange(4)
    torch.testing.assert_close(
        multi_positive_clip_loss(vectors, vectors, 0.1, alone), clip_loss(vectors, vectors, 0.1)
    )


def test_a_batch_of_one_picture_has_nothing_to_contrast() -> None:
    vectors = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = multi_positive_clip_loss(vectors, vectors.detach(), 1.0, torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


@pytest.mark.parametrize("option", [{"normalise": "both"}, {"multi_positive": True}])
def test_options_change_the_loss(option: dict[str, object], data: EpochSet) -> None:
    losses = []
    for settings in ({}, option):
        config = RetrievalTrainingConfig.model_validate(settings)
        task = EncoderTask(_encoder(), data, config)
        task.module.eval()
        batch = task.batch(np.arange(16), Draws.of(np.arange(16), 0), training=True)
        losses.append(task.module(**batch)["loss"])
    assert not torch.isclose(*losses)


def test_data_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    eeg = np.zeros((2, 3, 10), np.float32)
    ids = np.array([0, 1])
    write_epochs(
        tmp_path, eeg=eeg, image_ids=ids, subject_ids=ids, features={}, ch_names=("O1", "O2")
    )
    with pytest.raises(AtmError, match="one name a channel"):
        open_epochs(tmp_path, ())
    with pytest.raises(AtmError, match="no such file"):
        open_epochs(folder, ("absent",))


def test_stages_of_the_command_make_a_system_that_decodes(folder: Path, tmp_path: Path) -> None:
    made: list[int] = []
    common = {"data": folder, "out": tmp_path, "device": "cpu", "stop_after": 2}
    settings = {
        "model": {"feedforward": 32},
        "training": {"objective": "reconstruction", "passes": 1, "picks": "posterior"},
    }
    encoder = _stage("atm", "encoder")

    def again(at: Progress) -> None:
        made.append(at.step)
        with pytest.raises(TrainingError, match="another training that still runs"):
            encoder(StageRequest(**common, table=settings))

    encoder(StageRequest(**common, table=settings, on_step=again))
    assert made == [1]  # 46 samples in one batch of 64
    sizes = {"prior": {"hidden_dim": [16, 8]}, "training": {"passes": 1}}
    report = _stage("atm", "prior")(
        StageRequest(
            **common | {"out": tmp_path / "p"}, table=sizes | {"encoder": str(tmp_path / "encoder")}
        )
    )
    assert report["step"] == 1
    model, facts, _ = load_encoder(tmp_path / "encoder")
    assert facts.ch_names == POSTERIOR
    prior, norm = load_prior(tmp_path / "p" / "prior")
    assert (prior.config.cond_dim, model.config.n_features, norm) == (16, 16, None)


def test_the_multimodal_stage_writes_six_networks(folder: Path, tmp_path: Path) -> None:
    settings = {"prior": {"hidden_dim": [16, 8]}, "training": {"passes": 1, "batch_size": 16}}
    stage = _stage("atm-multimodal", "train")
    stage(StageRequest(data=folder, out=tmp_path, device="cpu", stop_after=1, table=settings))
    features = np.load(folder / "features" / "superpixel_few.npy")
    _, norm = load_prior(tmp_path / "priors" / "few")
    assert norm == pytest.approx(np.linalg.norm(features, axis=1).mean(), rel=1e-4)
    assert load_encoder(tmp_path / "encoder")[1].ch_names == CH_NAMES


def test_a_misspelt_setting_is_named(folder: Path, tmp_path: Path) -> None:
    stage = _stage("atm", "encoder")
    for table, key in (
        ({"model": {"n_chanels": 3}}, "n_chanels"),
        ({"training": {"batch": 3}}, "training.batch"),
        ({"preset": "newest"}, "newest"),
    ):
        with pytest.raises(ConfigurationError, match=key):
            stage(StageRequest(data=folder, out=tmp_path, table=table))
