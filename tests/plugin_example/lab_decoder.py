"""Somebody else's decoder: fixed random linear maps into the gallery's space, and a painter."""

from __future__ import annotations

import hashlib

import numpy as np

from configs import DecoderConfig
from models.api import EncoderSpec, InputSpec, SamplerSpec, SystemDescriptor
from pipeline.errors import ShapeError
from pipeline.gallery import SPACE
from pipeline.values import Embedding, Epoch, GeneratedImage

N_FEATURES, N_BINS, SIDE = 64, 8, 32
PRESET = """
source = { type = "fMRI" }
filter = { l_freq = "none", h_freq = "none", notch_freqs = [] }
epochs = { tmin = 0.0, tmax = 4.0, baseline = "none", reject_uv = {} }
decoder = { system = "lab-fmri" }
"""


class LinearEncoder:
    """Mean over channels (EEG) or time (fMRI), then a random matrix."""

    def __init__(self, name: str, given: InputSpec, *, tmax: float) -> None:
        n_inputs = given.n_channels or N_BINS
        self._matrix = np.random.default_rng(0).normal(size=(N_FEATURES, n_inputs)) / n_inputs**0.5
        self.spec = EncoderSpec(
            name=name,
            input=given,
            tmin=0.0,
            tmax=tmax,
            l_freq=None,
            h_freq=None,
            n_features=N_FEATURES,
            sha256=hashlib.sha256(self._matrix.tobytes()).hexdigest(),
            space=SPACE,
        )

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch."""
        n_channels = self.spec.input.n_channels
        if n_channels is None:
            halves = np.array_split(epoch.data.mean(axis=0), N_BINS)
            inputs = np.array([half.mean() for half in halves])
        elif epoch.data.shape[0] != n_channels:
            given = epoch.data.shape
            raise ShapeError(f"the epoch has shape {given}, expected {n_channels} voxels.")
        else:
            inputs = epoch.data.mean(axis=1)
        vector = self._matrix @ inputs
        vector /= max(float(np.linalg.norm(vector)), 1e-12)
        return Embedding(vector.astype(np.float32), index=epoch.index, t_onset=epoch.t_onset)


class Painter:
    """Tiles whose grey is the embedding, and one pixel of the seed."""

    spec = SamplerSpec("lab-tiles", SPACE, (SIDE, SIDE), steps=0, sha256="0" * 64)

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Paint."""
        if embedding.vector.shape != (N_FEATURES,):
            given = embedding.vector.shape
            raise ShapeError(f"the embedding has shape {given}, expected ({N_FEATURES},).")
        grey = np.clip(128 + 256 * embedding.vector, 0, 255).reshape(8, 8)
        pixels = np.repeat(np.kron(grey, np.ones((4, 4)))[..., None], 3, axis=2).astype(np.uint8)
        pixels[0, 0] = seed % 256
        return GeneratedImage(pixels, seed, embedding.index, embedding.t_onset)


def load_linear(config: DecoderConfig) -> LinearEncoder:
    """Make the EEG encoder."""
    return LinearEncoder("lab-linear", InputSpec(250.0), tmax=0.6)


def load_fmri(config: DecoderConfig) -> LinearEncoder:
    """Make the fMRI encoder: two samples, one a repetition time of 2 s."""
    given = InputSpec(0.5, kind="fmri", n_channels=500, n_times=2, unit="percent")
    return LinearEncoder("lab-fmri", given, tmax=2.0)


def load_painter(config: DecoderConfig) -> Painter:
    """Make the generator."""
    return Painter()


LINEAR = SystemDescriptor(
    name="lab-linear",
    title="A lab's own decoder",
    space=SPACE,
    generator="tiles of grey",
    encoder="lab_decoder:load_linear",
    sampler="lab_decoder:load_painter",
)
FMRI = SystemDescriptor(
    name="lab-fmri",
    title="A lab's own decoder of fMRI",
    modality="fMRI",
    space=SPACE,
    encoder="lab_decoder:load_fmri",
    drawn_by="lab-tiles",
    preset="lab-fmri",
)
TILES = SystemDescriptor(
    name="lab-tiles",
    title="A lab's own generator",
    space=SPACE,
    generator="tiles of grey",
    sampler="lab_decoder:load_painter",
)
