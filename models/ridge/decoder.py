"""The ridge baseline as an encoder: an epoch of voxels becomes a vector of its space.

Owns the files (safetensors and JSON, checked) and the `models.api.Encoder` around the matrix.
Knows nothing of fitting.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from configs import DecoderConfig
from configs.guard import read_bytes, read_text
from models.api import EncoderSpec, InputSpec, installed_weights
from models.ridge.fitting import Ridge, RidgeError
from models.weights import write_hashes
from pipeline.gallery import SPACE
from pipeline.values import Embedding, Epoch
from pipeline.volumes import KIND, voxel_vector

NAME = "fmri-ridge"
MODEL, CONFIG = "model.safetensors", "config.json"
LARGEST = 16 << 30
"""Most bytes of a matrix: 400 000 voxels by 10 000 features."""
TOY_VOXELS = 4096
"""The toy's matrix begins anew after so many voxels, so that it takes any count."""


class RidgeFacts(BaseModel):
    """What `config.json` says of a fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: int = Field(default=1, ge=1, le=1)
    space: str
    tmin: float
    tmax: float
    temperature: float = Field(gt=0)
    sfreq: float = Field(gt=0)
    unit: str = "z"
    n_voxels: int = Field(ge=1)
    alpha: float
    agreement: float
    """As `models.ridge.fitting.Fitted`."""
    pairwise: float
    """How often a held-out trial lies nearer to its own stimulus than to another; chance 0.5."""
    n_trials: int
    n_stimuli: int
    is_simulated: bool = Field(default=False, exclude=True)
    """In folders from before; of no meaning: a fit is not told, and its recordings say it."""
    learnt: tuple[tuple[str, float, float], ...] = ()
    """As `EncoderSpec.learnt`."""


@dataclass(frozen=True, slots=True)
class RidgeEncoder:
    """Averages the samples that count, standardises the voxels, multiplies by the matrix.

    Satisfies `models.api.Encoder`. A vector is short where nothing was found: its mean length is
    how well held-out stimuli agreed.
    """

    ridge: Ridge
    spec: EncoderSpec

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch.

        Raises
        ------
        ShapeError
            Another count of voxels.
        """
        spec = self.spec
        voxels = voxel_vector(epoch, n_voxels=spec.input.n_channels, tmin=spec.tmin, tmax=spec.tmax)
        if spec.input.n_channels is None:
            voxels = np.resize(voxels, len(self.ridge.mean))
        vector = self.ridge.predict(voxels).astype(np.float32)
        return Embedding(vector, index=epoch.index, t_onset=epoch.t_onset)


def save_ridge(folder: Path, ridge: Ridge, facts: RidgeFacts) -> None:
    """Write a fit into a folder; the same fit once more changes nothing.

    Raises
    ------
    RidgeError
        The folder holds another fit.
    """
    arrays = {name: np.ascontiguousarray(getattr(ridge, name)) for name in Ridge.__slots__}
    made = {
        MODEL: save_arrays(arrays),
        CONFIG: (facts.model_dump_json(indent=2) + "\n").encode(),
    }
    for name, data in made.items():
        if (folder / name).exists() and (folder / name).read_bytes() != data:
            raise RidgeError(
                f"{folder / name} is of another fit (other data or settings), and nothing is "
                "overwritten: give a new --out."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    write_hashes(folder)


def load_ridge(folder: Path) -> RidgeEncoder:
    """Read a fit.

    Raises
    ------
    RidgeError
        A file is missing, damaged, or does not fit the other.
    """
    remedy = "fit it with `phosphene train fmri-ridge fit --data RECORDING --out DIR`"
    try:
        facts = RidgeFacts.model_validate(json.loads(read_text(folder / CONFIG)))
        raw = read_bytes(folder / MODEL, limit=LARGEST)
        arrays = load_arrays(raw)
        parts = [arrays[name] for name in Ridge.__slots__]
    except FileNotFoundError as error:
        raise RidgeError(
            f"{error.filename} is missing, expected a fit of {NAME}: {remedy}."
        ) from None
    except (
        OSError,
        ValueError,
        KeyError,
        SafetensorError,
        ValidationError,
        RecursionError,
    ) as error:
        said = str(error).splitlines()[0]
        raise RidgeError(f"the fit in {folder} cannot be used ({said}): {remedy}.") from None
    ridge = Ridge(*parts)
    n, width = ridge.matrix.shape if ridge.matrix.ndim == 2 else (0, 0)
    shapes = ((n, width), (n,), (n,), (width,))
    sound = all(
        part.dtype == np.float32 and part.shape == shape and np.isfinite(part).all()
        for part, shape in zip(parts, shapes, strict=True)
    )
    if not sound or n != facts.n_voxels:
        raise RidgeError(
            f"the fit in {folder} has arrays of {[part.shape for part in parts]}, expected finite "
            f"float32 for {facts.n_voxels} voxels: {remedy}."
        )
    return RidgeEncoder(ridge, _spec(facts, width, hashlib.sha256(raw).hexdigest()))


def _spec(facts: RidgeFacts, n_features: int, sha256: str) -> EncoderSpec:
    return EncoderSpec(
        name=NAME,
        input=InputSpec(facts.sfreq, kind=KIND, n_channels=facts.n_voxels, unit=facts.unit),
        tmin=facts.tmin,
        tmax=facts.tmax,
        l_freq=None,
        h_freq=None,
        n_features=n_features,
        sha256=sha256,
        space=facts.space,
        temperature=facts.temperature,
        learnt=facts.learnt,
    )


def load_encoder(config: DecoderConfig) -> RidgeEncoder:
    """Load the fit in `config.weights`, or the installed one.

    Raises
    ------
    RidgeError
        There is none that can be used.
    """
    return load_ridge(installed_weights(NAME) if config.weights is None else Path(config.weights))


def load_toy_encoder(config: DecoderConfig) -> RidgeEncoder:
    """Make a matrix of random numbers that takes any count of voxels; its vectors mean nothing.

    Raises
    ------
    RidgeError
        Weights were named: a fit is for `fmri-ridge`.
    """
    if config.weights is not None:
        raise RidgeError(
            f"{NAME}-toy was given the weights {config.weights}, but it makes random numbers: use "
            f"--preset {NAME} for a fit."
        )
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(TOY_VOXELS, 64)) / (8 * TOY_VOXELS**0.5)).astype(np.float32)
    ridge = Ridge(
        matrix,
        np.zeros(TOY_VOXELS, np.float32),
        np.ones(TOY_VOXELS, np.float32),
        np.zeros(64, np.float32),
    )
    spec = EncoderSpec(
        name=f"{NAME}-toy",
        input=InputSpec(0.5, kind=KIND, unit="z"),
        tmin=0.0,
        tmax=0.5,
        l_freq=None,
        h_freq=None,
        n_features=64,
        sha256=hashlib.sha256(matrix.tobytes()).hexdigest(),
        space=SPACE,
    )
    return RidgeEncoder(ridge, spec)
