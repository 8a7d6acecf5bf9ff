"""The generator's networks cut by how often they are asked: once a picture, and at each step.

Owns the cut and the layout of what goes over it. What depends on the embedding and the noise level
alone (the prior's guess, keys and values of the tokens, what each residual block is changed by) is
computed before the first step; a step has the rest. In plain torch both together are the networks
as they are, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.embedded.generator import Generator
from models.embedded.networks import Prior, Projection
from models.embedded.unet import Pair, UNet
from models.sampling.denoisers import Level, Network
from models.sampling.parts import Part

Graphs = Mapping[str, Path]
N_TIMES = 4
"""Noise levels that are computed at once, however many steps a picture has: one engine for all."""


class Layout:
    """Where what lies in what `Conditions` gives for one embedding, all of it flat.

    The guess; keys, then values of each attention; what each noise level changes.
    """

    def __init__(self, unet: UNet, *, latent_shape: Sequence[int], n_tokens: int) -> None:
        config = unet.config
        self.latent_shape, self.n_tokens = tuple(latent_shape), n_tokens
        self.n_guess = self.latent_shape[0] * self.latent_shape[1] * self.latent_shape[2]
        self.token_widths = [each.proj_in.out_channels for each in unet.attentions]
        self.n_shared = self.n_guess + sum(2 * n_tokens * each for each in self.token_widths)
        self.widths = [each.conv1.out_channels for each in unet.resnets]
        self.n_kinds = 2 if config.resnet_time_scale_shift == "scale_shift" else 1
        self.n_changes = self.n_kinds * sum(self.widths)

    def contexts(self, shared: Tensor) -> list[Pair]:
        """Keys and values of each attention, of what all steps share (n, n_shared)."""
        sizes = [self.n_tokens * each for each in self.token_widths for _ in range(2)]
        flat = iter(torch.split(shared[:, self.n_guess :], sizes, dim=1))
        return [
            (
                next(flat).reshape(-1, self.n_tokens, each),
                next(flat).reshape(-1, self.n_tokens, each),
            )
            for each in self.token_widths
        ]

    def guess(self, shared: Tensor) -> Tensor:
        """The prior's guess as latents."""
        return shared[:, : self.n_guess].reshape(-1, *self.latent_shape)

    def joined(self, changes: Sequence[Tensor]) -> Tensor:
        """Changes of each block as one row: all scales, then all shifts."""
        kinds = zip(*(each.chunk(self.n_kinds, dim=1) for each in changes), strict=True)
        return torch.cat([part for kind in kinds for part in kind], dim=1)

    def changes(self, row: Tensor) -> list[Tensor]:
        """Changes of each block (n, n_kinds * width) from one row (n, n_changes)."""
        kinds = [torch.split(each, self.widths, dim=1) for each in row.chunk(self.n_kinds, dim=1)]
        return [torch.cat(each, dim=1) for each in zip(*kinds, strict=True)]

    def steps(self, given: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What each of `N_TIMES` steps takes, of what `Conditions` gave: shared, and its row."""
        sizes = [self.n_shared, *[self.n_changes] * N_TIMES]
        shared, *rows = torch.split(given, sizes, dim=1)
        return ((shared, row) for row in rows)


class Conditions(nn.Module):
    """(embedding (n, n_features), noise levels (`N_TIMES`,)) to a row that `Layout` describes."""

    def __init__(self, unet: UNet, projection: Projection, prior: Prior, layout: Layout) -> None:
        super().__init__()
        self.unet, self.projection, self.prior = unet, projection, prior
        self.layout = layout

    def forward(self, vectors: Tensor, times: Tensor) -> Tensor:
        """Compute what steps share, and what each of them is changed by."""
        contexts = self.unet.contexts(self.projection(vectors))
        rows = [self.layout.joined(self.unet.changes(each, vectors)) for each in times.unbind()]
        flat = [each.flatten(1) for pair in contexts for each in pair]
        return torch.cat([self.prior(vectors), *flat, *rows], dim=1)


class Joined(Conditions):
    """The same of one embedding, in fewer and larger products, for what compiles.

    Noise levels are rows of one product, and layers that take the same are one layer. It rounds
    otherwise, and in plain torch it would join weights at every picture.
    """

    def forward(self, vectors: Tensor, times: Tensor) -> Tensor:
        """Compute what steps share, and what each of them is changed by."""
        own = self.unet
        weights = [layer.weight for each in own.mixes for layer in (each.to_k, each.to_v)]
        tokens = functional.linear(self.projection(vectors), torch.cat(weights))
        split = torch.split(tokens, [len(each) for each in weights], dim=-1)
        layers = [each.time_emb_proj for each in own.resnets]
        weight = self._by_kind([each.weight for each in layers])
        bias = self._by_kind([each.bias for each in layers])
        rows = functional.linear(own.embedded(times, vectors), weight, bias)
        flat = [each.reshape(1, -1) for each in (*split, rows)]
        return torch.cat([self.prior(vectors), *flat], dim=1)

    def _by_kind(self, tensors: Sequence[Tensor]) -> Tensor:
        """Rows of each block's layer in the order of `Layout.joined`."""
        kinds = zip(*(each.chunk(self.layout.n_kinds) for each in tensors), strict=True)
        return torch.cat([part for kind in kinds for part in kind])


class Step(nn.Module):
    """(noisy latents, what steps share, one step's row) to clean latents."""

    def __init__(self, unet: UNet, layout: Layout, correction_scale: float) -> None:
        super().__init__()
        self.unet, self.layout = unet, layout
        self.correction_scale: Tensor
        scale = torch.tensor(correction_scale, dtype=torch.float64)
        self.register_buffer("correction_scale", scale.to(unet.conv_in.weight))

    def forward(self, x: Tensor, shared: Tensor, row: Tensor) -> Tensor:
        """The prior's guess plus the U-Net's correction of it."""
        guess, contexts = self.layout.guess(shared), self.layout.contexts(shared)
        changes = self.layout.changes(row)
        correction = self.unet.predict(torch.cat([x, guess], dim=1), changes, contexts)
        return guess + self.correction_scale * correction


class Cut:
    """Both as parts that an engine can take the place of, for the noise levels of a picture."""

    def __init__(
        self, conditions: Conditions, step: Step, times: Sequence[Tensor], graphs: Graphs
    ) -> None:
        joined = Joined(conditions.unet, conditions.projection, conditions.prior, step.layout)
        self.conditions = Part(
            conditions, "conditions", graph=graphs.get("conditions"), compiled=joined.eval()
        )
        self.step = Part(step, "step", graph=graphs.get("step"))
        self._layout = step.layout
        last = [times[-1]] * (-len(times) % N_TIMES)
        self._times = torch.split(torch.stack([*times, *last]), N_TIMES)

    def network(self, vectors: Tensor) -> Network:
        """What denoises for embeddings (n, n_features): each call is the next step."""
        steps = self._steps(vectors)

        def predict(x: Tensor, _time: Tensor) -> Tensor:
            return torch.as_tensor(self.step(x, *next(steps)))

        return predict

    def _steps(self, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for times in self._times:
            yield from self._layout.steps(self.conditions(vectors, times))


def cut_of(generator: Generator, levels: Sequence[Level], graphs: Graphs) -> Cut | None:
    """Cut a generator's networks; None: they are diffusers' classes, which know no cut."""
    unet, projection, prior = generator.unet, generator.projection, generator.prior
    if not isinstance(unet, UNet) or not isinstance(projection, Projection):
        return None
    if not isinstance(prior, Prior):
        return None
    n_tokens = projection.n_tokens
    layout = Layout(unet, latent_shape=generator.latent_shape, n_tokens=n_tokens)
    conditions = Conditions(unet, projection, prior, layout)
    step = Step(unet, layout, generator.correction_scale)
    return Cut(conditions.eval(), step.eval(), [each.time for each in levels[:-1]], graphs)
