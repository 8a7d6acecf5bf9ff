"""Which back-end draws: what was asked, what is installed, what this machine can do.

Owns the order that `auto` goes by, and the words that say why. Loads no back-end, and torch only
where another device than the CPU is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs import DecoderConfig
from models.sampling.backends.base import Backend, BackendError, Target, missing
from models.sampling.backends.eager import Eager
from models.sampling.backends.inductor import Inductor
from models.sampling.backends.machine import has_bfloat16
from models.sampling.backends.onnxruntime import OnnxRuntime
from models.sampling.backends.openvino import OpenVino
from models.sampling.backends.tensorrt import TensorRt
from models.sampling.backends.trace import Trace

EAGER = Eager()
BACKENDS: Mapping[str, Backend] = {
    each.name: each for each in (EAGER, Trace(), Inductor(), OpenVino(), OnnxRuntime(), TensorRt())
}
_ORDER = {
    # Inductor takes minutes on a CPU, for what a trace gains in a second.
    "cpu": ("onnxruntime", "openvino", "trace", "eager"),
    "cuda": ("tensorrt", "inductor", "eager"),
    "mps": ("eager",),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Back-ends to try, best first, each with where and how it computes.

    `is_asked`: one was named, so that no other may take its place but eager. `why` is one sentence,
    `faster` names what would make it faster, empty where nothing is known to.
    """

    candidates: tuple[tuple[Backend, Target], ...]
    is_asked: bool
    why: str
    faster: str = ""

    @property
    def first(self) -> tuple[Backend, Target]:
        """What is meant to draw."""
        return self.candidates[0]


def choose(config: DecoderConfig, known: Mapping[str, Backend] = BACKENDS) -> Choice:
    """Choose by a session's settings.

    Raises
    ------
    ConfigurationError
        There is no such device here.
    BackendError
        The named back-end is not installed, or cannot compute there or in the named type.
    """
    device = _device_of(config)
    kind = device.partition(":")[0]
    if config.backend != "auto":
        backend = known[config.backend]
        if absent := missing(backend):
            raise BackendError(
                f"decoder.backend is {backend.name!r}, but {absent}: install it, or choose "
                'decoder.backend = "auto" or "eager" (other back-ends draw alike, not equal '
                "to the bit)."
            )
        target = _target(backend, config, device)
        if target is None:
            there = ", ".join(backend.dtypes(kind)) or "nothing"
            raise BackendError(
                f"decoder.backend = {backend.name!r} does not compute {config.dtype} on {device} "
                f"(there: {there}): choose another decoder.backend or decoder.dtype, which draw "
                "alike, not equal to the bit."
            )
        return Choice(((backend, target),), is_asked=True, why=f"{backend.name} was asked for")
    order = list(_ORDER[kind])
    if kind == "cpu" and has_bfloat16() and config.dtype in {"auto", "bfloat16"}:
        order.remove("openvino")
        order.insert(0, "openvino")
    able = [
        (known[name], target)
        for name in order
        if not missing(known[name]) and (target := _target(known[name], config, device)) is not None
    ]
    first, best = able[0]
    better = order[: order.index(first.name)]
    why = f"{first.name} in {best.dtype} is the fastest that is installed for {device}"
    return Choice(tuple(able), is_asked=False, why=why, faster=_advice(better, known))


def _device_of(config: DecoderConfig) -> str:
    if config.device == "cpu":
        return "cpu"
    from models.accelerators import choose_device

    return str(choose_device(config.device))


def _advice(names: list[str], known: Mapping[str, Backend]) -> str:
    absent = [text for name in names if (text := missing(known[name]))]
    return "; ".join(absent)


def _target(backend: Backend, config: DecoderConfig, device: str) -> Target | None:
    """How a back-end would compute; None where it cannot as asked."""
    able = backend.dtypes(device.partition(":")[0])
    dtype = able[0] if config.dtype == "auto" and able else config.dtype
    return Target(device, dtype, config.threads) if dtype in able else None
