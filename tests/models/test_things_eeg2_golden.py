"""THINGS-EEG2 epochs and their whitening equal the published preprocessing."""

from __future__ import annotations

import numpy as np
import pytest

from models.things_eeg2.epoching import Merge, SortedEpochs, epoch_recording
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.things_eeg2.whitening import noise_covariance, whiten, whitening_matrix
from tests.models.golden import load


@pytest.mark.golden
def test_whitening_and_merging_match() -> None:
    file = load("things_eeg2_mvnn")
    arguments = file.arguments
    sessions = range(arguments["S"])
    for mode in ("epochs", "time"):
        for s in sessions:
            train, test = (file.inputs[f"{part}_{s}"].numpy() for part in ("train", "test"))
            matrix = whitening_matrix(noise_covariance(train, mode=mode))
            file.check(f"{mode}_train_{s}", whiten(train, matrix))
            file.check(f"{mode}_test_{s}", whiten(test, matrix))
    times = np.zeros(0)
    white = {k: v.numpy() for k, v in file.outputs.items() if k.startswith("epochs_")}
    train = Merge.of(
        [
            SortedEpochs(white[f"epochs_train_{s}"], np.array(arguments["cond"][s]), times)
            for s in sessions
        ]
    )
    file.check("merged_train", np.stack(list(train)))
    numbers = np.arange(arguments["nte"])
    test = Merge.of([SortedEpochs(white[f"epochs_test_{s}"], numbers, times) for s in sessions])
    file.check("merged_test", np.stack(list(test)))
    file.assert_all_checked()


@pytest.mark.golden
def test_epoching_matches() -> None:
    file = load("things_eeg2_epoching")
    arguments = file.arguments
    order = file.inputs["channel_permutation"].tolist()
    made = epoch_recording(
        file.inputs["raw"].numpy(),
        [*(CH_NAMES[i] for i in order), "stim"],
        sfreq=arguments["sf"],
        target_sfreq=arguments["target"],
        n_dropped=50,
        n_repetitions=file.outputs["epoched"].shape[1],
    )
    file.check("epoched", made.data)
    file.check("conditions", made.conditions)
    file.check("times", made.times)
    file.assert_all_checked()


def test_montage_has_63_channels_of_which_17_are_posterior() -> None:
    assert len(set(CH_NAMES)) == 63
    assert len(POSTERIOR) == 17
