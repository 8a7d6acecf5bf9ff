"""`phosphene bench`: benchmarks, each beside its peer in the same run.

Owns the list of benchmarks and the printing; each lives in `app.benchmarks` and returns a dict
whose `rows` are `{"what", "ours", "peer", "ratio", "goal", "met"}` in words and numbers.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from app.commands.common import positive
from app.output import write_json, write_text

BENCHMARKS = {
    "acquisition": ("app.benchmarks.acquisition", "run_acquisition_bench"),
    "live": ("app.benchmarks.live", "run_live_bench"),
    "soak": ("app.benchmarks.soak", "run_soak_bench"),
    "xdf": ("app.benchmarks.xdf", "run_xdf_bench"),
    "gui": ("app.benchmarks.gui", "run_gui_bench"),
    "gui-start": ("app.benchmarks.gui_live", "run_gui_start_bench"),
    "gui-live": ("app.benchmarks.gui_live", "run_gui_live_bench"),
    "gui-soak": ("app.benchmarks.gui_soak", "run_gui_soak_bench"),
    "training": ("app.benchmarks.training", "run_training_bench"),
    "sampler": ("app.benchmarks.sampler", "run_sampler_bench"),
    "classes": ("app.benchmarks.classes", "run_classes_bench"),
    "disk": ("app.benchmarks.disk", "run_disk_bench"),
    "fuzz": ("app.benchmarks.fuzz", "run_fuzz_bench"),
    "signals": ("app.benchmarks.signals", "run_signals_bench"),
    "attend": ("app.benchmarks.attend", "run_attend_bench"),
    "retrieval": ("app.benchmarks.retrieval", "run_retrieval_bench"),
    "stage": ("app.benchmarks.stage", "run_stage_bench"),
    "serve": ("app.benchmarks.serve", "run_serve_bench"),
}
"""Name to module and function."""
BY_NAME_ONLY = frozenset(
    {
        "classes",
        "disk",
        "soak",
        "gui-live",
        "gui-soak",
        "training",
        "sampler",
        "signals",
        "attend",
        "retrieval",
        "stage",
        "serve",
    }
)
"""Takes many minutes: runs when it is asked for."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "bench",
        help="benchmarks with their peers",
        description="Run benchmarks, each beside its peer in the same run.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help=f"{', '.join(BENCHMARKS)}; all but "
        f"{', '.join(sorted(BY_NAME_ONLY))} when none is given",
    )
    parser.add_argument("--minutes", type=positive, metavar="M", help="length, where one is chosen")
    parser.add_argument("--seed", type=int, metavar="N", help="seed, where chance plays a part")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ..., where one is chosen")
    parser.add_argument("--data", metavar="DIR|FILE", help="recordings, where they are read")
    parser.add_argument("--only", metavar="WORDS", help="some cases, where there are many")
    parser.add_argument(
        "--quick", action="store_true", default=None, help="few cases, where there are many"
    )
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Run the named benchmarks, print their figures with the machine's load."""
    from app.errors import AppError

    unknown = [name for name in args.what if name not in BENCHMARKS]
    if unknown:
        raise AppError(
            f"benchmark {unknown[0]!r} is unknown, expected one of {', '.join(BENCHMARKS)}."
        )
    report: dict[str, Any] = {"machine": _machine(), "benchmarks": {}}
    for name in args.what or [name for name in BENCHMARKS if name not in BY_NAME_ONLY]:
        module, function = BENCHMARKS[name]
        result = _call(getattr(importlib.import_module(module), function), args)
        report["benchmarks"][name] = result
        if not args.json:
            sys.stdout.write(_text(name, result))
            sys.stdout.flush()
    if args.json:
        write_json(report)
    else:
        write_text(f"machine: {json.dumps(report['machine'])}")
    return 0


def _call(function: Callable[..., dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Run a benchmark with those of the options that were given and that it has."""
    names = ("minutes", "seed", "only", "quick", "device", "data")
    given = {name: getattr(args, name) for name in names}
    known = inspect.signature(function).parameters
    return function(**{k: v for k, v in given.items() if v is not None and k in known})


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": load,
    }


def _text(name: str, result: dict[str, Any]) -> str:
    lines = [f"{name}"]
    for key, value in result.items():
        if key != "rows":
            lines.append(f"  {key}: {value}")
    for row in result.get("rows", []):
        lines.append("  " + "  ".join(f"{key}={value}" for key, value in row.items()))
    return "\n".join(lines) + "\n"
