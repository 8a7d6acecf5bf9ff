"""Reads the golden vectors: state, inputs, outputs, arguments, tolerance."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(
    os.environ.get("PHOSPHENE_GOLDEN")
    or Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "dev"
)


@dataclass(frozen=True)
class Golden:
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    metadata: dict[str, str]
    checked: set[str] = field(default_factory=set)

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(json.loads(self.metadata["constructor"]))

    def state_below(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.state.items() if k.startswith(prefix)}

    def assert_all_checked(self) -> None:
        """No output of the file was passed over."""
        assert self.checked == set(self.outputs)

    def check(self, name: str, own: Any) -> None:
        self.checked.add(name)
        expected = self.outputs[name]
        got = torch.as_tensor(own).detach()
        assert got.shape == expected.shape, f"{name}: {tuple(got.shape)}"
        if not expected.is_floating_point() and expected.dtype != torch.uint8:
            assert torch.equal(got.to(expected.dtype), expected), name
            return
        tolerance = json.loads(self.metadata["tolerance"])
        distance = (got.double() - expected.double()).abs()
        allowed = tolerance["atol"] + tolerance["rtol"] * expected.double().abs()
        if os.environ.get("PHOSPHENE_GOLDEN_REPORT"):
            worst, share = distance.max().item(), (distance / allowed).max().item()
            with Path(os.environ["PHOSPHENE_GOLDEN_REPORT"]).open("a") as report:
                report.write(f"{self.metadata['what'][:40]}\t{name}\t{worst:.3g}\t{share:.3g}\n")
        assert bool((distance <= allowed).all()), f"{name}: off by {distance.max().item():.3g}"


def golden(name: str) -> Golden:
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"no golden vectors at {path}: set PHOSPHENE_GOLDEN")
    parts: dict[str, dict[str, Tensor]] = {"state": {}, "in": {}, "out": {}}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118
            kind, rest = key.split("/", 1)
            parts[kind][rest] = file.get_tensor(key)
        metadata = file.metadata()
    return Golden(parts["state"], parts["in"], parts["out"], metadata)
