"""What this machine could compute on, and what the decoder does compute on.

Owns the one place where torch is asked about devices. Knows nothing of streams or windows.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch


def probe() -> dict[str, Any]:
    """Describe torch and its devices as plain values.

    Returns
    -------
    dict
        `torch` (version), `cuda_build`, `devices` (list of names beside the CPU), `threads`,
        `backend` (what the decoder runs on) and `why` (one sentence).
    """
    devices = _devices()
    why = (
        "this version decodes on the CPU only, where the same recording gives the same pictures "
        "bit for bit"
    )
    if devices:
        why += f"; {', '.join(devices)} could compute too, but is not used yet"
    return {
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "devices": devices,
        "threads": torch.get_num_threads(),
        "backend": "cpu",
        "why": why,
    }


def _devices() -> list[str]:
    names: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a CUDA build on a machine without a driver warns
        if torch.cuda.is_available():
            names += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU (MPS)")
    return names
