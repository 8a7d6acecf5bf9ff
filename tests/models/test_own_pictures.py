"""A gallery's own pictures are drawn as what they are, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from PIL import Image, ImageDraw

from configs import DecoderConfig, load_config
from models.embedded.fog import FOG
from models.embedded.generator import WEIGHTS, load_picture_encoder
from models.embedded.sampler import EmbeddedSampler, load_sampler
from models.systems import load_plain
from pipeline.errors import PhospheneError
from pipeline.gallery import SPACE, Gallery, load_gallery, pictures
from pipeline.gallery.making import find_pictures, make_gallery
from pipeline.values import Float32, Uint8


def stranger(seed: int) -> Float32:
    """A direction that is like nothing that the generator knows."""
    known = load_gallery().embeddings
    vector = np.random.default_rng(seed).standard_normal(known.shape[1])
    rest = vector - 0.5 * known.T @ (np.linalg.pinv(known.T) @ vector)
    unit: Float32 = (rest / np.linalg.norm(rest)).astype(np.float32)
    assert (known @ unit).max() < 0.5
    return unit


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    folder = tmp_path_factory.mktemp("own")
    (folder / "given").mkdir()
    for name, colour in (("disc", (200, 40, 40)), ("square", (40, 60, 200))):
        picture = Image.new("RGB", (128, 128), "white")
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if name == "disc" else pen.rectangle)((30, 30, 98, 98), colour)
        picture.save(folder / "given" / f"{name}.png")
    vectors = np.stack([stranger(1), stranger(2)])
    found = find_pictures(folder / "given")
    return make_gallery(found, folder / "made", name="own", encoders={SPACE: lambda _: vectors})


@pytest.fixture(scope="module")
def knowing(own: Gallery) -> EmbeddedSampler:
    sampler = load_sampler()
    sampler.know(own)
    return sampler


@pytest.fixture(scope="module")
def alone() -> EmbeddedSampler:
    return load_sampler()


def away(made: Uint8, wanted: Uint8) -> float:
    """Root mean square error, levels."""
    return float(np.sqrt(np.square(made.astype(np.float64) - wanted).mean()))


def test_the_encoder_is_diffusers_own() -> None:
    """To the bit."""
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    theirs = AutoencoderDC.from_pretrained(WEIGHTS / "vae", local_files_only=True).float()
    like = torch.zeros(1)
    theirs.to(memory_format=torch.channels_last)
    with torch.no_grad():
        mine = load_picture_encoder(like=like)(picture)
        assert torch.equal(mine, theirs.encoder(picture))


def test_an_own_picture_is_drawn_as_it_is(
    own: Gallery, knowing: EmbeddedSampler, alone: EmbeddedSampler
) -> None:
    """Also of a vector that is near it only; behind fog where the vector is short."""
    for row, label in enumerate(own.labels):
        vector, shown = own.tables[SPACE][row], own.image(label)
        near = vector + 0.4 * stranger(row + 5)
        near /= np.linalg.norm(near)
        for each in (vector, near):
            assert away(knowing.draw(each[None], seeds=(3,))[0], shown) < 12
            assert away(alone.draw(each[None], seeds=(3,))[0], shown) > 30
        faint = knowing.draw(np.float32(0.1) * vector[None], seeds=(3,))[0]
        assert away(faint, np.broadcast_to(np.array(FOG, np.uint8), faint.shape)) < 4


def test_all_else_is_drawn_as_without_it(
    own: Gallery, knowing: EmbeddedSampler, alone: EmbeddedSampler
) -> None:
    """What the generator knows, strangers, nothing; alone and beside an own picture."""
    known = load_gallery()
    cat = known.embedding("cat")
    between = 0.6 * cat + 0.4 * known.embedding("umbrella")
    for vector in (cat, between, stranger(9), np.zeros_like(cat)):
        rows = vector[None]
        np.testing.assert_array_equal(knowing.draw(rows, seeds=(1,)), alone.draw(rows, seeds=(1,)))
    both = np.stack([cat, own.tables[SPACE][0]])
    made = knowing.draw(both, seeds=(1, 1))
    np.testing.assert_array_equal(made[0], alone.draw(both, seeds=(1, 1))[0])
    assert away(made[1], own.image(own.labels[0])) < 12


def test_a_session_asks_for_it_and_earlier_ones_did_not(own: Gallery) -> None:
    settings = DecoderConfig()
    assert settings.own_pictures
    said = load_plain(settings, gallery=str(own.folder)).remarks
    assert any("'own'" in each and "decoder.own_pictures" in each for each in said)
    off = settings.model_copy(update={"own_pictures": False})
    assert not load_plain(off, gallery=str(own.folder)).remarks
    recorded = Path(__file__).parents[1] / "fixtures" / "sessions" / "plain" / "session.toml"
    assert not load_config(recorded).decoder.own_pictures


def test_the_generators_own_gallery_is_none_of_these(alone: EmbeddedSampler) -> None:
    alone.know(load_gallery())
    assert not alone.remarks


def test_a_picture_that_is_gone_is_said(own: Gallery, knowing: EmbeddedSampler) -> None:
    assert own.folder is not None
    file = own.folder / own.stimuli[0].image
    content = file.read_bytes()
    file.unlink()
    pictures.read_square.cache_clear()
    try:
        with pytest.raises(PhospheneError, match="missing"):
            knowing.draw(own.tables[SPACE][:1], seeds=(0,))
    finally:
        file.write_bytes(content)
