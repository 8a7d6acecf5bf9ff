"""Looks are decided: on responses that are known, on noise, and on nobody's codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.attend.decoder import N_WRONG, AttendDecoder, Decision
from models.attend.embedding import embed
from models.attend.evidence import Look, explained
from models.attend.learning import Learning
from models.attend.response import FLICKER, regressors
from models.attend.stopping import (
    Stopping,
    bits,
    posterior,
    posterior_or_none,
    standing_out,
)
from pipeline.codes import gold_codes
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.looks import Grid, ShownFrames

RATE, N_TARGETS, N_CHANNELS = 120.0, 6, 4
INDEPENDENT = FLICKER.independent_hz / RATE
GRID = Grid(gold_codes(N_TARGETS), tuple("abcdef"), 60.0)


def eeg(target: int, *, size: float, seconds: float, seed: int) -> np.ndarray:
    """White noise, and a response of 0.1 s to each change of the target's light."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    states, flips = ShownFrames(GRID, 0.0).until(seconds)
    light = np.concatenate([[0], states[:, target]]).astype(int)
    drive = np.zeros(n)
    for sign, at in zip(np.diff(light), flips, strict=True):
        first = round(at * RATE)
        if sign and first < n:
            wave = sign * np.sin(np.arange(12) / 2.0)[: n - first]
            drive[first : first + len(wave)] += wave
    return rng.normal(0, 1, (N_CHANNELS, n)) + size * np.outer([1.0, 0.5, 0.2, 0.0], drive)


WITH_DECOYS = GRID.with_decoys(N_WRONG)


def look_at(
    decoder: AttendDecoder, data: np.ndarray, *, cut: int = 12, grid: Grid = WITH_DECOYS
) -> Decision:
    shown = ShownFrames(grid, 0.0)
    decoder.begin()
    for start in range(0, data.shape[1] - cut + 1, cut):
        times = np.arange(start, start + cut) / RATE
        decoder.show(*shown.until(float(times[-1])))
        if decoder.step(data[:, start : start + cut], times).is_decided:
            break
    return decoder.end()


def decoder(**options: object) -> AttendDecoder:
    return AttendDecoder(
        n_targets=N_TARGETS,
        n_channels=N_CHANNELS,
        rate=RATE,
        n_decoys=WITH_DECOYS.n_targets - N_TARGETS,
        **options,  # type: ignore[arg-type]
    )


def test_looks_are_decided_without_calibration_and_sooner_with_every_look() -> None:
    subject = decoder()
    found = [
        (target, look_at(subject, eeg(target, size=0.5, seconds=8.4, seed=target), cut=24))
        for target in (0, 3, 5, 1, 2, 4, 0, 3)
    ]
    assert [decision.answer for _, decision in found] == [target for target, _ in found]
    assert found[-1][1].seconds <= found[0][1].seconds < 8.4
    assert subject.learning.is_converged
    assert subject.learning.agreement == 1.0


def test_nobody_is_sure_of_noise() -> None:
    subject = decoder()
    found = [look_at(subject, eeg(0, size=0.0, seconds=4.2, seed=k), cut=63) for k in range(8)]
    assert sum(decision.answer is None for decision in found) >= 7
    assert not subject.learning.is_converged


def test_a_wrong_first_answer_is_put_right_by_the_looks_after_it() -> None:
    """The first look is of noise; later ones tell what it was worth, and none is lost."""
    subject = decoder(trial_seconds=4.2)
    look_at(subject, eeg(0, size=0.0, seconds=4.2, seed=99), cut=63)
    targets = (1, 4, 2, 5, 3, 0, 1)
    found = [
        look_at(subject, eeg(target, size=0.5, seconds=4.2, seed=target), cut=63).answer
        for target in targets
    ]
    assert found[1:] == list(targets[1:])
    assert subject.learning.histories[0].answers[1:] == targets


def test_without_adaptation_a_decision_is_its_own_looks_alone() -> None:
    fixed = {"adapt": False, "trial_seconds": 4.2}
    data = eeg(2, size=0.5, seconds=4.2, seed=1)
    alone = look_at(decoder(**fixed), data)
    subject = decoder(**fixed)
    look_at(subject, eeg(5, size=0.5, seconds=4.2, seed=2))
    assert np.array_equal(look_at(subject, data).posterior, alone.posterior)


def test_the_same_looks_give_the_same_bits() -> None:
    def run() -> bytes:
        subject = decoder()
        found = [look_at(subject, eeg(k, size=0.4, seconds=2.1, seed=k), cut=63) for k in range(3)]
        return b"".join(decision.posterior.tobytes() for decision in found)

    assert run() == run()


def test_calibration_makes_short_looks_do() -> None:
    known = None
    for target in range(N_TARGETS):
        teacher = decoder(adapt=False, trial_seconds=8.4)
        look_at(teacher, eeg(target, size=0.3, seconds=8.4, seed=target), cut=126)
        taught = teacher.teach(target)
        known = taught if known is None else known.plus(taught)
    short = {"adapt": False, "trial_seconds": 1.2}
    trained, naive = (decoder(known=given, **short) for given in (known, None))
    data = [(k % 6, eeg(k % 6, size=0.3, seconds=1.2, seed=100 + k)) for k in range(24)]
    right = [
        sum(int(look_at(each, eeg_, cut=48).posterior.argmax()) == target for target, eeg_ in data)
        for each in (trained, naive)
    ]
    assert right[0] >= right[1] + 4


def test_a_calibration_of_other_electrodes_is_refused() -> None:
    look = Look(n_targets=N_TARGETS, n_channels=2)
    with pytest.raises(ConfigurationError, match="2 channels"):
        decoder(known=look.sums.answered(0))


def test_covariances_are_the_same_however_the_samples_are_cut() -> None:
    data = eeg(1, size=0.5, seconds=2.4, seed=0)
    times = np.arange(data.shape[1]) / RATE
    whole, pieces = (Look(n_targets=N_TARGETS, n_channels=N_CHANNELS) for _ in range(2))
    for look in (whole, pieces):
        look.show(*ShownFrames(GRID, 0.0).until(2.4))
    whole.add(data, times)
    for low, high in ((0, 5), (5, 100), (100, 288)):
        pieces.add(data[:, low:high], times[low:high])
    assert np.allclose(explained(whole.sums), explained(pieces.sums))
    assert int(explained(whole.sums).argmax()) == 1


def test_samples_of_another_shape_are_refused() -> None:
    look = Look(n_targets=N_TARGETS, n_channels=N_CHANNELS)
    with pytest.raises(ShapeError, match=r"expected \(4, 3\)"):
        look.add(np.zeros((5, 3)), np.zeros(3))
    with pytest.raises(ShapeError, match="one flip a frame"):
        look.show(np.zeros((2, 3), np.uint8), np.zeros(2))


def test_rules_stop_where_they_say() -> None:
    probable = np.array([0.96, 0.01, 0.0])
    assert Stopping(error_rate=0.05).is_enough(probable)
    assert not Stopping(error_rate=0.01).is_enough(probable)
    ahead = np.array([0.6, 0.01, 0.0])  # the rest says that none is right
    assert Stopping(error_rate=0.05, rule="margin").is_enough(ahead)
    assert not Stopping(error_rate=0.05).is_enough(ahead)
    assert not Stopping(error_rate=0.05, rule="margin").is_enough(ahead / 2)


def test_probabilities_leave_room_for_none() -> None:
    scores = np.array([[0.0, 0.0, 40.0], [0.0, 8.0, 0.0]])
    assert posterior(scores, independent=INDEPENDENT).sum() == pytest.approx(1.0)
    assert posterior_or_none(np.full(3, -40.0), independent=INDEPENDENT).sum() < 0.01
    assert posterior_or_none(np.array([-9.0, 60.0, 0.0]), independent=INDEPENDENT)[1] > 0.99
    even = np.arange(20.0)
    assert standing_out(even, 20) < 0.05
    assert standing_out(np.append(even, 90.0), 20) < 0.05  # a decoy stands out: no target does
    even[3] = 90.0
    assert standing_out(even, 20) > 0.5


def test_a_known_person_who_looks_at_none_is_told_so() -> None:
    """A strong response to a code that no picture has: no other code is taken for it."""
    subject = decoder()
    for target in (0, 3, 5, 1, 2, 4, 0, 3):
        look_at(subject, eeg(target, size=0.8, seconds=8.4, seed=target), cut=24)
    assert subject.learning.template is not None
    others = replace(GRID, codes=np.roll(GRID.codes, 40, axis=1)).with_decoys(N_WRONG)
    found = [
        look_at(subject, eeg(k, size=0.8, seconds=8.4, seed=50 + k), cut=24, grid=others)
        for k in range(6)
    ]
    assert [decision.answer for decision in found] == [None] * 6
    assert all(float(decision.posterior.sum()) < 0.5 for decision in found)


def test_codes_that_nobody_saw_make_nobody_known() -> None:
    """A strong response resembles any code; the first rule took what six looks agreed on for it."""
    known = [Learning(N_CHANNELS, rate=RATE, n_targets=6, revision=k) for k in (1, 2)]
    rng = np.random.default_rng(1)
    pairs = GRID.codes.reshape(N_TARGETS, -1, 2)
    times = np.arange(round(8.4 * RATE)) / RATE
    for k in range(6):
        mixed = np.array([row[rng.permutation(len(row))].ravel() for row in pairs])
        grid = replace(GRID, codes=mixed).with_decoys(N_WRONG)
        look = Look(n_targets=grid.n_targets, n_channels=N_CHANNELS)
        shown = ShownFrames(grid, 0.0)
        data = eeg(k, size=3.0, seconds=8.4, seed=k)
        for piece in np.split(np.arange(len(times)), 16):
            look.show(*shown.until(float(times[piece[-1]])))
            look.add(data[:, piece], times[piece])
        for each in known:
            each.learn(look.sums)
    assert [each.is_converged for each in known] == [True, False]


def test_a_quick_score_finds_what_the_whole_one_does() -> None:
    subject = decoder(trial_seconds=8.4)
    look_at(subject, eeg(1, size=0.4, seconds=8.4, seed=0), cut=252)
    assert len(subject.learning.histories) == N_TARGETS
    look = Look(n_targets=WITH_DECOYS.n_targets, n_channels=N_CHANNELS)
    look.show(*ShownFrames(WITH_DECOYS, 0.0).until(4.0))
    look.add(eeg(2, size=0.4, seconds=4.0, seed=1), np.arange(480) / RATE)
    exact, (quick, own) = subject.learning.score(look.sums), subject.learning._quick(look.sums)
    assert np.all(quick <= exact + 1e-6)
    assert quick.argmax() == exact.argmax()
    assert quick.max() == pytest.approx(exact.max())
    assert len(own) == WITH_DECOYS.n_targets


def test_bits_are_wolpaws() -> None:
    assert bits(20, 1.0) == pytest.approx(np.log2(20))
    assert bits(20, 0.05) == 0.0
    assert bits(2, 0.9) == pytest.approx(0.531, abs=1e-3)


def test_the_length_of_an_embedding_is_its_confidence() -> None:
    vectors = np.eye(N_TARGETS, 8, dtype=np.float32)
    fog = embed(np.full(N_TARGETS, 1 / N_TARGETS), vectors, index=0, t_onset=1.0)
    sure = embed(np.eye(N_TARGETS)[2], vectors, index=0, t_onset=1.0)
    assert fog.confidence == pytest.approx(0.0, abs=1e-6)
    assert sure.confidence == pytest.approx(1.0)
    assert np.allclose(sure.vector, vectors[2])


def test_a_step_to_which_no_frame_came_evokes_nothing() -> None:
    # A screen that stands still for longer than a response: the sums grow by the EEG alone.
    found = regressors(np.empty((0, 2, 4)), np.empty(0), np.arange(12) / 120)
    assert found.shape[::2] == (4, 12)
    assert not found.any()
