"""What the few-step transformers have in common, and where they differ.

Owns the contract that `sana_sprint`, `z_image` and `flux2` fill. Knows nothing of files or drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.sampling import schedules, solvers
from models.sampling.denoisers import Denoiser, Level, Network, flow
from models.stable_diffusion.errors import StableDiffusionError

Solve = Callable[[Denoiser, Tensor, Sequence[Level], Iterator[Tensor]], Iterator[Tensor]]


class Family(Protocol):
    """One published model, whatever its size."""

    @property
    def name(self) -> str:
        """Of its generator, as `phosphene systems` lists it."""
        ...

    @property
    def pipeline(self) -> str:
        """`_class_name` in its `model_index.json`."""
        ...

    @property
    def classes(self) -> tuple[str, str, str]:
        """Of diffusers: transformer, autoencoder, scheduler."""
        ...

    @property
    def n_steps(self) -> int:
        """Steps that it is published with."""
        ...

    @property
    def guidance(self) -> float:
        """As published; 1: none."""
        ...

    @property
    def multiple(self) -> int:
        """What the side of a picture has to be a multiple of, pixels."""
        ...

    def width(self, transformer: Any) -> int:
        """Features of a token."""
        ...

    def latent_shape(self, transformer: Any, vae: Any, size: int) -> tuple[int, ...]:
        """Shape of the latents of one picture, without the batch."""
        ...

    def network(self, transformer: Any, *, guidance: float) -> nn.Module:
        """Make a module (x, time, tokens) to what it was trained to predict."""
        ...

    def levels(self, scheduler: Any, *, steps: int, n_places: int, device: Any) -> list[Level]:
        """Noise levels from the first to the last; `n_places` is the transformer's image tokens."""
        ...

    def adapt(self, network: Network) -> Denoiser:
        """Make a denoiser of that prediction."""
        ...

    def solve(
        self, denoise: Denoiser, x: Tensor, levels: Sequence[Level], noise: Iterator[Tensor]
    ) -> Iterator[Tensor]:
        """Take the steps."""
        ...

    def decoding(self, vae: Any) -> nn.Module:
        """Make a module from latents to a picture (n, 3, height, width), about -1..1."""
        ...

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Latents of pictures (n, 3, height, width) in -1..1."""
        ...

    def noised(self, clean: Tensor, noise: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, what the network is told, and what it should predict, at `at` (n,) of 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Flow:
    """What the rectified flows share: x = (1 - sigma) clean + sigma noise, told 1000 sigma."""

    def adapt(self, network: Network) -> Denoiser:
        """It predicts noise minus clean."""
        return flow(network)

    def solve(
        self, denoise: Denoiser, x: Tensor, levels: Sequence[Level], noise: Iterator[Tensor]
    ) -> Iterator[Tensor]:
        """Euler, without new noise."""
        del noise
        return solvers.ddim(denoise, x, levels)

    def noised(self, clean: Tensor, noise: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Straight between the two."""
        sigma = at.view(-1, *(1,) * (clean.ndim - 1))
        return (1 - sigma) * clean + sigma * noise, 1000 * at, noise - clean


def shifted_levels(scheduler: Any, *, steps: int, mu: float, device: Any) -> list[Level]:
    """Levels of a `FlowMatchEulerDiscreteScheduler`: evenly spaced, then shifted as it is set.

    Raises
    ------
    StableDiffusionError
        It takes other steps than Euler's.
    """
    config = scheduler.config
    for switch in ("stochastic_sampling", "invert_sigmas"):
        if config.get(switch):
            raise StableDiffusionError(
                f"the scheduler sets {switch}, which is not drawn here: set it to false."
            )
    even = torch.linspace(1.0, 1.0 / steps, steps).tolist()
    scheduler.set_timesteps(sigmas=even, mu=mu)
    return schedules.flow_levels_of(scheduler.sigmas, scheduler.timesteps, device=device)


def usable_steps(steps: int, most: int = 1000) -> int:
    """Return `steps`, or refuse them."""
    if not 1 <= steps <= most:
        raise StableDiffusionError(f"num_inference_steps is {steps}, expected 1 to {most}.")
    return steps
