"""What an exception of a picture says of the machine: memory ran out, or the device is gone.

Owns that judgement, by the words of torch and its back-ends; knows nothing of what is done about
it. Imports no torch.
"""

from __future__ import annotations

from typing import Literal

Fault = Literal["", "memory", "device"]
_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate")
_DEVICE = (
    "cuda error",
    "cudnn error",
    "cublas error",
    "hip error",
    "nvml error",
    "device-side assert",
    "no cuda gpus are available",
    "found no nvidia driver",
    "cuda driver",
    "mps backend",
)


def fault_of(error: BaseException) -> Fault:
    """Tell what of the machine is at fault; empty where it is the input or the code.

    Memory is looked for first: a CUDA error says both when memory runs out.
    """
    if isinstance(error, MemoryError):
        return "memory"
    if not isinstance(error, RuntimeError | OSError):
        return ""
    words = f"{type(error).__name__}: {error}".lower()
    if "outofmemory" in words or any(each in words for each in _MEMORY):
        return "memory"
    return "device" if any(each in words for each in _DEVICE) else ""
