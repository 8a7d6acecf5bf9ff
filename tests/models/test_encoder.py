"""The shipped encoder: any labelled montage, honest confidence, refusals in a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import signal, stats

from models.api import Encoder
from models.embedded.encoder import WEIGHTS, EmbeddedEncoder, EncoderError, load_encoder
from models.embedded.encoder_input import (
    N_TIMES,
    N_VIRTUAL,
    VIRTUAL_NAMES,
    interpolation,
    prepare,
    resample,
)
from pipeline.errors import InfoError
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Float32, Info
from pipeline.virtual_brain.evoked import (
    CODE_LATENCIES,
    WAVE_LATENCIES,
    code_kernels,
    common_kernels,
)
from pipeline.virtual_brain.subject import draw_subject
from research.embedded import train_encoder
from research.embedded.encoder_batches import MONTAGES, held_out_concepts
from research.embedded.encoder_pool import EpochPool, NoiseBank, network_input
from research.embedded.encoder_sessions import Session, record_session
from research.embedded.identification import calibration_error, ranks


@pytest.fixture(scope="module")
def encoder() -> EmbeddedEncoder:
    return load_encoder()


def session(*, snr: float = 1.0, n: int = 45, board: str = "cap32") -> Session:
    names, rate = MONTAGES[board]
    return record_session(
        ch_names=names,
        sfreq=rate,
        subject_number=1001,
        embeddings=load_gallery().subset(kind="upright").embeddings,
        n_stimuli=n,
        snr=snr,
        seed=21,
    )


@pytest.fixture(scope="module")
def epochs() -> tuple[Epoch, ...]:
    return session(n=3).epochs


def changed(epoch: Epoch, data: Float32, info: Info | None = None) -> Epoch:
    return Epoch(
        data=data.astype(np.float32),
        tmin=epoch.tmin,
        tmax=epoch.tmax,
        t_onset=epoch.t_onset,
        event=epoch.event,
        info=info or epoch.info,
        index=epoch.index,
    )


def test_it_is_an_encoder_and_repeats_itself_to_the_bit(
    encoder: EmbeddedEncoder, epochs: tuple[Epoch, ...]
) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.spec.input.ch_names == ()
    assert len(encoder.spec.sha256) == 64
    first, second = encoder.encode(epochs[1]), load_encoder().encode(epochs[1])
    assert first.vector.shape == (encoder.spec.n_features,)
    assert first.vector.tobytes() == second.vector.tobytes()
    assert (first.index, first.t_onset) == (epochs[1].index, epochs[1].t_onset)


def test_a_minute_of_a_person_never_seen_is_identified_and_snr_0_is_not(
    encoder: EmbeddedEncoder,
) -> None:
    gallery = load_gallery().subset(kind="upright")

    def hits(snr: float) -> tuple[int, int, float]:
        sitting = session(snr=snr)
        vectors = np.stack([encoder.encode(e).vector for e in sitting.epochs])
        rank = ranks(vectors @ gallery.embeddings.T, sitting.rows)
        return int((rank == 0).sum()), len(rank), float(np.linalg.norm(vectors, axis=1).mean())

    n_hits, n, norm = hits(1.0)
    assert stats.binomtest(n_hits, n, 1 / len(gallery), alternative="greater").pvalue < 1e-3
    n_blind, n, blind_norm = hits(0.0)
    assert stats.binomtest(n_blind, n, 1 / len(gallery), alternative="greater").pvalue > 1e-3
    assert blind_norm < norm, "less confident where there is nothing to see"


def test_order_reference_and_spelling_of_channels_do_not_matter(
    encoder: EmbeddedEncoder, epochs: tuple[Epoch, ...]
) -> None:
    epoch = epochs[0]
    expected = encoder.encode(epoch).vector
    rng = np.random.default_rng(3)
    order = rng.permutation(epoch.info.n_channels)
    names = tuple(f"EEG {epoch.info.ch_names[i].upper()}" for i in order)
    hum = 30 * rng.standard_normal(epoch.data.shape[1])
    other = changed(epoch, epoch.data[order] + hum, Info(names, epoch.info.sfreq))
    assert np.allclose(encoder.encode(other).vector, expected, atol=2e-3)


def test_what_is_no_eeg_or_broken_is_left_out(
    encoder: EmbeddedEncoder, epochs: tuple[Epoch, ...]
) -> None:
    epoch = epochs[0]
    names = (*epoch.info.ch_names, "COUNTER", "Trigger")
    types = ("eeg",) * epoch.info.n_channels + ("misc", "eeg")
    extra = 1e6 * np.ones((2, epoch.data.shape[1]), dtype=np.float32)
    more = changed(epoch, np.vstack([epoch.data, extra]), Info(names, epoch.info.sfreq, types))
    assert np.array_equal(prepare(more)[0], prepare(epoch)[0])
    broken = np.array(epoch.data)
    broken[4] = 5000 * np.random.default_rng(1).standard_normal(broken.shape[1])
    broken[7] = 0
    keep = [i for i in range(len(broken)) if i not in (4, 7)]
    without = changed(
        epoch,
        epoch.data[keep],
        Info(tuple(epoch.info.ch_names[i] for i in keep), epoch.info.sfreq),
    )
    assert np.allclose(prepare(changed(epoch, broken))[0], prepare(without)[0], atol=1e-5)
    assert np.isfinite(encoder.encode(changed(epoch, 0 * broken)).vector).all()


def test_a_montage_without_known_labels_is_refused(encoder: EmbeddedEncoder) -> None:
    info = Info(("ch1", "ch2", "Oz"), 250.0)
    epoch = Epoch(
        data=np.zeros((3, 251), dtype=np.float32),
        tmin=-0.2,
        tmax=0.8,
        t_onset=0.0,
        event="",
        info=info,
        index=0,
    )
    with pytest.raises(InfoError, match=r"ch1.*1 EEG labels.*at least two"):
        encoder.encode(epoch)


@pytest.mark.parametrize("sfreq", [125.0, 200.0, 250.0, 256.0, 500.0, 1000.0])
def test_resampling_keeps_a_wave_where_it_is(sfreq: float) -> None:
    times = -0.2 + np.arange(round(sfreq) + 1) / sfreq
    wave = np.exp(-0.5 * ((times - 0.17) / 0.03) ** 2)
    grid = resample(wave[None], sfreq=sfreq, tmin=-0.2)[0]
    assert grid.shape == (N_TIMES,)
    expected = np.exp(-0.5 * ((-0.2 + np.arange(N_TIMES) / 125 - 0.17) / 0.03) ** 2)
    assert np.abs(grid - expected).max() < 0.02


def test_interpolation_knows_what_it_sees() -> None:
    whole = interpolation(VIRTUAL_NAMES)
    few = interpolation(("O1", "O2", "P7", "P8"))
    assert whole.matrix.shape == (N_VIRTUAL, N_VIRTUAL)
    assert whole.coverage.min() > 0.5
    assert few.coverage[VIRTUAL_NAMES.index("O1")] > 2 * few.coverage[VIRTUAL_NAMES.index("Fp1")]
    assert np.abs(few.matrix.sum(axis=1)).max() < 1e-4, "blind to what all channels share"


def test_the_pool_is_the_stream() -> None:
    """Training epochs and streamed ones have the same power at every virtual electrode."""
    names, rate = MONTAGES["cap32"]
    sitting = session(n=150)
    streamed = np.stack([prepare(e)[0] for e in sitting.epochs])
    pool = EpochPool(seed=3, rates=(rate,), seconds=60.0)
    rng = np.random.default_rng(4)
    pictures = load_gallery().subset(kind="upright").embeddings
    channels = pool.channels(
        rng=rng,
        ch_names=names,
        sfreq=rate,
        subject_number=1001,
        embeddings=pictures[rng.integers(len(pictures), size=300)],
        snr=np.ones(300),
    ).channels
    pooled, _ = network_input(channels, names)

    def robust_power(x: Float32) -> np.ndarray:
        return np.median(x[:, :, 30:].var(axis=2), axis=0)

    ratio = robust_power(pooled) / robust_power(streamed)
    assert 0.85 < np.median(ratio) < 1.18
    assert 0.6 < ratio.min() < ratio.max() < 1.6
    spectra = [signal.welch(x, 125.0, nperseg=126)[1].mean(axis=(0, 1)) for x in (pooled, streamed)]
    assert np.abs(np.log(spectra[0][2:35] / spectra[1][2:35])).max() < 0.5


@pytest.mark.parametrize("since", [0.0013, 1.31])
def test_the_pool_filters_responses_as_the_live_path_does(since: float) -> None:
    """A response looked up in the bank equals one that ran through the causal filter."""
    subject, sfreq = draw_subject(1001), 250.0
    bank = NoiseBank(sfreq, seed=0, seconds=16.0)
    times = -2.2 + np.arange(round(3 * sfreq) + 1) / sfreq
    courses = np.concatenate(
        [code_kernels(times + since, subject), common_kernels(times + since, subject)]
    )
    filtered = signal.sosfilt(bank.sos, courses, axis=1)[:, -251:]
    filtered -= filtered[:, :51].mean(axis=1, keepdims=True)
    expected = resample(filtered, sfreq=sfreq, tmin=-0.2)
    latencies = np.concatenate([CODE_LATENCIES, WAVE_LATENCIES])
    centres = latencies * subject.latency_scale + subject.latency_shift
    found = bank.responses(np.full((1, 1, 1), since) - centres)[0, 0]
    assert np.abs(found - expected).max() < 0.02


def test_held_out_concepts_are_a_tenth_and_stay_the_same() -> None:
    gallery = load_gallery()
    held = held_out_concepts(gallery)
    n_concepts = len({s.concept for s in gallery.stimuli if s.kind == "upright"})
    assert len(held) == round(n_concepts / 10)
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["training"]["held_out_concepts"] == list(held)
    assert config["gallery_sha256"] == gallery.sha256, "trained on another gallery: train anew"


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_probabilities() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0, 1, 20_000)
    honest = rng.random(20_000) < probability
    assert calibration_error(probability, honest) < 0.02
    assert calibration_error(np.full(1000, 0.9), np.zeros(1000, dtype=bool)) > 0.85


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    shutil.copytree(WEIGHTS, folder)
    return folder


def test_damaged_weights_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no encoder in"):
        load_encoder(tmp_path / "nowhere")
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(EncoderError, match="damaged"):
        load_encoder(copy)


def _describe_anew(folder: Path, **changes: object) -> None:
    import hashlib

    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(copy: Path) -> None:
    path = copy / "model.safetensors"
    state = load_file(path)
    save_file({k: v for k, v in state.items() if k != "homes"}, path)
    _describe_anew(copy)
    with pytest.raises(EncoderError, match="homes"):
        load_encoder(copy)
    state["homes"] = torch.full_like(state["homes"], float("nan"))
    save_file(state, path)
    _describe_anew(copy)
    with pytest.raises(EncoderError, match="NaN"):
        load_encoder(copy)
    _describe_anew(copy, schema=1)
    with pytest.raises(EncoderError, match="schema"):
        load_encoder(copy)


def test_training_runs_resumes_and_exports_what_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_encoder, "BATCH", 32)
    words = ["--out", str(tmp_path), "--bank-seconds", "20", "--ridge-epochs", "96"]
    words += ["--pretrain-steps", "1", "--save-every", "1", "--noise-epochs", "16"]
    assert train_encoder.main([*words, "--steps", "1"]) == 0
    first = load_encoder(tmp_path / "weights")
    assert train_encoder.main([*words, "--steps", "2"]) == 0
    second = load_encoder(tmp_path / "weights")
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert config["training"]["step"] == 3
    assert first.spec.sha256 != second.spec.sha256
