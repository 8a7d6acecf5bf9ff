"""A sampler's networks, each of which something faster may take the place of.

Owns the seam: a `Part` is called as its module is, remembers what it was last called with, and
runs an engine instead when one is there for tensors of these shapes. Knows no back-end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Run = Callable[..., Tensor]
"""The tensors of a call, in order, to the network's (first) output."""
Shape = tuple[tuple[int, ...], torch.dtype]


def shapes_of(tensors: tuple[Tensor, ...]) -> tuple[Shape, ...]:
    """Sizes and types: what an engine is built for."""
    return tuple((tuple(each.shape), each.dtype) for each in tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a module: its arguments, and what it answered."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors among the arguments, in order."""
        return tuple(_tensors((self.args, dict(self.kwargs))))


class Flat(nn.Module):
    """A module as a function of tensors alone; whatever else a call held is fixed."""

    def __init__(self, module: nn.Module, call: Call) -> None:
        super().__init__()
        self.module = module
        self._args, self._kwargs = _hollow(call.args), _hollow(dict(call.kwargs))

    def forward(self, *tensors: Tensor) -> Tensor:
        """Run the module on a call's tensors; return its first output."""
        fill = iter(tensors)
        args, kwargs = _filled(self._args, fill), _filled(self._kwargs, fill)
        return _first(self.module(*args, **kwargs))


class Part:
    """A network of a sampler: its module, until an engine is used.

    Parameters
    ----------
    module : Module
    name : str
        Of it among its sampler's parts: letters, digits and `_`.
    state : str
        What acts on the module beside its weights, such as the strength of an adapter.
    graph : Path or None
        An ONNX graph of the module without its weights that ships with it.
    compiled : Module or None
        What engines are built of, where that is not the module itself: with its weights by their
        names, equal to it but for rounding.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        *,
        state: str = "",
        graph: Path | None = None,
        compiled: nn.Module | None = None,
    ) -> None:
        self.module, self.name, self.state, self.graph = module, name, state, graph
        self.compiled = module if compiled is None else compiled
        self.seen: Call | None = None
        """The last call that the module itself answered."""
        self._run: Run | None = None
        self._shapes: tuple[Shape, ...] = ()

    @property
    def is_engine(self) -> bool:
        """Whether an engine takes the module's place."""
        return self._run is not None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers, by their names in `Flat`."""
        return {f"module.{name}": value for name, value in self.module.state_dict().items()}

    def use(self, run: Run | None, shapes: tuple[Shape, ...] = ()) -> None:
        """Run `run` for tensors of `shapes` from the next call on; None: the module again."""
        self._run, self._shapes = run, shapes

    def change(self, state: str) -> None:
        """Say that the module has another state from now on; an engine of the old one is left."""
        if state != self.state:
            self.state = state
            self.use(None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the module does: a tensor, or a tuple of one."""
        if self._run is not None:
            tensors = args if _are_tensors(args, kwargs) else tuple(_tensors((args, kwargs)))
            if shapes_of(tensors) == self._shapes:
                output = self._run(*tensors)
                # diffusers' convention, which the modules here keep.
                return (output,) if kwargs.get("return_dict") is False else output
        result = self.module(*args, **kwargs)
        self.seen = Call(args, kwargs, _first(result))
        return result


@runtime_checkable
class HasParts(Protocol):
    """A sampler whose networks can be compiled."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """In the order in which they work; the last one gives the picture, about -1..1."""
        ...


def _are_tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call holds tensors alone, in a row: the common case, and quick."""
    return not kwargs and all(isinstance(each, Tensor) for each in args)


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _tensors(value)


class _Hole:
    """Where a tensor belongs."""


def _hollow(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return _Hole()
    if isinstance(tree, Mapping):
        return {key: _hollow(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_hollow(value) for value in tree)
    return tree


def _filled(tree: Any, tensors: Iterator[Tensor]) -> Any:
    if isinstance(tree, _Hole):
        return next(tensors)
    if isinstance(tree, dict):
        return {key: _filled(value, tensors) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_filled(value, tensors) for value in tree)
    return tree


def _first(result: Any) -> Tensor:
    return torch.as_tensor(result if isinstance(result, Tensor) else result[0])
