"""The weights that ship: whole, small, and drawing what they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs import load_config
from models.embedded.generator import PARTS, WEIGHTS, load_generator
from models.embedded.sampler import GRAPHS, EmbeddedSampler, load_sampler
from models.weights import WeightState, check_weights, hash_file
from pipeline.gallery import load_gallery
from pipeline.values import Embedding

GALLERY = load_gallery()


@pytest.fixture(scope="module")
def sampler() -> EmbeddedSampler:
    return load_sampler(num_inference_steps=1)


def test_they_are_whole_and_small() -> None:
    assert check_weights(WEIGHTS).state is WeightState.READY
    size = sum(path.stat().st_size for part in PARTS for path in (WEIGHTS / part).iterdir())
    assert size <= 40e6


def test_pictures_are_those_of_the_embeddings(sampler: EmbeddedSampler) -> None:
    """The nearest gallery picture, pixel by pixel, is the one that was asked for."""
    rows = np.arange(3, len(GALLERY), 41)
    made = sampler.draw(GALLERY.embeddings[rows], seeds=tuple(range(len(rows))))
    known = np.stack([GALLERY.image(label) for label in GALLERY.labels])[:, ::4, ::4]
    error = [
        np.square(known.astype(np.float32) - picture[::4, ::4]).mean((1, 2, 3)) for picture in made
    ]
    assert (np.argmin(error, axis=1) == rows).mean() >= 0.9


def test_an_empty_embedding_draws_fog(sampler: EmbeddedSampler) -> None:
    empty = Embedding(np.zeros(64, np.float32), index=0, t_onset=0.0)
    full = Embedding(GALLERY.embedding("volcano"), index=0, t_onset=0.0)
    contrast = [
        sampler.sample(each, seed=0).pixels.astype(np.float32).std((0, 1)).mean()
        for each in (empty, full)
    ]
    assert contrast[0] < 0.2 * contrast[1]


def test_sessions_recorded_before_it_are_drawn_by_the_weights_that_drew_them(
    tmp_path: Path, sampler: EmbeddedSampler
) -> None:
    recorded = Path(__file__).parents[1] / "fixtures" / "sessions" / "plain" / "session.toml"
    assert load_config(recorded).decoder.generator_revision == 1
    assert not load_config(recorded).decoder.blend
    assert load_config(recorded).decoder.graph_revision == 1
    by_hand = tmp_path / "own.toml"
    by_hand.write_text("[decoder]\nthreads = 1\n")
    assert load_config(by_hand).decoder.generator_revision == 4
    assert load_config(by_hand).decoder.blend
    assert load_config(by_hand).decoder.graph_revision == 3
    first = load_generator(revision=1).sha256
    assert first == "8bb174887deb89e10fe4e5820fbc5a3d8409f16b77a0c73e0bc3b52f2a87acce"
    second = load_generator(revision=2)
    assert (second.correction_scale, second.sha256[:12]) == (1.0, "9f1d6c55e3e4")
    third = load_generator(revision=3)
    assert (third.correction_scale, third.sha256[:12]) == (0.5, "23ffee633ae7")
    assert len({first, second.sha256, third.sha256, sampler.spec.sha256, ""}) == 5


def test_sessions_recorded_before_them_are_drawn_by_the_graphs_that_drew_them(
    sampler: EmbeddedSampler,
) -> None:
    """ONNX Runtime's pictures of other graphs differ in the last bits."""
    found = {
        revision: [
            hash_file(part.graph)[:8] if part.graph else ""
            for part in EmbeddedSampler(load_generator(), graph_revision=revision).parts
        ]
        for revision in GRAPHS
    }
    assert found[1] == ["8d6f5b07", "bd82a06b"]
    assert found[2] == ["df34bbb7", "9dedc278"]
    assert len(found[3]) == 3
    assert found[3] == [part.graph and hash_file(part.graph)[:8] for part in sampler.parts]


def test_networks_cut_at_the_steps_draw_as_whole_ones_to_the_bit() -> None:
    """Alone, in a batch, with guidance, and with more steps than are prepared at once."""
    generator = load_generator()
    vectors = GALLERY.embeddings[[3, 90]]
    for steps, guidance, n in ((1, 1.0, 1), (5, 1.0, 1), (2, 1.5, 2)):
        whole, cut = (
            EmbeddedSampler(
                generator, num_inference_steps=steps, guidance_scale=guidance, graph_revision=each
            )
            for each in (2, 3)
        )
        noise = torch.randn(n, *generator.latent_shape)
        given = torch.from_numpy(vectors[:n].copy())
        with torch.no_grad():
            assert torch.equal(whole._denoise(noise, given), cut._denoise(noise, given))


def test_what_lies_between_two_is_drawn_as_one_of_them(sampler: EmbeddedSampler) -> None:
    """Alone and in a batch, beside another; and as both, where blends are off."""
    cat, umbrella = GALLERY.embedding("cat"), GALLERY.embedding("umbrella")
    middle = np.float32(0.6) * cat + np.float32(0.4) * umbrella
    vectors, seeds = np.stack([cat, middle]), (0, 0)
    known, blend = sampler.draw(vectors, seeds=seeds).astype(np.float32)
    both = load_sampler(blend=False).draw(vectors, seeds=seeds).astype(np.float32)
    np.testing.assert_array_equal(both[0], known)

    def outline(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
        far: NDArray[np.bool_] = np.abs(picture - np.median(picture[:4], (0, 1))).max(2) > 24
        return far

    def likeness(picture: NDArray[np.float32]) -> float:
        mine, theirs = outline(picture), outline(known)
        return float((mine & theirs).sum() / (mine | theirs).sum())

    assert likeness(blend) > 0.85 > likeness(both[1])
    assert np.abs(blend - known)[outline(known)].mean() > 10, "other colours"
