"""A decoding system without torch for the decoder's real process: toy encoders, toy pictures.

Its adapters are folders with a `toy.json`; its encoders align themselves, so that an epoch's
vector depends on every epoch that was encoded before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import types
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from app.runtime import worker
from configs import DecoderConfig, SessionConfig
from models.api import EncoderSpec, InputSpec, SamplerSpec
from models.pace import Pace
from pipeline.errors import PhospheneError
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Embedding, Epoch, GeneratedImage


def write_toy_adapter(folder: Path, *, seed: int, seconds: float = 0.0) -> Path:
    """Write an adapter that takes `seconds` to load."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.json").write_text(json.dumps({"seed": seed, "seconds": seconds}))
    return folder


class ToyEncoder:
    """Random directions, nudged by the epochs that were observed."""

    def __init__(self, seed: int, text: str) -> None:
        n_features = load_gallery().embeddings.shape[1]
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.spec = EncoderSpec(
            f"toy:{seed}",
            InputSpec(250.0),
            -0.2,
            0.8,
            None,
            None,
            n_features,
            sha256=sha256,
            space=SPACE,
        )
        self._mixing = np.random.default_rng(seed).normal(size=(n_features, 4))
        self.is_frozen = bool(FROZEN)
        self.reset()

    def reset(self) -> None:
        self._seen = np.zeros(4)
        self._n = 0

    def freeze(self) -> None:
        self.is_frozen = True

    def resume(self) -> None:
        self.is_frozen = False

    @property
    def drift(self) -> float:
        return float(self._n)

    def observe(self, epoch: Epoch) -> None:
        if not self.is_frozen:
            self._seen += np.log(1.0 + epoch.data.astype(np.float64).std(axis=1))
            self._n += 1

    def encode(self, epoch: Epoch) -> Embedding:
        if epoch.event == "die":
            os._exit(3)
        power = np.log(1.0 + epoch.data.astype(np.float64).std(axis=1))
        vector = self._mixing @ (power + 0.1 * self._seen)
        vector /= np.linalg.norm(vector)
        return Embedding(vector.astype(np.float32), index=epoch.index, t_onset=epoch.t_onset)


class ToySampler:
    """A picture of the vector's first numbers; fails where it is told to."""

    spec = SamplerSpec("toy", SPACE, (8, 8), 0, sha256="0" * 64)

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        if embedding.index in FAILING:
            raise RuntimeError("the toy drew nothing")
        values = np.frombuffer(embedding.vector[:48].tobytes(), np.uint8)
        pixels = (values.reshape(8, 8, 3).astype(int) + seed) % 256
        return GeneratedImage(pixels.astype(np.uint8), seed, embedding.index, embedding.t_onset)


FROZEN: set[bool] = set()
"""Not empty: encoders start frozen, as real ones do; set in the child by `frozen_main`."""
FAILING: set[int] = set()
"""Indices whose picture fails; set in the child by `failing_main`."""


@dataclass
class ToySystem:
    encoder: ToyEncoder
    sampler: ToySampler
    due: None = None
    engine: None = None

    @property
    def versions(self) -> dict[str, str]:
        return {}

    @property
    def options(self) -> dict[str, int]:
        return {}

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    @property
    def settled(self) -> dict[str, str]:
        return {}

    @property
    def can_save_memory(self) -> bool:
        return False

    def measure(self) -> Pace:
        return Pace(0.0, 0, 0.0, 0.0, n_runs=0)


def noise_epoch(spec: EncoderSpec, *, oversampling: int = 1) -> Epoch:
    raise PhospheneError("the toy resamples nothing")


def load_encoder(config: DecoderConfig, *, plain: ToyEncoder | None = None) -> ToyEncoder:
    del plain
    if config.adapter is None:
        return ToyEncoder(0, "none")
    try:
        text = (Path(config.adapter) / "toy.json").read_text()
    except OSError:
        raise PhospheneError(f"{config.adapter} holds no toy adapter.") from None
    table = json.loads(text)
    threading.Event().wait(table["seconds"])
    return ToyEncoder(table["seed"], text)


def load_system(config: DecoderConfig, *, gallery: str | None = None) -> ToySystem:
    del gallery
    return ToySystem(load_encoder(config), ToySampler())


def toy_main(connection: Connection, config: SessionConfig) -> None:
    """The real process's loop around the toy system."""
    systems = types.ModuleType("models.systems")
    systems.load_system = load_system  # type: ignore[attr-defined]
    systems.load_encoder = load_encoder  # type: ignore[attr-defined]
    # Toys take whatever window there is.
    systems.check_window = lambda *_, **__: None  # type: ignore[attr-defined]
    systems.noise_epoch = noise_epoch  # type: ignore[attr-defined]
    sys.modules["models.systems"] = systems
    worker.main(connection, config)


def frozen_main(connection: Connection, config: SessionConfig) -> None:
    """As `toy_main`; nothing is followed unless the session asks for it."""
    FROZEN.add(True)
    toy_main(connection, config)


def failing_main(connection: Connection, config: SessionConfig) -> None:
    """As `toy_main`; epochs 9 and 10 are encoded, but not drawn."""
    FAILING.update((9, 10))
    toy_main(connection, config)
