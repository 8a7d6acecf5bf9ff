"""The table of the published systems: one command at toy size, and what each one is fed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.atm.input import network_input
from models.dreamdiffusion.live import signal_of
from models.embedded.encoder_input import SFREQ, TMAX, TMIN
from models.multimodal.modalities import Modality
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info
from research.comparison import __main__ as command
from research.comparison import pool as pools
from research.comparison import table as tables
from research.comparison.dreamdiffusion import PREPROCESSING
from research.embedded.encoder_batches import MONTAGES, held_out_concepts


@pytest.fixture(scope="module")
def epochs() -> pools.PoolEpochs:
    return pools.draw_pool(load_gallery(), n_epochs=64, seed=1, bank_seconds=16.0)


def live(pool: pools.PoolEpochs, row: int) -> Epoch:
    """The pool's epoch as if it came through the live path at the grid's own rate."""
    names = MONTAGES[pools.BOARD][0]
    return Epoch(
        data=pool.channels[row],
        tmin=TMIN,
        tmax=TMAX,
        t_onset=0.0,
        event="",
        info=Info(names, SFREQ),
        index=row,
    )


def test_training_sees_what_the_live_path_of_each_system_makes(epochs: pools.PoolEpochs) -> None:
    epoch = live(epochs, 3)
    names = MONTAGES[pools.BOARD][0]
    theirs = network_input(epoch, ch_names=names, sfreq=SFREQ, n_times=pools.ATM_TIMES)
    assert np.allclose(pools.atm_input(epochs.channels)[3], theirs, atol=1e-4)
    shape = (len(names), pools.SIGNAL_TIMES)
    signal = signal_of(epoch, preprocessing=PREPROCESSING, shape=shape)
    assert np.allclose(pools.signal_input(epochs.channels)[3], signal, atol=1e-3)


def test_every_epoch_finds_its_embedding_and_held_out_pictures_are_not_among_them(
    epochs: pools.PoolEpochs,
) -> None:
    gallery = load_gallery()
    assert len(epochs.image_ids) == len(epochs.channels) == 64
    norms = np.linalg.norm(epochs.embeddings[epochs.image_ids], axis=1)
    assert np.allclose(norms, 1, atol=1e-5)
    assert (epochs.image_ids >= epochs.n_gallery).any(), "some are made up"
    held = set(held_out_concepts(gallery))
    known = epochs.image_ids[epochs.image_ids < epochs.n_gallery]
    assert not held & {gallery.stimuli[row].concept for row in known}


def test_modalities_keep_to_their_part_of_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "superpixel_image", lambda picture, _: picture)
    gallery = load_gallery()
    targets = pools.modality_targets(gallery, scale=8.0)
    assert set(targets) == {m.published_name for m in Modality}
    for rows in targets.values():
        assert np.allclose(np.linalg.norm(rows, axis=1), 8.0, atol=1e-3)
    few, text = targets["superpixel_few"], targets["text"]
    assert np.allclose((few * text).sum(axis=1), 0, atol=1e-4)
    # An untouched picture's colours lead back to its own embedding.
    own = np.argmax(few @ (gallery.embeddings * (few != 0)).T, axis=1)
    assert (own == np.arange(len(gallery))).mean() > 0.4


def test_one_command_trains_tests_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "superpixel_image", lambda picture, _: picture)
    monkeypatch.setattr(tables, "SNRS", (1.0,))
    draws: list[float | None] = []
    draw = tables.atm.draw_modalities

    def count(*args: Any, guidance_scale: float | None = None) -> Any:
        draws.append(guidance_scale)
        return draw(*args, guidance_scale=guidance_scale)

    monkeypatch.setattr(tables.atm, "draw_modalities", count)
    document = tmp_path / "docs" / "comparison.md"
    words = f"--out {tmp_path} --epochs 64 --bank-seconds 16 --people 2 --stimuli 2".split()
    words += [f"--passes-{name}=1" for name in ("a", "b", "atm", "prior", "multimodal")]
    words += ["--document", str(document), "--images", str(tmp_path / "img")]
    assert command.main(words) == 0
    lines = json.loads(document.with_suffix(".json").read_text())
    assert len(lines) == 7
    # Each person once, though two rows read it; with guidance, pictures are drawn besides.
    assert (draws.count(None), draws.count(5.0)) == (2, 3)
    table = (document.parent / "comparison_table.md").read_text()
    assert table.count("| ATM-S, prior |") == 1
    drawn = {path.name for path in (tmp_path / "img").iterdir()}
    assert drawn == {f"comparison-{name}.webp" for name in tables.DRAWN}
    weights = tmp_path / "atm" / "encoder" / "checkpoints"
    before = sorted(p.stat().st_mtime_ns for p in weights.rglob("*.safetensors"))
    systems = command.train_systems(command.parser().parse_args(words), load_gallery())
    assert sorted(p.stat().st_mtime_ns for p in weights.rglob("*.safetensors")) == before
    assert not any(p.requires_grad and torch.isnan(p).any() for p in systems.atm.prior.parameters())
