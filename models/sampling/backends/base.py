"""What a back-end is.

Owns the Protocols and their values. Knows no back-end, and imports no torch, as the facts of
every back-end do: which one is chosen can be asked at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pipeline.errors import PhospheneError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run


class BackendError(PhospheneError):
    """A back-end is not there, cannot build, or what it built is refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how an engine computes: a torch device, a type by torch's name, CPU threads."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1

    @property
    def kind(self) -> str:
        """Kind of the device: `cpu`, `cuda`, `mps`."""
        return self.device.partition(":")[0]


class Backend(Protocol):
    """Facts about a back-end; asking costs no heavy import."""

    @property
    def name(self) -> str:
        """As `decoder.backend` takes it."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that it needs beside torch."""
        ...

    @property
    def extra(self) -> str:
        """Extra of Phosphene that brings them; empty: none is needed."""
        ...

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Types that it computes in on a kind of device, its own choice first; empty: none."""
        ...


@runtime_checkable
class Prepares(Backend, Protocol):
    """A back-end whose engines live and end with their process."""

    def prepare(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> Run:
        """Make what runs `module` on tensors as `examples`."""
        ...


@runtime_checkable
class Builds(Backend, Protocol):
    """A back-end whose engines are bytes that can be kept.

    They are built in a process of their own, so that a compiler that crashes costs nothing.
    """

    @property
    def takes_graphs(self) -> bool:
        """Whether an ONNX graph without weights is an engine of it."""
        ...

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:
        """Build an engine of `module` for tensors as `examples`."""
        ...

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:
        """Make what runs an engine; `weights` are those of its module, for one without its own."""
        ...


@runtime_checkable
class Refits(Builds, Protocol):
    """A back-end that can put other weights into an engine of the same architecture."""

    def refit(
        self, engine: bytes, module: nn.Module, examples: tuple[Tensor, ...], target: Target
    ) -> bytes:
        """Return the engine with the weights of `module`."""
        ...


@runtime_checkable
class Revised(Backend, Protocol):
    """A back-end of ours that builds otherwise than before from the same network."""

    @property
    def revision(self) -> int:
        """How often that changed, from 1: engines of an earlier one are built anew."""
        ...


def torch_dtypes(kind: str) -> tuple[str, ...]:
    """Types that torch's own kernels compute in, half precision first where it is faster."""
    if kind == "cpu":
        return ("float32", "bfloat16", "float16")
    return ("float16", "bfloat16", "float32")


def missing(backend: Backend) -> str:
    """Say which distribution is not installed, and what brings it; empty: all are."""
    for package in backend.packages:
        try:
            version(package)
        except PackageNotFoundError:
            how = f"pip install 'phosphene[{backend.extra}]'" if backend.extra else "make install"
            return f"{package} is not installed ({how})"
    return ""


def versions_of(backend: Backend) -> Mapping[str, str]:
    """Versions of what computes: torch's and those of the back-end's distributions."""
    return {name: version(name) for name in ("torch", *backend.packages)}
