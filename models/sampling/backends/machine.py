"""What this machine is, for an engine that fits no other: its CPU or its GPU.

Owns how both are described. Knows nothing of back-ends.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


@cache
def _cpu_table() -> dict[str, str]:
    """The first processor's lines of Linux's table; empty elsewhere."""
    try:
        first = _CPU_INFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_flags() -> frozenset[str]:
    """What the CPU can do, by Linux's names; empty where that is not known."""
    table = _cpu_table()
    return frozenset((table.get("flags") or table.get("Features") or "").split())


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16: without them it is slower than float32."""
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16", "bf16"})


def machine_name(device: str) -> str:
    """What computes, in a few words: the GPU's name or the CPU's."""
    facts = describe(device)
    return facts.get("gpu") or facts["cpu"]


def describe(device: str) -> dict[str, str]:
    """Everything of a device that an engine depends on."""
    if device.startswith("cuda"):
        import torch

        facts = torch.cuda.get_device_properties(torch.device(device))
        return {
            "gpu": facts.name,
            "capability": f"{facts.major}.{facts.minor}",
            "memory": str(facts.total_memory),
            "cuda": str(torch.version.cuda),
        }
    table = _cpu_table()
    return {
        "system": platform.system(),
        "cpu": f"{platform.machine()} {table.get('model name', '') or platform.processor()}",
        "flags": " ".join(sorted(cpu_flags())),
    }
