"""What this machine can compute on.

Owns the one place where torch is asked about devices, and where a device's name becomes one.
Knows nothing of streams or windows.
"""

from __future__ import annotations

import warnings

import torch

from configs import DecoderConfig
from pipeline.errors import ConfigurationError


def choose_device(asked: str = "auto") -> torch.device:
    """Resolve the name of a device: `cpu`, `cuda`, `cuda:1`, `mps`, ...

    `auto` (or nothing) is the first GPU where there is one, else the CPU.

    Raises
    ------
    ConfigurationError
        There is no such device here.
    """
    if asked in ("", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"device {asked!r} cannot be used ({reason}): choose cpu, auto, or one that "
            "`phosphene doctor` lists."
        ) from None
    return device


def choose_dtype(config: DecoderConfig) -> torch.dtype:
    """Resolve the type of a session's modules: what eager computes in.

    OpenVINO takes float32 and rounds by itself: modules in bfloat16 would be slow in eager.
    """
    if config.backend == "openvino" or config.dtype == "auto":
        return torch.float32
    return {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }[config.dtype]


def device_names() -> list[str]:
    """Names of the devices beside the CPU."""
    names: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a CUDA build on a machine without a driver warns
        if torch.cuda.is_available():
            names += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU (MPS)")
    return names
