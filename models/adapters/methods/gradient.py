"""Adapters learnt by gradient: low-rank layers around the encoder, and LoRA inside it.

Owns the layers, the loss (contrastive over the person's stimuli, plus squared error of the
embedding) and training with early stopping on stimuli that were left out. peft was rejected for the
LoRA: the encoder's weights are plain parameters mixed by the montage (`experts`, `straight`), which
are no `nn.Linear` that peft could wrap, and its dependency (transformers) is no part of the core.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.adapters.manifest import AdapterManifest
from models.adapters.methods.base import Arrays, Fitting, Shapes, checked
from models.adapters.methods.network import NetworkMethod
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.adapters.scoring import stimulus_folds
from models.embedded.encoder_network import EncoderNetwork, straight_features
from pipeline.values import Float64

RANK = 2
N_PASSES = 30
PATIENCE = 4
BATCH = 64
MSE_WEIGHT = 1.0
LEARNING_RATE = 5e-4
WEIGHT_DECAY = 1e-2


_STARTS_AT_ZERO = frozenset(
    {"space_out", "time_out", "out_out", "offset", "up.straight", "up.hidden", "up.deep"}
)


class _Layers(nn.Module):
    """Something between epochs and evidence, whose parameters start out changing nothing."""

    def forward(self, network: EncoderNetwork, x: Tensor, conditions: Tensor) -> Tensor:
        raise NotImplementedError


class _LowRank(_Layers):
    """A linear layer over space and one over time before the encoder, one over features after."""

    def __init__(self, n_virtual: int, n_times: int, n_features: int, rank: int) -> None:
        super().__init__()
        self.space_in = nn.Parameter(torch.randn(rank, n_virtual) / n_virtual**0.5)
        self.space_out = nn.Parameter(torch.zeros(n_virtual, rank))
        self.time_in = nn.Parameter(torch.randn(n_times, rank) / n_times**0.5)
        self.time_out = nn.Parameter(torch.zeros(rank, n_times))
        self.out_in = nn.Parameter(torch.randn(n_features, rank) / n_features**0.5)
        self.out_out = nn.Parameter(torch.zeros(rank, n_features))
        self.offset = nn.Parameter(torch.zeros(n_features))
        self.log_gain = nn.Parameter(torch.zeros(()))

    def forward(self, network: EncoderNetwork, x: Tensor, conditions: Tensor) -> Tensor:
        x = x + self.space_out @ (self.space_in @ x)
        x = x + (x @ self.time_in) @ self.time_out
        evidence = network.evidence(x, conditions)
        turned = evidence + (evidence @ self.out_in) @ self.out_out
        changed: Tensor = self.log_gain.exp() * turned + self.offset
        return changed


class _Lora(_Layers):
    """Low-rank changes of the encoder's own weights: linear path, hidden and last layer."""

    def __init__(self, n_straight: int, n_flat: int, n_hidden: int, n_out: int, rank: int) -> None:
        super().__init__()
        sizes = {
            "straight": (n_straight, n_out),
            "hidden": (n_flat, n_hidden),
            "deep": (n_hidden, n_out),
        }
        self.down = nn.ParameterDict(
            {name: torch.randn(a, rank) / a**0.5 for name, (a, _) in sizes.items()}
        )
        self.up = nn.ParameterDict({name: torch.zeros(rank, b) for name, (_, b) in sizes.items()})
        self.log_gain = nn.Parameter(torch.zeros(()))

    def forward(self, network: EncoderNetwork, x: Tensor, conditions: Tensor) -> Tensor:
        hooks = [
            network.hidden.register_forward_hook(self._hook("hidden")),
            network.deep.register_forward_hook(self._hook("deep")),
        ]
        try:
            evidence = network.evidence(x, conditions)
        finally:
            for hook in hooks:
                hook.remove()
        more = straight_features(x) @ self.down["straight"] @ self.up["straight"]
        changed: Tensor = self.log_gain.exp() * (evidence + more)
        return changed

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def added(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
            changed: Tensor = out + given[0] @ self.down[name] @ self.up[name]
            return changed

        return added


@dataclass(frozen=True, slots=True, eq=False)
class LearntAdapter(NetworkMethod):
    """An adapter whose numbers are the state of a small torch module; fields: `state`."""

    state: Arrays

    @classmethod
    @abstractmethod
    def layers(cls, network: EncoderNetwork) -> _Layers:
        """Build the module for a network, changing nothing yet."""

    @classmethod
    def fit(cls, given: Fitting[NetworkBatch, NetworkBase]) -> Self:
        """Train with early stopping on a fifth of the stimuli; see the module."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(given.seed)
            layers = _trained(cls.layers(given.base.network), given)
        return cls({name: value.numpy().copy() for name, value in layers.state_dict().items()})

    @property
    def changes_nothing(self) -> bool:
        """Whether every held-out loss was worse than the encoder's own."""
        return all(not self.state[name].any() for name in self.state if name in _STARTS_AT_ZERO)

    def evidence(self, batch: NetworkBatch, base: NetworkBase) -> Float64:
        """Evidence behind the learnt layers."""
        layers = self.layers(base.network)
        layers.load_state_dict({name: torch.from_numpy(a) for name, a in self.state.items()})
        x, conditions = (torch.from_numpy(each) for each in batch.inputs())
        with torch.inference_mode():
            parts = [
                layers(base.network, x[k : k + 256], conditions[k : k + 256]).numpy()
                for k in range(0, len(x), 256)
            ]
        return np.concatenate(parts).astype(np.float64)

    def arrays(self) -> Arrays:
        """The state of the module."""
        return dict(self.state)

    @classmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild; see the base class."""
        del manifest
        state = cls.layers(EncoderNetwork()).state_dict()
        shapes: Shapes = {name: tuple(value.shape) for name, value in state.items()}
        # Earlier versions wrote a single number as a vector of one.
        arrays = {
            name: array.reshape(()) if array.size == 1 and shapes.get(name) == () else array
            for name, array in arrays.items()
        }
        found = checked(arrays, shapes)
        return cls({name: array.astype(np.float32) for name, array in found.items()})


class LowRankLayers(LearntAdapter):
    """Low-rank input layers (space, time) and an output layer around the frozen encoder."""

    __slots__ = ()
    name: ClassVar[str] = "low-rank"
    title: ClassVar[str] = "low-rank input and output layers"
    cost: ClassVar[int] = 4

    @classmethod
    def layers(cls, network: EncoderNetwork) -> _LowRank:
        """Build the layers."""
        c = network.config
        return _LowRank(c.n_virtual, c.n_times, c.n_features, RANK)


class LoraLayers(LearntAdapter):
    """LoRA on the encoder (Hu et al. 2021)."""

    __slots__ = ()
    name: ClassVar[str] = "lora"
    title: ClassVar[str] = "LoRA on the encoder"
    cost: ClassVar[int] = 5

    @classmethod
    def layers(cls, network: EncoderNetwork) -> _Lora:
        """Build the layers."""
        return _Lora(
            network.straight.shape[1],
            network.hidden.in_features,
            network.hidden.out_features,
            network.config.n_features,
            RANK,
        )


def _trained(layers: _Layers, given: Fitting[NetworkBatch, NetworkBase]) -> _Layers:
    network = copy.deepcopy(given.base.network).requires_grad_(requires_grad=False).eval()
    x, conditions = (torch.from_numpy(each) for each in given.batch.inputs())
    wanted = torch.from_numpy(given.targets.astype(np.float32))
    groups, seed = given.groups, given.seed
    first = np.unique(groups, return_index=True)[1]
    known = wanted[torch.from_numpy(first)]
    order = torch.from_numpy(np.searchsorted(groups[first], groups))
    train, held = (torch.from_numpy(rows) for rows in stimulus_folds(groups, 5, seed=seed)[0])
    # At 4e-3 the first pass already overshoots on the held-out stimuli.
    optimizer = torch.optim.AdamW(layers.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_of(rows: Tensor) -> Tensor:
        evidence = layers(network, x[rows], conditions[rows])
        logits = evidence @ known.T * torch.exp(-network.log_temperature)
        contrastive = functional.cross_entropy(logits, order[rows])
        error = functional.mse_loss(network.recall(evidence), wanted[rows], reduction="sum")
        return contrastive + MSE_WEIGHT * error / len(rows)

    with torch.no_grad():
        best = float(loss_of(held))
    kept, waited = copy.deepcopy(layers.state_dict()), 0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(N_PASSES):
        total = 0.0
        order_now = train[torch.randperm(len(train), generator=generator)]
        for rows in torch.split(order_now, BATCH):
            optimizer.zero_grad()
            loss = loss_of(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        with torch.no_grad():
            now = float(loss_of(held))
        given.watch.tell(total / len(train), now)
        waited = 0 if now < best else waited + 1
        if now < best:
            best, kept = now, copy.deepcopy(layers.state_dict())
        if waited >= PATIENCE:
            break
    layers.load_state_dict(kept)
    return layers.eval().requires_grad_(requires_grad=False)
