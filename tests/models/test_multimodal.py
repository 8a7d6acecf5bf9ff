"""The multimodal system: every modality changes the picture, faults repeat by a switch."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import DecoderConfig
from models.api import Sampler
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.errors import AtmError
from models.atm.folder import EncoderFacts, save_encoder, save_prior
from models.atm.generation import ADAPTER_FILE, AdapterGenerator
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.toy import TOY_SIZE, make_toy_pipeline, write_toy_adapter
from models.multimodal.adapter_scales import adaptive_weights, fused_scales
from models.multimodal.errors import MultimodalError
from models.multimodal.generation import MultimodalGenerator
from models.multimodal.live import load_encoder, load_sampler
from models.multimodal.modalities import (
    FUSION_WEIGHTS,
    LOSS_WEIGHTS,
    Faults,
    Modality,
)
from models.multimodal.superpixels import LEVELS, lab_8bit, superpixel_image, texture
from models.stable_diffusion.generation import GenerationSettings
from models.things_eeg2.montage import POSTERIOR
from pipeline.values import Epoch, Info

N_FEATURES = 24
SIZES = PriorConfig(
    embed_dim=N_FEATURES, cond_dim=N_FEATURES, hidden_dim=(32, 16), time_embed_dim=16
)
Make = Callable[[Faults], MultimodalGenerator]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("multimodal")
    torch.manual_seed(3)
    pipeline = make_toy_pipeline(folder / "tokenizer")
    pipeline.save_pretrained(folder / "generator")
    write_toy_adapter(folder / ADAPTER_FILE, pipeline.unet, n_features=N_FEATURES)
    settings = GenerationSettings(num_inference_steps=1, guidance_scale=5.0, size=TOY_SIZE)
    generator = AdapterGenerator(folder, n_adapters=5, settings=settings)
    priors = {m: DiffusionPriorUNet(SIZES).eval() for m in Modality}

    def build(faults: Faults) -> MultimodalGenerator:
        norms = dict.fromkeys(Modality, 20.0)
        return MultimodalGenerator(
            priors, generator, target_norms=norms, prior_steps=3, faults=faults
        )

    return build


def _vectors(system: MultimodalGenerator, seed: int = 0) -> dict[Modality, torch.Tensor]:
    condition = torch.randn(N_FEATURES, generator=torch.Generator().manual_seed(1))
    return system.clip_vectors(condition, seed=seed)


@pytest.mark.parametrize("modality", Modality)
def test_every_modality_changes_the_fused_picture(modality: Modality, make: Make) -> None:
    system = make(Faults())
    vectors = _vectors(system)
    other = dict(vectors) | {modality: _vectors(system, seed=9)[modality]}
    assert (system.fused(vectors, seed=0) != system.fused(other, seed=0)).any()


def test_the_published_image_modality_changes_nothing(make: Make) -> None:
    system = make(Faults(blocks_without_attention=True))
    vectors = _vectors(system)
    other = dict(vectors) | {Modality.IMAGE: -vectors[Modality.IMAGE]}
    np.testing.assert_array_equal(system.fused(vectors, seed=0), system.fused(other, seed=0))


def test_norms_are_restored_unless_the_fault_is_asked_for(make: Make) -> None:
    for faults, norm in ((Faults(), 20.0), (Faults(unit_norm_embeddings=True), 1.0)):
        for vector in _vectors(make(faults)).values():
            assert vector.norm().item() == pytest.approx(norm, rel=1e-5)


def test_a_label_reaches_the_picture_only_as_oracle(make: Make) -> None:
    honest, oracle = make(Faults()), make(Faults(oracle_prompt=True))
    vectors = _vectors(honest)
    empty = honest.fused(vectors, seed=0)
    np.testing.assert_array_equal(empty, honest.fused(vectors, seed=0, label="a cat"))
    assert (empty != oracle.fused(vectors, seed=0, label="a cat")).any()


def test_modes(make: Make) -> None:
    system = make(Faults())
    vectors = _vectors(system)
    separate = system.separate(vectors, seed=2)
    assert set(separate) == set(Modality)
    steps = system.progressive(vectors, seed=2)
    assert len(steps) == 5
    assert all((a != b).any() for a, b in pairwise(steps))
    np.testing.assert_array_equal(steps[-1], system.fused(vectors, seed=2))


def test_adaptive_weights_share_the_whole_strength() -> None:
    equal = adaptive_weights(dict.fromkeys(Modality, 0.4))
    assert equal == pytest.approx(dict(FUSION_WEIGHTS))
    sure = adaptive_weights(dict.fromkeys(Modality, 0.1) | {Modality.FEW: 0.9})
    assert sum(sure.values()) == pytest.approx(sum(FUSION_WEIGHTS.values()))
    assert sure[Modality.FEW] > 3 * FUSION_WEIGHTS[Modality.FEW]
    assert adaptive_weights(dict.fromkeys(Modality, 0.0)) == FUSION_WEIGHTS


def test_a_prior_that_follows_its_condition_is_trusted(make: Make) -> None:
    confidence = make(Faults()).confidence(torch.zeros(N_FEATURES), seed=0, n_draws=2)
    assert set(confidence) == set(Modality)
    assert all(0 <= value <= 1 for value in confidence.values())


def test_weights_of_the_loss_sum_to_one() -> None:
    assert sum(LOSS_WEIGHTS.values()) == pytest.approx(1)


def test_a_modality_without_weight_has_no_scale() -> None:
    layers = ["down_blocks.1.attentions.0.x", "mid_block.attentions.0.x"]
    scales = fused_scales(layers, weights={Modality.FEW: 0.5})
    assert scales[Modality.FEW] == {layers[0]: 0.5, layers[1]: 0.0}
    assert not any(scales[Modality.TEXT].values())


def test_lab_of_known_colours() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    expected = [[0, 128, 128], [255, 128, 128], [136, 208, 195], [82, 207, 20]]
    assert np.abs(lab_8bit(colours)[0].astype(int) - expected).max() <= 1


def test_a_grey_picture_has_no_texture_and_keeps_its_means() -> None:
    image = np.full((8, 8, 3), 90, np.uint8)
    image[:, 4:] = 120
    assert not texture(image).any()
    segments = np.repeat([[1, 2]], 4, axis=1).repeat(8, axis=0).astype(np.int64)
    made = superpixel_image(image, LEVELS[Modality.FEW], segments=segments)
    np.testing.assert_array_equal(made, image)
    with pytest.raises(MultimodalError, match="expected uint8"):
        superpixel_image(image[..., 0], LEVELS[Modality.FEW], segments=segments)


def test_the_whole_decodes_behind_the_ports(tmp_path: Path) -> None:
    torch.manual_seed(4)
    config = AtmsConfig(n_channels=17, n_features=N_FEATURES)
    save_encoder(tmp_path / "encoder", AtmsEncoder(config), EncoderFacts(ch_names=POSTERIOR))
    for modality in Modality:
        save_prior(tmp_path / "priors" / modality, DiffusionPriorUNet(SIZES), target_norm=20.0)
    pipeline = make_toy_pipeline(tmp_path / "tokenizer")
    pipeline.save_pretrained(tmp_path / "generator")
    write_toy_adapter(tmp_path / ADAPTER_FILE, pipeline.unet, n_features=N_FEATURES)
    settings = json.dumps({"prior_steps": 2, "size": TOY_SIZE})
    (tmp_path / "system.json").write_text(settings, encoding="utf-8")
    settings_of = DecoderConfig(weights=str(tmp_path), num_inference_steps=1)
    encoder, sampler = load_encoder(settings_of), load_sampler(settings_of)
    assert isinstance(sampler, Sampler)
    data = np.random.default_rng(0).normal(0, 10, (4, 301)).astype(np.float32)
    info = Info(("O1", "Oz", "O2", "Pz"), 250.0)
    epoch = Epoch(data, tmin=-0.2, tmax=1.0, t_onset=1.0, event="", info=info, index=5)
    embedding = encoder.encode(epoch)
    assert embedding.vector.shape == (1, N_FEATURES)  # of CLIP's space, not the gallery's
    image = sampler.sample(embedding, seed=1)
    assert image.pixels.shape == (TOY_SIZE, TOY_SIZE, 3)
    assert image.index == 5
    (tmp_path / "priors" / "large" / "model.safetensors").unlink()
    with pytest.raises(AtmError, match=r"priors/large/model\.safetensors is missing"):
        load_sampler(settings_of)
