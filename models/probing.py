"""What draws on this machine, and why, for `phosphene doctor`.

Owns the judgement whether torch works, without importing it where no GPU can be there: that takes
more than a second, and loading its libraries finds what is broken in an installation as well.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_DRIVER = (Path("/proc/driver/nvidia"), Path("/dev/kfd"), Path("/dev/dxg"))
"""What a GPU's driver puts up: NVIDIA's, AMD's, Windows' below Linux."""


def probe_torch() -> dict[str, Any]:
    """Describe torch as plain values; may end the process where an installation is broken.

    Returns
    -------
    dict
        `torch` (version), `cuda_build` (None: for CPUs alone), `devices` (names beside the CPU),
        `gpu` (what a GPU would take part by; empty where there is none).

    Raises
    ------
    ImportError, OSError
        Torch cannot be used.
    """
    folder = _torch_folder()
    cuda, driver = _cuda_of(folder), has_driver()
    if sys.platform == "darwin" or (cuda and driver):
        from models.accelerators import device_names

        devices = device_names()
    else:
        _load_libraries(folder)
        devices = []
    advice = gpu_advice(devices, cuda=cuda, driver=driver)
    return {
        "torch": version("torch"),
        "cuda_build": cuda or None,
        "devices": devices,
        "gpu": advice,
    }


def probe_backends() -> dict[str, Any]:
    """Describe what the presets draw by here, without torch.

    Returns
    -------
    dict
        `device`, `backend`, `dtype`, `why` (one sentence), `faster` (what would be, empty: nothing
        known), `backends` (what each lacks, empty: nothing), `n_engines`, `engine_bytes` (kept).
    """
    from configs import load_preset
    from models.sampling.backends.base import missing
    from models.sampling.backends.cache import EngineCache
    from models.sampling.backends.choice import BACKENDS, choose

    choice = choose(load_preset("default").decoder)
    backend, target = choice.first
    n_engines, n_bytes = EngineCache().usage()
    return {
        "device": target.device,
        "backend": backend.name,
        "dtype": target.dtype,
        "why": choice.why,
        "faster": choice.faster,
        "backends": {name: missing(each) for name, each in BACKENDS.items()},
        "n_engines": n_engines,
        "engine_bytes": n_bytes,
    }


def has_driver() -> bool:
    """Whether a GPU may be there that this torch need not know."""
    return shutil.which("nvidia-smi") is not None or any(each.exists() for each in _DRIVER)


def gpu_advice(devices: list[str], *, cuda: str, driver: bool) -> str:
    """Say what a GPU would take part by; empty where there is none."""
    if devices:
        return f"{', '.join(devices)} draws with --device auto (decoder.device)"
    if driver and not cuda:
        return (
            "a GPU's driver is here, but this torch is built for CPUs alone: install PyTorch's "
            "build for the GPU (pytorch.org/get-started)"
        )
    return ""


def _torch_folder() -> Path:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise ImportError("torch is not installed")
    return Path(found.origin).parent


def _cuda_of(folder: Path) -> str:
    """Version of CUDA that torch was built with; empty: for CPUs alone."""
    text = (folder / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return found[1] if found else ""


def _load_libraries(folder: Path) -> None:
    """Load the library that `import torch` loads first, with all that it needs.

    Raises
    ------
    OSError
        Something is missing.
    """
    for name in ("libtorch_python.so", "torch_python.dll"):
        if (library := folder / "lib" / name).is_file():
            ctypes.CDLL(str(library))
            return
    import torch  # noqa: F401 - laid out otherwise: the long way
