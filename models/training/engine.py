"""Where training runs: one device, or many through Hugging Face accelerate.

Owns devices, precision and the averaging of gradients over processes. Knows nothing of steps,
data or checkpoints. accelerate is an optional dependency (`phosphene[train]`): without it one
device trains in one process, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from models.training.errors import TrainingError

Precision = Literal["no", "bf16"]


class Engine(Protocol):
    """What the loop asks of the place where it runs."""

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        ...

    @property
    def rank(self) -> int:
        """Number of this process."""
        ...

    @property
    def n_processes(self) -> int:
        """Count of processes."""
        ...

    def prepare(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Put both where they run."""
        ...

    def accumulate(
        self, module: nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Context of one batch: precision, and gradients averaged only at the `last` one."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        ...

    def wait(self) -> None:
        """Wait for the other processes."""
        ...

    def log(self, values: dict[str, float], step: int) -> None:
        """Send values to the chosen tracker, if any."""
        ...


class SingleDevice:
    """One process on one device."""

    rank = 0
    n_processes = 1

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self._precision = precision

    def prepare(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Move the module; the optimiser holds the same parameters."""
        return module.to(self.device), optimizer

    @contextlib.contextmanager
    def accumulate(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Lower the precision where asked."""
        del module, last
        enabled = self._precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled):
            yield

    def backward(self, loss: Tensor) -> None:
        """Add the gradients."""
        torch.autograd.backward(loss)

    def wait(self) -> None:
        """Nobody to wait for."""

    def log(self, values: dict[str, float], step: int) -> None:
        """No tracker."""


class Accelerated:
    """Any number of processes, as `accelerate launch` started them."""

    def __init__(self, precision: Precision, tracker: str, folder: str) -> None:
        try:
            from accelerate import Accelerator
        except ImportError:
            raise TrainingError(
                "several processes or a tracker need accelerate: pip install 'phosphene[train]'."
            ) from None
        self._accelerator: Any = Accelerator(
            mixed_precision=precision, log_with=tracker or None, project_dir=folder or None
        )
        self._tracks = bool(tracker)
        if tracker:
            self._accelerator.init_trackers("phosphene")

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        return torch.device(self._accelerator.device)

    @property
    def rank(self) -> int:
        """Number of this process."""
        return int(self._accelerator.process_index)

    @property
    def n_processes(self) -> int:
        """Count of processes."""
        return int(self._accelerator.num_processes)

    def prepare(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap the module for its processes; the optimiser holds the same parameters."""
        return self._accelerator.prepare_model(module), optimizer

    @contextlib.contextmanager
    def accumulate(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Average gradients over processes only where they are used."""
        quiet = contextlib.nullcontext() if last else self._accelerator.no_sync(module)
        with quiet, self._accelerator.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        """Add the gradients."""
        self._accelerator.backward(loss)

    def wait(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    def log(self, values: dict[str, float], step: int) -> None:
        """Send values to the tracker."""
        if self._tracks:
            self._accelerator.log(values, step=step)


def make_engine(
    *, precision: Precision = "no", tracker: str = "", folder: str = "", device: str = ""
) -> Engine:
    """Choose the engine: accelerate where several processes or a tracker need it, else one device.

    Parameters
    ----------
    precision : {"no", "bf16"}
        bf16 needs no gradient scaler, unlike the published fp16.
    tracker : {"", "tensorboard", "wandb"}
    folder : str
        Where the tracker writes.
    device : str
        A device for one process; empty: the GPU if there is one.
    """
    if tracker or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Accelerated(precision, tracker, folder)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return SingleDevice(torch.device(chosen), precision)
