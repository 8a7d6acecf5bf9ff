"""Whether what was shown in a calibration can be told without any response to it.

Owns the two tests' place in a calibration's report; the tests are `models.evaluation.timing`'s.
"""

from __future__ import annotations

import numpy as np

from models.adapters.data import CalibrationData
from models.adapters.report import LeakCheck
from models.evaluation.checks import ALPHA
from models.evaluation.timing import before_onset, order_test
from pipeline.values import Float64

NOTABLE = 0.05
"""Chance that is worth a word although it is no leak."""


def check_leaks(data: CalibrationData, *, seed: int = 0) -> LeakCheck:
    """Decode what was shown from before it was shown, and look at the order.

    Parameters
    ----------
    data : CalibrationData
        With `tmin` below 0 for the first test; without, only the order is judged.
    """
    targets = leak_targets(data)
    p_order = order_test(targets[data.rows], seed=seed)
    found = before_onset(
        data.epochs, data.rows, targets, sfreq=data.sfreq, tmin=data.tmin, seed=seed
    )
    p_before = 1.0 if found.p_value is None else found.p_value
    return LeakCheck(
        p_pre_stimulus=p_before,
        accuracy=found.figures.get("accuracy", 0.0),
        chance=found.figures.get("chance", 1 / len(targets)),
        p_order=p_order,
        is_leak=min(p_before, p_order) < ALPHA,
        sentence=leak_sentence(found.p_value, p_order),
    )


def leak_targets(data: CalibrationData) -> Float64:
    """Where each candidate lies: its embedding, or a corner of its own for plain classes."""
    if data.targets is not None:
        return data.targets.astype(np.float64)
    return np.eye(len(data.class_names))


def leak_sentence(p_before: float | None, p_order: float) -> str:
    """Say what the two tests found; `p_before` is None where there was nothing to test."""
    if p_before is not None and p_before < ALPHA:
        return (
            f"what was shown can be told from before it was shown (p = {p_before:.3g}): the "
            "stimuli came in blocks, or something else gives them away; show them in mixed order."
        )
    if p_order < ALPHA:
        return (
            f"stimuli that are alike followed each other (p = {p_order:.3g}): slow drifts could be "
            "decoded instead of responses; show them in mixed order."
        )
    if p_before is None:
        return "the order of the stimuli gives nothing away; there is no time before onset to test."
    told = (
        f"what comes before onset tells no more than chance does (p = {p_before:.2g})"
        if p_before >= NOTABLE
        else "before onset something may be told, too little to call it a leak "
        f"(p = {p_before:.2g}, a leak is below {ALPHA:g})"
    )
    order = (
        f"the order gives nothing away (p = {p_order:.2g})"
        if p_order >= NOTABLE
        else f"the order is a little uneven (p = {p_order:.2g}, a leak is below {ALPHA:g})"
    )
    return f"{told}, and {order}."
