"""From labelled epochs to an adapter.

Owns the order of the steps: cut, choose by cross-validation, fit on all, describe. Takes well
under a second a hundred epochs. Knows nothing of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from configs import FilterConfig
from models.adapters.encoder import AdapterEncoder
from models.adapters.errors import AdapterError
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import AdapterManifest, Scores
from models.adapters.selection import N_BLOCKS, N_FILTERS, validate
from models.adapters.targets import Target, prototypes
from models.adapters.window import Window
from pipeline.gallery import Gallery
from pipeline.values import Epoch, Float64


def calibrate(
    epochs: Sequence[Epoch],
    targets: Sequence[Target],
    gallery: Gallery,
    *,
    filter_config: FilterConfig,
    ch_names: Sequence[str] = (),
    tmin: float = 0.0,
    tmax: float = 0.6,
    n_filters: Sequence[int] = N_FILTERS,
    subject: str = "anonymous",
    created: str = "",
    recordings: Mapping[str, str] | None = None,
) -> AdapterEncoder:
    """Fit an adapter.

    Parameters
    ----------
    epochs : sequence of Epoch
        In order of time; those whose event is not among the targets do not count.
    targets : sequence of Target
        The classes.
    gallery : Gallery
        Whose space the embeddings are to lie in.
    filter_config : FilterConfig
        The filter that the epochs came through.
    ch_names : sequence of str
        Channels to use; empty: all of the first epoch.
    tmin, tmax : float
        Window, s from onset.
    n_filters : sequence of int
        Counts of spatial filters to choose from.

    Raises
    ------
    AdapterError
        Too few epochs of a class, or epochs that do not fit each other or the window.
    """
    classes = tuple(targets)
    order = {target.event: row for row, target in enumerate(classes)}
    used = [epoch for epoch in epochs if epoch.event in order]
    if not used:
        raise AdapterError(
            f"none of {len(epochs)} epochs is of {', '.join(order)}: check the markers' labels."
        )
    info = used[0].info
    window = Window(tuple(ch_names) or info.ch_names, info.sfreq, tmin, tmax)
    features = window.stack(used)
    labels = np.array([order[epoch.event] for epoch in used], dtype=np.intp)
    found = validate(features, labels, n_classes=len(classes), n_filters=n_filters)
    lda = SpatioTemporalLda.fit(features, labels, n_classes=len(classes), n_filters=found.n_filters)
    manifest = AdapterManifest(
        subject=subject,
        created=created,
        ch_names=window.ch_names,
        sfreq=window.sfreq,
        tmin=tmin,
        tmax=tmax,
        filter=filter_config,
        targets=classes,
        n_filters=len(lda.filters),
        temperature=found.temperature,
        gallery_sha256=gallery.sha256,
        scores=Scores(
            n_epochs=len(labels),
            accuracy=found.accuracy,
            chance=1.0 / len(classes),
            p_value=found.p_value,
            nll=found.nll,
            n_blocks=N_BLOCKS,
        ),
        data_sha256=_hash(features, labels),
        recordings=dict(recordings or {}),
    )
    return AdapterEncoder(manifest, lda.tempered(found.temperature), prototypes(classes, gallery))


def _hash(features: Float64, labels: NDArray[np.intp]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(features, dtype="<f8").tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()
