"""The shipped encoder: an epoch of any labelled montage becomes a point of the gallery's space.

Owns loading (safetensors and JSON, checked) and the `models.api.Encoder` around the network;
knows nothing of training or of how pictures are drawn.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from configs.models import FilterConfig
from models.api import EncoderSpec, InputSpec
from models.checkpoints import is_finite
from models.embedded.encoder_input import SFREQ, TMAX, TMIN, prepare
from models.embedded.encoder_network import EncoderNetwork, NetworkConfig
from pipeline.errors import PhospheneError
from pipeline.gallery import SPACE
from pipeline.values import Embedding, Epoch, Float64, length_of

WEIGHTS = Path(__file__).with_name("weights") / "encoder"
"""Folder of the shipped weights."""
SCHEMA = 2
"""Of `config.json`; 1 were networks without timings."""


class EncoderError(PhospheneError):
    """The encoder's weights cannot be used."""


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """What a folder of encoder weights says of itself: `config.json` as read, and its hash."""

    config: dict[str, Any]
    weights: bytes


def read_files(folder: Path) -> EncoderFiles:
    """Read and check `config.json` and `model.safetensors`.

    Raises
    ------
    EncoderError
        Missing, not JSON, another schema, or weights that are not the ones described.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = (folder / "model.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"no encoder in {folder} ({error}), expected config.json and model.safetensors: "
            "reinstall phosphene or give another folder with decoder.weights."
        ) from None
    if not isinstance(config, dict) or config.get("schema") != SCHEMA:
        raise EncoderError(
            f"{folder / 'config.json'} is not of schema {SCHEMA}: it belongs to another version of "
            "phosphene; use the weights that came with this one."
        )
    digest = hashlib.sha256(weights).hexdigest()
    if digest != config.get("sha256"):
        raise EncoderError(
            f"{folder / 'model.safetensors'} has SHA-256 {digest[:12]}..., expected "
            f"{str(config.get('sha256'))[:12]}...: the file is damaged; reinstall it."
        )
    return EncoderFiles(config=config, weights=weights)


def build_network(files: EncoderFiles) -> EncoderNetwork:
    """Build the network with its weights in float32, ready to run.

    Raises
    ------
    EncoderError
        Weights that do not fit the sizes, or that are not finite.
    """
    try:
        network = EncoderNetwork(NetworkConfig(**files.config["network"]))
        state = {k: v.to(torch.float32) for k, v in load_safetensors(files.weights).items()}
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"the encoder's weights do not fit its config: {error}") from None
    absent = [name for name in missing if not name.startswith("rebuild")]
    if absent or unexpected:
        raise EncoderError(
            f"the encoder's weights lack {absent[:3]} and have {unexpected[:3]} too many: "
            "use model.safetensors and config.json of the same training run."
        )
    if not all(is_finite(value) for value in state.values()):
        raise EncoderError("the encoder's weights hold NaN or infinity: the file is damaged.")
    return network.eval()


class EmbeddedEncoder:
    """The virtual-pool encoder; satisfies `models.api.Encoder`.

    It states the vector's length as its confidence: near 0 where nothing was seen, about 1 when
    sure.
    `temperature` is what `Gallery.rank` should divide by for honest probabilities.
    """

    def __init__(self, files: EncoderFiles) -> None:
        self.network = build_network(files)
        self.temperature = float(files.config.get("temperature", 0.1))
        filters = FilterConfig()
        self._spec = EncoderSpec(
            name=str(files.config.get("name", "embedded")),
            input=InputSpec(SFREQ),
            tmin=TMIN,
            tmax=TMAX,
            l_freq=filters.l_freq,
            h_freq=filters.h_freq,
            n_features=self.network.config.n_features,
            sha256=str(files.config["sha256"]),
            space=SPACE,
            states_confidence=True,
            temperature=self.temperature,
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> EmbeddedEncoder:
        """Load the encoder in a folder of `model.safetensors` and `config.json`.

        Raises
        ------
        EncoderError
            The folder holds no usable encoder.
        """
        return cls(read_files(folder))

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives; any labelled montage will do."""
        return self._spec

    def expected_covariance(self, ch_names: tuple[str, ...]) -> Float64:
        """Covariance (n_channels, n_channels) of its training pool under a montage, uV squared."""
        from models.embedded.training_pool import pool_covariance  # brings SciPy's filters

        return pool_covariance(ch_names)

    @property
    def log_warp_prior(self) -> Float64:
        """Log probability of each of `time_warps.WARPS` beforehand, (n_warps,) float64."""
        return self.network.log_warp_prior.detach().double().numpy()

    def log_warps(self, epoch: Epoch) -> Float64:
        """Log probability of each of `time_warps.WARPS` given one epoch, (n_warps,) float64.

        Raises
        ------
        InfoError
            Fewer than two channels have a known place on the head.
        """
        with torch.inference_mode():
            return self.network.readings(*_input(epoch))[1][0].double().numpy()

    def encode(self, epoch: Epoch, *, warp_bias: Float64 | None = None) -> Embedding:
        """Embed one epoch.

        Parameters
        ----------
        epoch : Epoch
            Causally filtered as in `FilterConfig`'s defaults, any rate and montage with at least
            two labels of the 10-05 system.
        warp_bias : ndarray, shape (n_warps,), optional
            Added to the log probability of each latency warp: what is known of the person's.

        Returns
        -------
        Embedding
            `vector` (n_features,) float32.

        Raises
        ------
        InfoError
            Fewer than two channels have a known place on the head.
        """
        bias = None if warp_bias is None else torch.from_numpy(warp_bias.astype(np.float32))
        with torch.inference_mode():
            evidence = self.network.evidence(*_input(epoch), warp_bias=bias)
            vector = self.network.recall(evidence)[0].numpy().astype(np.float32)
        return Embedding(
            vector, index=epoch.index, t_onset=epoch.t_onset, confidence=length_of(vector)
        )


def _input(epoch: Epoch) -> tuple[Tensor, Tensor]:
    x, conditions = prepare(epoch)
    return torch.from_numpy(x[np.newaxis]), torch.from_numpy(conditions[np.newaxis])


def load_encoder(path: Path | None = None) -> EmbeddedEncoder:
    """Load the shipped encoder, or the one in the folder `path`.

    Raises
    ------
    EncoderError
        The folder holds no usable encoder.
    """
    return EmbeddedEncoder(read_files(WEIGHTS if path is None else path))
