"""The shipped model for `phosphene bench sampler`: by diffusers' classes, and ours.

Owns the peer and what is counted. As in `sampler_peers`, torch may be imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from app.benchmarks.sampler_engines import Stages
from app.benchmarks.sampler_peers import SEED, Case, bytes_of
from models.embedded import sampler as embedded
from models.embedded.generator import WEIGHTS
from models.embedded.pipeline import PhosphenePipeline
from models.embedded.sampler import EmbeddedSampler, load_sampler
from models.sampling.backends.engines import Engine
from models.sampling.parts import Part
from models.stable_diffusion.libraries import quiet_libraries

NAME = "shipped"


@dataclass(slots=True, eq=False)
class EmbeddedBench:
    """The shipped weights, twice: in diffusers' classes and in ours."""

    case: Case
    sampler: EmbeddedSampler
    pipeline: Any
    vector: np.ndarray[Any, Any]
    runs: dict[str, Callable[[], np.ndarray[Any, Any]]]
    engines: dict[str, Engine] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Our networks."""
        return self.sampler.parts

    @property
    def stages(self) -> Stages:
        """What computes beside the networks: pixels, and what a picture ends with."""
        return {
            "pixels": ((embedded, "to_pixels"),),
            "finish": ((embedded, "find_blend"), (embedded, "flattened")),
        }

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def draw(self) -> np.ndarray[Any, Any]:
        """Ours."""
        return np.asarray(self.sampler.draw(self.vector[None], seeds=(SEED,))[0])

    def by_classes(self) -> np.ndarray[Any, Any]:
        """Theirs."""
        made = self.pipeline(
            self.vector, seeds=[SEED], num_inference_steps=self.case.steps, output_type="np"
        )
        return np.asarray(made.images[0])

    def count(self) -> dict[str, float]:
        """Floating-point operations of a picture, and the bytes of the weights that it reads."""
        with FlopCounterMode(display=False) as counter:
            self.draw()
        generator = self.sampler._generator  # noqa: SLF001
        once = (generator.projection, generator.prior, generator.vae.decoder)
        read = self.case.steps * bytes_of(generator.unet) + sum(bytes_of(each) for each in once)
        return {"flops": float(counter.get_total_flops()), "weight_bytes": float(read)}

    def swap(self) -> dict[str, float]:
        """Nothing: its weights are never swapped."""
        return {}

    def difference(self) -> float:
        """Largest difference of ours to theirs, as a part of the range of a pixel."""
        return float(np.abs(self.draw().astype(int) - self.by_classes()).max()) / 255


def make(case: Case, *, compiled: bool) -> EmbeddedBench:
    """Load both, with a unit vector to draw."""
    quiet_libraries()
    sampler = load_sampler(num_inference_steps=case.steps)
    pipeline = PhosphenePipeline.from_pretrained(WEIGHTS, local_files_only=True)
    noise = np.random.default_rng(SEED).normal(size=sampler._generator.n_features)  # noqa: SLF001
    vector = (noise / np.linalg.norm(noise)).astype(np.float32)
    bench = EmbeddedBench(case, sampler, pipeline, vector, {})
    bench.runs["diffusers' classes"] = bench.by_classes
    if compiled:
        pipeline.unet.compile()
        pipeline.vae.decoder.compile()
        bench.runs["diffusers' classes, compiled"] = bench.runs.pop("diffusers' classes")
    bench.runs["ours"] = bench.draw
    return bench
