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
from models.foundation.biot import Biot
from models.foundation.cbramod import CBraMod
from models.foundation.eegpt import Eegpt
from models.foundation.labram import Labram
from models.foundation.network import EegNetwork
from models.foundation.reve import Reve
from models.foundation.steegformer import SteegFormer
from models.foundation.system import BIOT, CBRAMOD, EEGPT, LABRAM, MODEL_NAME, REVE, STEEGFORMER
from models.registry import find_system
from models.weights import hash_file
from pipeline.electrodes import canonical_name
from pipeline.errors import InfoError
from pipeline.values import Embedding, Epoch, Float64

NETWORKS: dict[str, type[EegNetwork]] = {
    LABRAM.name: Labram,
    CBRAMOD.name: CBraMod,
    STEEGFORMER.name: SteegFormer,
    BIOT.name: Biot,
    EEGPT.name: Eegpt,
    REVE.name: Reve,
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
        rows, others, places = self._places(ch_names)
        if not np.isfinite(data).all():
            raise InfoError("the epoch holds NaN or infinity, expected finite microvolts.")
        given = np.asarray(data, dtype=np.float64)
        picked = given[:, rows] - given[:, others] if others else given[:, rows]
        picked = picked - picked.mean(axis=2, keepdims=True)
        ratio = Fraction(self.network.sfreq / sfreq).limit_denominator(1000)
        at_rate = resample_poly(picked, ratio.numerator, ratio.denominator, axis=2)
        whole = torch.from_numpy(np.ascontiguousarray(at_rate, dtype=np.float32))
        patch, step = self.network.patch, self.network.step
        n_steps = max(0, -(-(whole.shape[2] - patch) // step))
        length = patch + n_steps * step
        where = torch.tensor(places)
        found = []
        with torch.inference_mode():
            for part in torch.split(self.network.scaled(whole), _BATCH):
                padded = torch.nn.functional.pad(part, (0, length - part.shape[2]))
                patches = padded.unfold(2, patch, step)
                found.append(self.network(patches, where).mean(dim=1).double())
        return np.asarray(torch.cat(found).numpy())

    def _places(self, ch_names: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
        """Rows of the channels that it knows, those that are taken from them, and the places."""
        names = [canonical_name(name) for name in ch_names]
        row_of = {name.upper(): row for row, name in enumerate(names) if name is not None}
        if not self.network.sites:
            rows = [row for row, name in enumerate(ch_names) if not name.startswith("(")]
            self._check(ch_names, sum(names[row] is not None for row in rows))
            return rows, [], rows
        found: dict[tuple[int, ...], int] = {}
        for place, site in enumerate(self.network.sites):
            parts = site.upper().split("-") if self.network.is_bipolar else [site.upper()]
            if all(part in row_of for part in parts):
                found.setdefault(tuple(row_of[part] for part in parts), place)
        self._check(ch_names, len(found))
        known = sorted(found.items())
        others = [rows[1] for rows, _ in known] if self.network.is_bipolar else []
        return [rows[0] for rows, _ in known], others, [place for _, place in known]

    def _check(self, ch_names: Sequence[str], n_known: int) -> None:
        """Refuse a montage of which it knows nearly nothing."""
        if n_known >= 2:
            return
        wanted = "channels of the 10-20 system"
        if self.network.is_bipolar:
            wanted = f"pairs of neighbours among them ({', '.join(self.network.sites[:4])}, ...)"
        raise InfoError(
            f"{self.spec.name} knows {n_known} of what {', '.join(ch_names[:8])} give, expected at "
            f"least two {wanted}: pick by site (--picks), or give the labels with source.ch_names."
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
