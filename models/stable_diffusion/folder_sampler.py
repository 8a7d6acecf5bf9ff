"""What generators of folders have in common behind the ports.

Owns the way from an embedding to its picture, and what a sampler says of itself. How a vector
enters is each generator's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from models.api import SamplerSpec
from models.sampling.parts import Part
from pipeline.values import Embedding, GeneratedImage, Uint8

Conditioned = TypeVar("Conditioned")
Condition_contra = TypeVar("Condition_contra", contravariant=True)


class Generator(Protocol[Condition_contra]):
    """Networks of one folder that draw."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of."""
        ...

    @property
    def options(self) -> Mapping[str, int | float]:
        """What acts on its pictures."""
        ...

    def draw(self, condition: Condition_contra, /, *, seed: int) -> Uint8:
        """Draw one picture (height, width, 3)."""
        ...


class FolderSampler(ABC, Generic[Conditioned]):
    """A generator of a folder; satisfies `models.api.Sampler`.

    Parameters
    ----------
    generator : Generator
    spec : SamplerSpec
    facts : mapping
        What else acts on its pictures.
    remarks : tuple of str
        Sentences on settings that do not act as one would think.
    """

    def __init__(
        self,
        generator: Generator[Conditioned],
        *,
        spec: SamplerSpec,
        facts: Mapping[str, str | int | float],
        remarks: tuple[str, ...],
    ) -> None:
        self._generator, self._spec = generator, spec
        self._facts, self._remarks = facts, remarks

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        return self._spec

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of."""
        return self._generator.parts

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {**self._generator.options, **self._facts}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        return self._remarks

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw the picture of an embedding.

        Raises
        ------
        ShapeError
            It is none of this generator's space.
        """
        pixels = self._generator.draw(self.condition(embedding), seed=seed)
        return GeneratedImage(
            pixels=pixels, seed=seed, index=embedding.index, t_onset=embedding.t_onset
        )

    @abstractmethod
    def condition(self, embedding: Embedding) -> Conditioned:
        """Make of a vector what the generator reads.

        Raises
        ------
        ShapeError
            As `sample`.
        """
