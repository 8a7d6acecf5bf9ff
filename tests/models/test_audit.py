"""The leak auditor: each planted leak is found with its evidence, and nothing is where none is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.evaluation.audit import Material, audit
from models.evaluation.checks import Check, Verdict
from models.evaluation.prompts import label_in_prompt
from models.evaluation.splits import Fitted, fitted_statistics, near_duplicates, repeated_stimuli
from models.evaluation.timing import before_onset, time_of_recording
from pipeline.errors import ConfigurationError
from pipeline.gallery import load_gallery
from pipeline.values import Uint8

LABELS = ("cat", "door", "red car", "owl")


def shuffled(n: int, seed: int) -> list[str]:
    """Each label as often as the others, in mixed order."""
    return list(np.random.default_rng(seed).permutation(np.repeat(LABELS, n // len(LABELS))))


def drifting(n: int, seed: int) -> np.ndarray:
    """Epochs of nothing but a drift that is slower than a trial, (n, 4, 50) at 100 Hz."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(n * 50, 4)) * 0.3, axis=0) + rng.normal(size=(n * 50, 4))
    return np.ascontiguousarray(walk.reshape(n, 50, 4).transpose(0, 2, 1), dtype=np.float32)


def before(epochs: np.ndarray, labels: list[str]) -> Check:
    names, rows = np.unique(labels, return_inverse=True)
    return before_onset(epochs, rows, np.eye(len(names)), sfreq=100.0, tmin=-0.2)


def test_blocks_of_one_class_decode_from_before_onset_and_mixed_order_does_not() -> None:
    epochs, mixed = drifting(80, 1), shuffled(80, 2)
    assert before(epochs, mixed).verdict is Verdict.CLEAN
    in_blocks = before(epochs, sorted(mixed))
    assert in_blocks.is_leak
    assert in_blocks.figures["accuracy"] > 2 * in_blocks.figures["chance"]


def test_epochs_without_time_before_onset_are_not_checked() -> None:
    found = before_onset(drifting(20, 1), np.arange(20) % 2, np.eye(2), sfreq=100.0, tmin=0.0)
    assert found.verdict is Verdict.NOT_CHECKED


@pytest.mark.parametrize("length", [2, 10, 40])
def test_time_foretells_labels_in_blocks_of_any_length(length: int) -> None:
    labels = [LABELS[k // length % 4] for k in range(160)]
    assert time_of_recording(labels).is_leak


def test_time_foretells_a_label_that_becomes_commoner() -> None:
    rng = np.random.default_rng(3)
    late = rng.random(200) < np.linspace(0.15, 0.85, 200)
    assert time_of_recording(["late" if each else "early" for each in late]).is_leak


def test_labels_dealt_out_in_rounds_are_no_leak() -> None:
    rng = np.random.default_rng(4)
    rounds = [each for _ in range(20) for each in rng.permutation(LABELS)]
    assert time_of_recording(rounds).verdict is Verdict.CLEAN


def test_stimuli_of_both_parts_are_counted() -> None:
    found = repeated_stimuli(["a", "b", "c"], ["c", "c", "d", "e"])
    assert found.is_leak
    assert found.figures["share"] == 0.5
    assert repeated_stimuli(["a"], ["b"]).verdict is Verdict.CLEAN


def jpeg(pixels: Uint8) -> Uint8:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def cropped(pixels: Uint8) -> Uint8:
    return np.ascontiguousarray(pixels[10:, :-10])


def mirrored(pixels: Uint8) -> Uint8:
    return np.asarray(ImageOps.mirror(Image.fromarray(pixels)))


def darker(pixels: Uint8) -> Uint8:
    return (pixels * 0.7).astype(np.uint8)


@pytest.mark.parametrize("change", [jpeg, cropped, mirrored, darker])
def test_a_changed_copy_is_found_among_other_pictures(change: object) -> None:
    gallery = load_gallery(None)
    pictures = [gallery.image(label) for label in gallery.labels[:24]]
    clean = near_duplicates(pictures[:16], pictures[16:])
    assert clean.verdict is Verdict.CLEAN, clean
    planted = near_duplicates(pictures[:16], [*pictures[16:], change(pictures[3])])  # type: ignore[operator]
    assert planted.is_leak
    assert planted.figures["share"] == pytest.approx(1 / 9)


def test_pictures_without_an_edge_are_no_copies_of_each_other() -> None:
    fog = np.full((32, 32, 3), 200, np.uint8)
    assert near_duplicates([fog], [fog]).verdict is Verdict.NOT_CHECKED


def fitted(weight: float, *, other: float = 0.0) -> Fitted:
    """A mean of 30 features in which the test part has a weight."""
    rng = np.random.default_rng(5)
    train, test, beside = rng.normal(size=(3, 30))
    value = train + weight * (test - train) + other * beside
    return Fitted("mean", np.float32(value).astype(float), train, test, n_train=80, n_test=20)


def test_a_mean_over_both_parts_is_found_with_the_test_part_s_weight() -> None:
    found = fitted_statistics([fitted(0.2)])
    assert found.is_leak
    assert found.figures["mean"] == pytest.approx(0.2, abs=1e-3)
    assert fitted_statistics([fitted(1.0)]).is_leak


@pytest.mark.parametrize(("weight", "other"), [(0.0, 0.0), (0.0, 0.3), (0.01, 0.0)])
def test_a_mean_of_training_or_of_something_else_is_no_leak(weight: float, other: float) -> None:
    assert fitted_statistics([fitted(weight, other=other)]).verdict is Verdict.CLEAN


def test_statistics_of_other_shapes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected one shape"):
        Fitted("mean", np.zeros(3), np.zeros(3), np.zeros(4), n_train=1, n_test=1)


def test_the_true_label_in_a_prompt_is_a_leak_unless_it_was_decoded() -> None:
    labels = shuffled(40, 6)
    answers = [LABELS[(LABELS.index(each) + k % 2) % 4] for k, each in enumerate(labels)]
    oracle = label_in_prompt([f"a photo of two {each}s" for each in labels], labels, answers)
    assert oracle.is_leak
    decoded = label_in_prompt([f"a photo of {each}" for each in answers], labels, answers)
    assert decoded.verdict is Verdict.CLEAN
    assert label_in_prompt(["a photo"] * 40, labels).verdict is Verdict.CLEAN
    assert label_in_prompt([""] * 40, labels).verdict is Verdict.NOT_CHECKED


def test_an_audit_names_every_kind_and_why_it_was_not_checked() -> None:
    checks = audit(Material(labels=shuffled(40, 7)))
    assert [each.name for each in checks] == [
        "before onset",
        "time of recording",
        "repeated stimuli",
        "near-duplicate pictures",
        "statistics of the test part",
        "label in the prompt",
    ]
    assert [each.verdict for each in checks].count(Verdict.NOT_CHECKED) == 5
    assert all(each.evidence.endswith(".") for each in checks)
