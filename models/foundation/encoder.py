"""A published encoder as an `Encoder`: microvolts of any rate in, the mean of its tokens out.

Owns the window, the rate, the units and which electrodes it knows. Its vectors lie in a space of
their own, which nothing draws: a person's head is fitted to them (`models.adapters`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from configs import DecoderConfig
from models.api import EncoderSpec, InputSpec, installed_weights
from models.checkpoints import CheckpointError, load_checkpoint, load_into, sizes_read, tensors_of
from models.foundation.cbramod import CBraMod
from models.foundation.labram import Labram
from models.foundation.network import EegNetwork
from models.foundation.steegformer import SteegFormer
from models.foundation.system import CBRAMOD, LABRAM, MODEL_NAME, STEEGFORMER
from models.registry import find_system
from models.weights import hash_file
from pipeline.electrodes import canonical_name
from pipeline.errors import InfoError
from pipeline.values import Embedding, Epoch, Float64

NETWORKS: dict[str, type[EegNetwork]] = {
    LABRAM.name: Labram,
    CBRAMOD.name: CBraMod,
    STEEGFORMER.name: SteegFormer,
}
WINDOW = (0.0, 0.6)
"""What is looked at, s from onset: as the other decoders of classes do."""
_BATCH = 16


class FoundationEncoder:
    """A pretrained encoder of EEG; satisfies `models.api.Encoder` and `ReadsFeatures`.

    Parameters
    ----------
    name : str
        Of its system.
    network : EegNetwork
    sha256 : str
        Of its weights.
    """

    def __init__(self, name: str, network: EegNetwork, sha256: str) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.spec = EncoderSpec(
            name=name,
            input=InputSpec(network.sfreq),
            tmin=WINDOW[0],
            tmax=WINDOW[1],
            l_freq=0.5,
            h_freq=40.0,
            n_features=network.width,
            sha256=sha256,
            space=f"{name}-features",
        )

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch's window."""
        start = round((WINDOW[0] - epoch.tmin) * epoch.info.sfreq)
        stop = start + round((WINDOW[1] - WINDOW[0]) * epoch.info.sfreq)
        if start < 0 or stop > epoch.data.shape[1]:
            raise InfoError(
                f"an epoch from {epoch.tmin:g} to {epoch.tmax:g} s does not hold the window of "
                f"{WINDOW[0]:g} to {WINDOW[1]:g} s that {self.spec.name} reads: widen epochs.tmin "
                "and epochs.tmax."
            )
        kinds = zip(epoch.info.ch_names, epoch.info.ch_types, strict=True)
        names = [name if kind == "eeg" else f"({name})" for name, kind in kinds]
        found = self.features(epoch.data[None, :, start:stop], names, epoch.info.sfreq)
        vector = found[0].astype(np.float32)
        return Embedding(vector, index=epoch.index, t_onset=epoch.t_onset)

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise `InfoError` where fewer than two electrodes are known to it."""
        self._places(ch_names)

    def features(
        self, data: NDArray[np.floating], ch_names: Sequence[str], sfreq: float
    ) -> Float64:
        """Features of windows.

        Parameters
        ----------
        data : ndarray, shape (n, n_channels, n_times), microvolts
            From onset on.
        ch_names : sequence of str
        sfreq : float
            Hz.

        Returns
        -------
        ndarray, shape (n, n_features), float64
        """
        rows, places = self._places(ch_names)
        if not np.isfinite(data).all():
            raise InfoError("the epoch holds NaN or infinity, expected finite microvolts.")
        picked = np.asarray(data, dtype=np.float64)[:, rows]
        picked = picked - picked.mean(axis=2, keepdims=True)
        ratio = Fraction(self.network.sfreq / sfreq).limit_denominator(1000)
        at_rate = resample_poly(picked, ratio.numerator, ratio.denominator, axis=2)
        whole = torch.from_numpy(np.ascontiguousarray(at_rate, dtype=np.float32))
        n_patches = -(-whole.shape[2] // self.network.patch)
        where = torch.tensor(places)
        found = []
        with torch.inference_mode():
            for part in torch.split(self.network.scaled(whole), _BATCH):
                padded = torch.nn.functional.pad(
                    part, (0, n_patches * self.network.patch - part.shape[2])
                )
                patches = padded.reshape(*padded.shape[:2], n_patches, self.network.patch)
                found.append(self.network(patches, where).mean(dim=1).double())
        return np.asarray(torch.cat(found).numpy())

    def _places(self, ch_names: Sequence[str]) -> tuple[list[int], list[int]]:
        """Rows of the channels that it knows, and the place of each."""
        known = {site.upper(): i for i, site in enumerate(self.network.sites)}
        names = [canonical_name(name) for name in ch_names]
        if not known:
            rows = [row for row, name in enumerate(ch_names) if not name.startswith("(")]
            named = [row for row in rows if names[row] is not None]
            if len(named) < 2:
                raise InfoError(_too_few(self.spec.name, ch_names, len(named)))
            return rows, rows
        found = [(row, known[n.upper()]) for row, n in enumerate(names) if n and n.upper() in known]
        if len(found) < 2:
            raise InfoError(_too_few(self.spec.name, ch_names, len(found)))
        return [row for row, _ in found], [place for _, place in found]


def _too_few(name: str, ch_names: Sequence[str], n: int) -> str:
    return (
        f"{name} knows {n} of the channels {', '.join(ch_names[:8])}, expected at least two of the "
        "10-20 system: pick by site (--picks), or give the labels with source.ch_names."
    )


def load_encoder(config: DecoderConfig) -> FoundationEncoder:
    """Load what `phosphene import` wrote for the system that `config` names.

    Raises
    ------
    CheckpointError
        It is missing, damaged, or another network's.
    """
    path = Path(config.weights or installed_weights(config.system)) / MODEL_NAME
    if not path.is_file():
        (needed,) = find_system(config.system).descriptor.weights
        raise CheckpointError(f"{path} is missing, expected the {needed.purpose}: {needed.source}.")
    state = tensors_of(load_checkpoint(path))
    kind = NETWORKS[config.system]
    with sizes_read(path):
        network = kind.build(state)
    load_into(network, state, what=str(path))
    return FoundationEncoder(config.system, network, hash_file(path))
