"""The back-end that is none: torch runs the module itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.sampling.backends.base import Target, torch_dtypes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.sampling.parts import Run


class Eager:
    """Runs the module; what every other back-end is held against."""

    name = "eager"
    packages: tuple[str, ...] = ()
    extra = ""

    def dtypes(self, kind: str) -> tuple[str, ...]:
        """Half precision where it is faster."""
        return torch_dtypes(kind)

    def prepare(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> Run:  # noqa: ARG002
        """The module itself."""
        return module
