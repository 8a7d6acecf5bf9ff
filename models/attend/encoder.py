"""Attending as an encoder like every other: evidence over pictures in, an embedding out.

Owns the epoch of evidence (one channel a picture, named by its label in the gallery or as a mixture
of several; nats against none of them) and its encoding. The embedding's length is the confidence,
so that any generator of the gallery's space draws it, from fog to a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from configs import DecoderConfig
from models.api import EncoderSpec, InputSpec
from models.attend.embedding import embed
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery, load_gallery
from pipeline.mixing import Mixing
from pipeline.values import Embedding, Epoch, Float64, Info

SYSTEM_NAME: Final = "attention"
KIND: Final = "evidence"
"""Type of the channels: each is a picture."""
STEPS_HZ: Final = 10.0
"""Steps of evidence a second."""
_LEAST: Final = 1e-12


def evidence_epoch(
    posterior: Float64, labels: Sequence[str], *, index: int, t_onset: float
) -> Epoch:
    """Make the epoch of what is known of a look.

    Parameters
    ----------
    posterior : ndarray, shape (n_pictures,), float64
        What is missing to 1 is that of none of them.
    labels : sequence of str
        Of the pictures, as `pipeline.mixing` reads them; what is said of one twice adds up.
    """
    table = dict.fromkeys(labels, 0.0)
    for label, probability in zip(labels, posterior.tolist(), strict=True):
        table[label] += probability
    known = np.array(list(table.values()))
    none = max(1.0 - float(known.sum()), _LEAST)
    evidence = np.log(np.maximum(known, _LEAST)) - np.log(none)
    return Epoch(
        data=evidence.astype(np.float32)[:, np.newaxis],
        tmin=0.0,
        tmax=0.0,
        t_onset=t_onset,
        event="",
        info=Info(tuple(table), STEPS_HZ, (KIND,) * len(table)),
        index=index,
    )


class AttendEncoder:
    """Embeds evidence over pictures of a gallery; evidence of several steps adds up.

    Parameters
    ----------
    gallery : Gallery
    """

    def __init__(self, gallery: Gallery) -> None:
        self._mixing = Mixing(gallery)
        self._spec = EncoderSpec(
            name=SYSTEM_NAME,
            input=InputSpec(
                sfreq=STEPS_HZ,
                kind=KIND,
                unit="nats",
                montage=gallery.subset(kind="upright").labels,
            ),
            tmin=0.0,
            tmax=0.4,
            l_freq=None,
            h_freq=None,
            n_features=gallery.n_features,
            sha256=gallery.sha256,
            space=gallery.space,
            states_confidence=True,
        )

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        return self._spec

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed what is known of a look.

        Raises
        ------
        PhospheneError
            A channel names no picture, or its evidence is no number.
        """
        vectors = np.stack([self._mixing.vector(name) for name in epoch.info.ch_names])
        evidence = epoch.data.astype(np.float64).sum(axis=1)
        if not np.isfinite(evidence).all():
            raise ConfigurationError("The evidence holds NaN or infinity, expected nats.")
        highest = max(0.0, float(evidence.max()))
        odds = np.exp(evidence - highest)
        posterior = odds / (odds.sum() + np.exp(-highest))
        return embed(posterior, vectors, index=epoch.index, t_onset=epoch.t_onset)


def load_encoder(config: DecoderConfig) -> AttendEncoder:
    """Load the encoder: vectors of the generator's space; `config.weights` is another gallery."""
    from models.generators import choose_generator

    gallery = load_gallery(config.weights)
    space = choose_generator(config)[0].descriptor.space or gallery.space
    return AttendEncoder(gallery.demand(space, what="the generator"))
