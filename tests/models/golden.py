"""Golden vectors: what the originals computed, read from `PHOSPHENE_GOLDEN`.

Sizes, arguments and tolerances come from each file, so that any file of the same kind will do.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(
    os.environ.get("PHOSPHENE_GOLDEN")
    or Path(__file__).resolve().parents[3] / "shared" / "golden" / "dev"
)


@dataclass(frozen=True)
class Golden:
    """One file: `constructor` and the whole `metadata`, tensors by kind; `checked`: by name."""

    metadata: dict[str, str]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    checked: set[str] = field(default_factory=set)

    @property
    def arguments(self) -> dict[str, Any]:
        return json.loads(self.metadata["constructor"])

    def names(self, key: str) -> list[str]:
        return json.loads(self.metadata[key])

    def state_below(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.state.items() if k.startswith(prefix)}

    def assert_all_checked(self) -> None:
        """No output of the file was passed over."""
        assert self.checked == set(self.outputs)

    def check(self, name: str, value: Any) -> None:
        """Compare with `out/<name>` under the file's tolerance; the message gives the error.

        8-bit pictures have a tolerance; other integers must be equal.
        """
        self.checked.add(name)
        expected = self.outputs[name]
        given = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
        given = given.detach()
        assert given.shape == expected.shape, f"{name}: {given.shape}, expected {expected.shape}"
        if not expected.is_floating_point() and expected.dtype != torch.uint8:
            assert torch.equal(given.to(expected.dtype), expected), name
            return
        error = (given.double() - expected.double()).abs()
        tolerance = json.loads(self.metadata["tolerance"])
        if "grad" in name.partition("/")[0] and "/" in name:
            room = expected.double().abs().max() * tolerance.get("grad_rel_to_max", 2e-3)
        else:
            room = tolerance["atol"] + tolerance["rtol"] * expected.double().abs()
        if os.environ.get("PHOSPHENE_GOLDEN_REPORT"):
            with Path(os.environ["PHOSPHENE_GOLDEN_REPORT"]).open("a") as stream:
                stream.write(f"{self.metadata['what'][:40]}\t{name}\t{error.max().item():.3g}\n")
        worst = (error / room.clamp(min=1e-30)).max().item() if error.numel() else 0.0
        assert worst <= 1, f"{name}: error {error.max():.3g}, {worst:.2f} times the tolerance"


def load(name: str) -> Golden:
    """Read a file; the test is skipped, with the reason, where it is absent."""
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is absent: golden vectors are not part of the project")
    parts: dict[str, dict[str, Tensor]] = {"state": {}, "in": {}, "out": {}}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - safetensors' handle is no dict
            kind, rest = key.split("/", 1)
            parts[kind][rest] = file.get_tensor(key)
        metadata = dict(file.metadata())
    return Golden(metadata, parts["state"], parts["in"], parts["out"])
