"""Is an engine what it was built from? Held against eager, in float, before anything is rounded.

Owns the tolerances and the comparison. Knows nothing of where engines come from.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from models.sampling.backends.base import BackendError
from models.sampling.parts import Flat, Part, Run

TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 6e-2}
"""Largest deviation from eager by an engine's type, as a part of eager's largest value; of a
picture, whose values reach 1, one level of 255 is 0.008."""
N_RANDOM = 2


def deviation(got: Tensor, expected: Tensor) -> float:
    """Largest difference as a part of the largest expected value; infinite where it is no number.

    Raises
    ------
    BackendError
        The sizes differ.
    """
    if got.shape != expected.shape:
        raise BackendError(f"it gives {tuple(got.shape)}, expected {tuple(expected.shape)}.")
    wide, true = got.detach().double().cpu(), expected.detach().double().cpu()
    if not bool(torch.isfinite(wide).all()):
        return float("inf")
    scale = max(float(true.abs().max()), 1e-12)
    return float((wide - true).abs().max()) / scale


def random_inputs(examples: tuple[Tensor, ...], *, seed: int) -> tuple[Tensor, ...]:
    """Noise of the sizes and the spread of real inputs; numbers that are no noise stay."""
    source = torch.Generator().manual_seed(seed)
    made = []
    for each in examples:
        if not each.is_floating_point() or each.numel() < 2:
            made.append(each)
            continue
        noise = torch.randn(each.shape, generator=source, dtype=torch.float32)
        spread = max(float(each.float().std()), 1e-3)
        made.append((noise * spread).to(each))
    return tuple(made)


def check_part(part: Part, run: Run, *, dtype: str) -> float:
    """Run an engine on real and random inputs beside its module; the largest deviation.

    Raises
    ------
    BackendError
        It deviates by more than its type's tolerance, or does not repeat itself to the bit.
    """
    if part.seen is None:
        raise BackendError(f"{part.name} was not called in a picture, so nothing can be compared.")
    real = part.seen.tensors
    worst = 0.0
    for i in range(N_RANDOM + 1):
        inputs = real if i == 0 else random_inputs(real, seed=i)
        expected = part.seen.result if i == 0 else _eager(part, inputs)
        got = run(*inputs).clone()
        worst = max(worst, deviation(got, expected))
        require(worst, dtype=dtype, what=part.name)
        if not torch.equal(got, run(*inputs)):
            raise BackendError(f"{part.name} gives other bits for the same input: refused.")
    return worst


def require(found: float, *, dtype: str, what: str) -> None:
    """Refuse a deviation above the tolerance of an engine's type.

    Raises
    ------
    BackendError
        It is.
    """
    if not found <= TOLERANCE[dtype]:
        words = "is not finite" if found == float("inf") else f"deviates from eager by {found:.2g}"
        raise BackendError(
            f"{what} {words}, expected at most {TOLERANCE[dtype]:g} in {dtype}: refused."
        )


def answer_of(run: Run, examples: tuple[Tensor, ...]) -> str:
    """Hash of what an engine gives for fixed noise of the sizes of `examples`."""
    source = torch.Generator().manual_seed(7)
    inputs = tuple(
        torch.randn(each.shape, generator=source).to(each)
        if each.is_floating_point() and each.numel() > 1
        else torch.ones_like(each)
        for each in examples
    )
    output = run(*inputs)
    if not bool(torch.isfinite(output).all()):
        raise BackendError("it gives values that are not finite: refused.")
    return hashlib.sha256(output.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()


def _eager(part: Part, inputs: tuple[Tensor, ...]) -> Tensor:
    if part.seen is None:
        raise BackendError(f"{part.name} was not called.")
    return torch.as_tensor(Flat(part.module, part.seen)(*inputs))
