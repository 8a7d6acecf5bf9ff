"""`phosphene train fmri-ridge fit`: a recording of fMRI in, a linear decoder out.

Owns which trials count and what their targets are. How a recording becomes epochs is the live
path's, which the request brings: what is fitted on is what will be decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from configs import DecoderConfig, EpochsConfig, FilterConfig, SessionConfig, SourceConfig
from configs.ridge import RidgeConfig
from models.ridge.decoder import NAME, RidgeFacts, save_ridge
from models.ridge.fitting import RidgeError, fit_ridge
from models.stages import StageRequest
from models.weights import hash_file
from pipeline.errors import ConfigurationError
from pipeline.gallery import SPACE, Gallery, load_gallery
from pipeline.values import Float32, Verdict
from pipeline.volumes import voxel_vector

SUFFIXES = (".npz", ".npy", ".xdf")


def run_fit(request: StageRequest) -> dict[str, Any]:
    """Fit; return the report.

    Raises
    ------
    RidgeError
        There are too few trials, or recordings of different voxels.
    """
    config = _settings(request)
    space = config.space or SPACE
    gallery = load_gallery(config.gallery).demand(space, what=NAME)
    rows = {label: row for row, label in enumerate(gallery.labels)}
    voxels: list[Float32] = []
    labels: list[str] = []
    learnt: list[tuple[str, float, float]] = []
    unknown = 0
    refused: list[Verdict] = []
    sfreqs: set[float] = set()
    for path in _recordings(request.data):
        onsets = []
        for epoch in request.read_epochs(path, _session(config), refused.append):
            sfreqs.add(epoch.info.sfreq)
            if epoch.event not in rows:
                unknown += 1
                continue
            voxels.append(voxel_vector(epoch, tmin=config.tmin, tmax=config.tmax))
            labels.append(epoch.event)
            onsets += [epoch.t_onset + config.tmin, epoch.t_onset + config.tmax]
        if onsets:
            learnt.append((hash_file(path), min(onsets), max(onsets)))
    counts = {len(each) for each in voxels}
    if len(counts) > 1:
        raise RidgeError(
            f"the recordings in {request.data} have {sorted(counts)} voxels, expected one count: "
            "give those of one person and mask."
        )
    if unknown:
        request.on_note(
            f"{unknown} events have a label that the gallery {gallery.name} has no vector of; they "
            "are left out."
        )
    if refused and voxels:
        request.on_note(f"{_refusals(refused)}; they are left out.")
    if not voxels:
        raise RidgeError(_nothing(request.data, gallery, unknown, refused))
    indices = np.array([rows[label] for label in labels])
    targets = gallery.embeddings[indices].reshape(len(indices), -1)
    found = fit_ridge(
        np.stack(voxels),
        targets,
        indices,
        alphas=config.alphas,
        n_folds=config.n_folds,
        seed=request.seed,
    )
    facts = RidgeFacts(
        space=space,
        tmin=config.tmin,
        tmax=config.tmax,
        temperature=found.temperature,
        sfreq=max(sfreqs),
        n_voxels=counts.pop(),
        alpha=found.alpha,
        agreement=found.agreement,
        pairwise=found.pairwise,
        n_trials=len(labels),
        n_stimuli=len(set(labels)),
        learnt=tuple(learnt),
    )
    save_ridge(request.out, found.ridge, facts)
    return {
        "trials": facts.n_trials,
        "stimuli": facts.n_stimuli,
        "voxels": facts.n_voxels,
        "space": space,
        "alpha": found.alpha,
        "cosine of held-out stimuli": round(found.agreement, 4),
        "pairwise identification of held-out stimuli (chance 0.5)": round(found.pairwise, 4),
        "out": str(request.out),
    }


def _refusals(refused: Sequence[Verdict]) -> str:
    """How many events gave no epoch, by outcome, each with the first one's reason."""
    kinds: dict[str, list[str]] = {}
    for each in refused:
        kinds.setdefault(str(each.outcome), []).append(each.reason)
    found = ", ".join(f"{len(r)} {kind} ({r[0]})" for kind, r in kinds.items())
    return f"{len(refused)} events gave no epoch: {found}"


def _nothing(data: Path, gallery: Gallery, unknown: int, refused: Sequence[Verdict]) -> str:
    """Why there is nothing to fit."""
    if not unknown and not refused:
        return (
            f"{data} holds no event, expected one a stimulus that was shown, with its label: give "
            "the recording with its events (onsets and labels; see docs/fmri.md)."
        )
    if not unknown:
        said = _refusals(refused)
        return f"{data} has no usable epoch; {said}: mend or take out what is refused."
    also = f"; {_refusals(refused)}" if refused else ""
    return (
        f"{data} has no epoch whose label is in the gallery {gallery.name} (such as "
        f"{gallery.labels[0]!r}){also}: give the gallery that was shown in the settings (gallery)."
    )


def _settings(request: StageRequest) -> RidgeConfig:
    try:
        return RidgeConfig.model_validate(dict(request.table))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the settings"
        raise ConfigurationError(f"{key}: {first['msg']}; mend the settings of {NAME}.") from None


def _session(config: RidgeConfig) -> SessionConfig:
    """Settings by which a recording is cut, as the preset has them."""
    return SessionConfig(
        buffer=max(120.0, 4 * config.tmax),
        source=SourceConfig(type="fMRI"),
        filter=FilterConfig(l_freq=None, h_freq=None, notch_freqs=()),
        epochs=EpochsConfig(
            tmin=0.0,
            tmax=config.tmax,
            baseline=None,
            reject_uv={},
            fill_missing=True,
            max_future=60.0,
        ),
        decoder=DecoderConfig(enabled=False),
    )


def _recordings(data: Path) -> list[Path]:
    if not data.is_dir():
        return [data]
    found = sorted(path for path in data.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise RidgeError(
            f"{data} holds no recording of fMRI ({', '.join(SUFFIXES)}): name the folder or a file."
        )
    return found
