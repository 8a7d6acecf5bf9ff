"""What every method of adapting is: fitted on one person's epochs, evidence out, arrays to keep.

Owns the abstract class, the checks of arrays that come from a file, and the reports of progress.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.adapters.bases import Base, Batch, PictureBase
from models.adapters.errors import AdapterError
from models.adapters.manifest import AdapterManifest
from pipeline.values import Float64

Arrays = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int | None, ...]]
BatchT = TypeVar("BatchT", bound=Batch)
BaseT = TypeVar("BaseT", bound=Base[Any])


class Stopped(AdapterError):  # noqa: N818 - not a failure: what the user asked for
    """The caller asked to stop."""


@dataclass(slots=True)
class Watch:
    """How a fit tells its progress and asks whether to go on.

    Attributes
    ----------
    on_loss : callable, optional
        Called with `(pass number, training loss, held-out loss)`.
    should_stop : callable, optional
        Asked between passes; True raises `Stopped`.
    losses : list of tuple
        Every `(training, held-out)` loss that was told.
    """

    on_loss: Callable[[int, float, float], None] | None = None
    should_stop: Callable[[], bool] | None = None
    losses: list[tuple[float, float]] = field(default_factory=list)

    def check(self) -> None:
        """Raise `Stopped` when the caller wants to stop."""
        if self.should_stop is not None and self.should_stop():
            raise Stopped("calibration was stopped: nothing was changed.")

    def tell(self, training: float, held_out: float) -> None:
        """Report one pass."""
        self.losses.append((training, held_out))
        if self.on_loss is not None:
            self.on_loss(len(self.losses), training, held_out)
        self.check()


@dataclass(frozen=True, slots=True, eq=False)
class Fitting(Generic[BatchT, BaseT]):
    """What a method is fitted to.

    Attributes
    ----------
    batch : Batch
        Epochs, as `base` prepares them.
    targets : ndarray, shape (n, n_features)
        Embedding of what each epoch's person saw.
    groups : ndarray, shape (n,), int
        Number of the stimulus, to hold stimuli out by.
    base : Base
        What the method is to stand on.
    seed : int
        Of every random choice.
    watch : Watch
    """

    batch: BatchT
    targets: Float64
    groups: NDArray[np.intp]
    base: BaseT
    seed: int = 0
    watch: Watch = field(default_factory=Watch)


class Method(ABC, Generic[BatchT, BaseT]):
    """One method, fitted.

    Class attributes: `name` in files and reports, `title` for people, `cost` orders from cheap to
    rich (a richer one must earn its place).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cost: ClassVar[int]

    @classmethod
    def unfit_for(cls, base: PictureBase[Any]) -> str:
        """Why it cannot stand behind an encoder, in words after its name; empty: it can."""
        del base
        return ""

    @classmethod
    @abstractmethod
    def fit(cls, given: Fitting[BatchT, BaseT]) -> Self:
        """Fit to labelled epochs."""

    @abstractmethod
    def evidence(self, batch: BatchT, base: BaseT) -> Float64:
        """Evidence of a batch, (n, n_features) float64; see `models.adapters.bases`."""

    @property
    def changes_nothing(self) -> bool:
        """Whether fitting ended where it began: the encoder as it is."""
        return False

    @property
    def prior(self) -> tuple[float, ...]:
        """Of each class, as the evidence holds it; empty: all alike."""
        return ()

    def bias(self, embeddings: Float64) -> Float64:
        """What a picture's log likelihood loses whatever was measured, (n_pictures,)."""
        return np.zeros(len(embeddings))

    @abstractmethod
    def arrays(self) -> Arrays:
        """Everything learnt, by name."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays, manifest: AdapterManifest) -> Self:
        """Rebuild from `arrays`, whose sizes the manifest tells.

        Raises
        ------
        AdapterError
            A name is absent or one too many, a shape is wrong, or a value is not finite.
        """


def checked(arrays: Arrays, shapes: Shapes) -> Arrays:
    """Return `arrays` when names, shapes (None: any size) and values are as they must be."""
    if set(arrays) != set(shapes):
        raise AdapterError(
            f"the adapter holds {', '.join(sorted(arrays)) or 'nothing'}, expected "
            f"{', '.join(sorted(shapes)) or 'nothing'}: restore the file or calibrate again."
        )
    for name, shape in shapes.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want is None or have == want for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits:
            words = ", ".join("n" if want is None else str(want) for want in shape)
            raise AdapterError(
                f"the adapter's {name} have shape {array.shape}, expected ({words}) by its "
                "manifest: restore the file or calibrate again."
            )
        if not np.isfinite(array).all():
            raise AdapterError(
                f"the adapter's {name} hold NaN or infinity, expected finite numbers: restore "
                "the file or calibrate again."
            )
    return arrays
