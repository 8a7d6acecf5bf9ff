"""ATM-S behind the ports at toy size, through the code that reads the published files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import DecoderConfig, load_preset
from models.api import Encoder, Sampler
from models.atm import live
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.errors import AtmError
from models.atm.folder import EncoderFacts, load_encoder, save_encoder
from models.atm.generation import ADAPTER_FILE
from models.atm.input import montage_map, network_input
from models.atm.live import AtmEncoder, AtmSampler
from models.atm.toy import TOY_SIZE, write_toy_weights
from models.systems import check_window
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from pipeline.values import Epoch, Info

CAP = ("Fz", "Cz", "Pz", "Oz", "O1", "O2", "P7", "P8", "PO3", "PO4", "C3", "C4")


def _epoch(seed: int = 0, *, sfreq: float = 250.0, ch_names: tuple[str, ...] = CAP) -> Epoch:
    n_times = round(1.2 * sfreq) + 1
    data = np.random.default_rng(seed).normal(0, 10, (len(ch_names), n_times))
    return Epoch(
        data=data.astype(np.float32),
        tmin=-0.2,
        tmax=1.0,
        t_onset=3.0,
        event="",
        info=Info(ch_names, sfreq),
        index=seed,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("toy")
    write_toy_weights(made, n_features=48)
    return made


@pytest.fixture(scope="module")
def system(folder: Path) -> tuple[AtmEncoder, AtmSampler]:
    return _load(folder)


def _load(folder: Path) -> tuple[AtmEncoder, AtmSampler]:
    config = DecoderConfig(weights=str(folder), num_inference_steps=2)
    return live.load_encoder(config), live.load_sampler(config)


def test_an_epoch_becomes_a_picture(system: tuple[AtmEncoder, AtmSampler]) -> None:
    encoder, sampler = system
    assert isinstance(encoder, Encoder)
    assert isinstance(sampler, Sampler)
    embedding = encoder.encode(_epoch())
    assert embedding.vector.shape == (48,)
    image = sampler.sample(embedding, seed=4)
    assert image.pixels.shape == (TOY_SIZE, TOY_SIZE, 3)
    assert (image.index, image.t_onset) == (embedding.index, 3.0)
    assert image.pixels.std() > 1


def test_a_picture_is_a_function_of_epoch_and_seed(system: tuple[AtmEncoder, AtmSampler]) -> None:
    encoder, sampler = system
    first, other = encoder.encode(_epoch(0)), encoder.encode(_epoch(1))
    picture = sampler.sample(first, seed=4).pixels
    np.testing.assert_array_equal(picture, sampler.sample(first, seed=4).pixels)
    assert (picture != sampler.sample(first, seed=5).pixels).any()
    assert (picture != sampler.sample(other, seed=4).pixels).any()


@pytest.mark.parametrize("sfreq", [200.0, 512.0, 1000.0])
def test_any_rate_gives_the_network_its_samples(sfreq: float) -> None:
    times = np.arange(round(1.2 * sfreq) + 1) / sfreq - 0.2
    wave = np.tile(np.sin(2 * np.pi * 5 * times), (len(CAP), 1)) * np.arange(1, 13)[:, None]
    epoch = replace(_epoch(sfreq=sfreq), data=wave.astype(np.float32))
    made = network_input(epoch, ch_names=("Fz", "Oz"), sfreq=250.0, n_times=250)
    expected = np.sin(2 * np.pi * 5 * np.arange(250) / 250)
    for row in made:
        assert np.corrcoef(row[5:-5], expected[5:-5])[0, 1] > 0.999


def test_channels_are_taken_by_name_and_missing_ones_from_their_neighbours() -> None:
    names = tuple(name for name in CH_NAMES if name != "POz")
    matrix = montage_map(names, ("Oz", "POz"))
    assert matrix[0, names.index("Oz")] == 1
    assert np.count_nonzero(matrix[0]) == 1
    assert matrix[1].sum() == pytest.approx(1)  # the reference stays
    nearest = {names[i] for i in np.argsort(-matrix[1])[:5]}
    assert nearest <= {"PO3", "PO4", "Oz", "Pz", "O1", "O2", "P1", "P2"}


def test_an_epoch_that_ends_too_early_is_refused(system: tuple[AtmEncoder, AtmSampler]) -> None:
    short = replace(_epoch(), data=_epoch().data[:, :250], tmax=0.796)
    with pytest.raises(AtmError, match=r"set epochs\.tmin and epochs\.tmax"):
        system[0].encode(short)


def test_whitening_reaches_the_network() -> None:
    matrix = np.diag([2.0, 3.0]).astype(np.float32)
    options = {"ch_names": ("Oz", "Pz"), "sfreq": 250.0, "n_times": 250}
    epoch = replace(_epoch(), data=np.ones((12, 301), np.float32))
    made = network_input(epoch, whitening=matrix, **options)
    np.testing.assert_allclose(made, [[2.0] * 250, [3.0] * 250])


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("encoder/model.safetensors", "EEG_Image_decode"),
        ("prior/model.safetensors", "train atm prior"),
        ("generator/model_index.json", "huggingface.co/stabilityai/sdxl-turbo"),
        (ADAPTER_FILE, "huggingface.co/h94/IP-Adapter"),
    ],
)
def test_a_missing_file_is_named_with_its_source(
    part: str, source: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(folder, copy)
    (copy / part).unlink()
    with pytest.raises(AtmError) as error:
        _load(copy)
    sentence = str(error.value)
    assert str(copy / part) in sentence
    assert source in sentence
    assert "\n" not in sentence


def test_the_full_size_preset_says_what_it_lacks(tmp_path: Path) -> None:
    config = load_preset("atm").decoder.model_copy(update={"weights": str(tmp_path)})
    with pytest.raises(AtmError, match=r"encoder/model\.safetensors is missing"):
        live.load_encoder(config)


def test_presets_cover_the_epoch_that_the_networks_want() -> None:
    for name in ("atm", "atm-toy"):
        preset = load_preset(name)
        assert preset.epochs.tmin <= 0
        assert preset.epochs.tmax >= 1
        assert isinstance(preset.decoder, DecoderConfig)


def test_windows_that_every_epoch_would_fail_by_are_refused_at_once(
    system: tuple[AtmEncoder, AtmSampler],
) -> None:
    encoder, _ = system
    check_window(encoder, tmin=-0.2, tmax=1.0)
    with pytest.raises(AtmError, match=r"from -0\.2 to 0\.8 s, expected from 0 or before to 1 s"):
        check_window(encoder, tmin=-0.2, tmax=0.8)


def test_the_last_channel_reaches_the_embedding_unless_dropped_as_published() -> None:
    eeg, ids = torch.zeros(1, 17, 250), torch.tensor([0])
    louder = eeg.clone()
    louder[:, -1] = torch.randn(250)
    moved = []
    for drop in (False, True):
        torch.manual_seed(0)
        config = AtmsConfig(n_channels=17, n_features=8, drop_last_channel=drop)
        model = AtmsEncoder(config).eval()
        with torch.inference_mode():
            tokens = [model.tokens(x, ids) for x in (eeg, louder)]
        moved.append((tokens[0] - tokens[1]).abs().amax(dim=-1)[0])
    assert moved[0][-1] > 10 * moved[0][:-1].max()  # its own token is there
    assert moved[1].max() < moved[0][-1] / 10  # only what attention passes on


def test_unknown_subjects_share_a_token_one_by_one() -> None:
    torch.manual_seed(0)
    config = AtmsConfig(n_channels=17, n_features=8, n_subjects=2)
    eeg = torch.randn(2, 17, 250)
    model = AtmsEncoder(config).eval()
    with torch.inference_mode():
        together = model(eeg, torch.tensor([0, 7]))
        alone = model(eeg[:1], torch.tensor([0]))
    torch.testing.assert_close(together[:1], alone)


def test_a_saved_encoder_keeps_its_whitening(tmp_path: Path) -> None:
    model = AtmsEncoder(AtmsConfig(n_channels=17, n_features=8))
    save_encoder(tmp_path, model, EncoderFacts(ch_names=POSTERIOR), whitening=torch.eye(17))
    _, facts, whitening = load_encoder(tmp_path)
    assert whitening is not None
    assert torch.equal(whitening, torch.eye(17))
    assert facts.ch_names == POSTERIOR
