"""EEG-ImageNet40: its two files, read without running code, and honest splits of them.

Owns the structure of `eeg_5_95_std.pth` and `block_splits_by_image_*.pth`, the published
selection of trials, and the control that the recording's design asks for. Knows nothing of
training.

The recording showed all 50 pictures of a class one after another: whoever reads slow drifts
reads the class (Li et al., TPAMI 2021). `BLOCK_DESIGN` says so wherever a figure is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from models.checkpoints import load_checkpoint
from models.dreamdiffusion.items import LONGEST, SHORTEST, paired_item
from models.training.errors import DatasetError
from pipeline.values import Float32

BLOCK_DESIGN = (
    "EEG-ImageNet40 was recorded in blocks of one class, so a split by image lets a decoder read "
    "the time of recording instead of the picture: figures on it measure block identity at least "
    "in part. For the control, set split = 'leave-block-out' in the settings' table [data]."
)
"""The warning that goes with every figure on this data set."""
Part = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One segment: `eeg` (n_channels, any) as the file holds it, and what was seen."""

    eeg: Tensor
    image: str
    label: str
    subject: int


def read_trials(path: Path, *, subject: int = 4) -> list[Trial]:
    """Read the trials of one subject (0: all), in the file's order.

    Raises
    ------
    DatasetError
        The file is of another structure, or has no trial of that subject.
    CheckpointError
        The file is missing or holds more than data.
    """
    content = load_checkpoint(path)
    try:
        images, labels = content["images"], content["labels"]
        trials = [
            Trial(
                eeg=entry["eeg"],
                image=str(images[int(entry["image"])]),
                label=str(labels[int(entry["label"])]),
                subject=int(entry["subject"]),
            )
            for entry in content["dataset"]
            if subject in (0, int(entry["subject"]))
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise DatasetError(
            f"{path} is not of EEG-ImageNet40 ({type(error).__name__}: {error}), expected "
            "`dataset`, `labels` and `images`: give eeg_5_95_std.pth."
        ) from None
    if not trials:
        raise DatasetError(
            f"{path} has no trial of subject {subject}: choose 1 to 6, or 0 for all."
        )
    return trials


def read_split(path: Path, part: Part) -> list[int]:
    """Read the indices of one part of the published split (number 0, as always used)."""
    content = load_checkpoint(path)
    try:
        return [int(index) for index in content["splits"][0][part]]
    except (KeyError, IndexError, TypeError, ValueError):
        raise DatasetError(
            f"{path} has no part {part!r} in its first split, expected `splits` with train, val "
            "and test: give block_splits_by_image_single.pth or _all.pth."
        ) from None


def kept_indices(lengths: Sequence[int], indices: Sequence[int]) -> list[int]:
    """Indices whose segment has 450 to 600 samples.

    They address the list *after* the choice of a subject: the `single` split belongs with one
    subject, the `all` split with subject 0. An index outside the list is refused, where the
    published code lets the one just past the end through and then fails.
    """
    outside = [index for index in indices if not 0 <= index < len(lengths)]
    if outside:
        raise DatasetError(
            f"the split names trial {outside[0]} of {len(lengths)}: it belongs to another choice "
            "of subjects (`single`: one subject, `all`: subject 0)."
        )
    return [index for index in indices if SHORTEST <= lengths[index] <= LONGEST]


def leave_block_out(
    trials: Sequence[Trial], *, n_folds: int = 5, fold: int = 0
) -> Mapping[Part, list[int]]:
    """Split by blocks: whole blocks (subject and class) are held out, no neighbour in time leaks.

    A class has one block a subject, so for one subject the test classes were never trained on
    (zero-shot); over several subjects, a class is tested on subjects whose block of it was not
    trained. The following fold validates.

    Raises
    ------
    DatasetError
        Fewer blocks than folds.
    """
    blocks = sorted({(trial.subject, trial.label) for trial in trials})
    if not 2 < n_folds <= len(blocks):
        raise DatasetError(
            f"{n_folds} folds over {len(blocks)} blocks, expected 3 to {len(blocks)}: "
            "use more trials or fewer folds."
        )
    # Classes in turn over the folds, shifted by subject, so that each fold has every subject.
    labels = sorted({label for _, label in blocks})
    place = {block: (labels.index(block[1]) + block[0]) % n_folds for block in blocks}
    parts: dict[Part, list[int]] = {"train": [], "val": [], "test": []}
    for index, trial in enumerate(trials):
        distance = (place[trial.subject, trial.label] - fold) % n_folds
        parts["test" if distance == 0 else "val" if distance == 1 else "train"].append(index)
    return parts


def item_of(trial: Trial, *, n_times: int = 512) -> Float32:
    """Signal (n_channels, n_times) of a trial, float32."""
    signal: Any = trial.eeg.numpy() if isinstance(trial.eeg, torch.Tensor) else trial.eeg
    return paired_item(np.asarray(signal), n_times=n_times)
