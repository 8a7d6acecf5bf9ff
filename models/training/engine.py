"""Where training runs: one device, or many through Hugging Face accelerate.

Owns devices, precision and the averaging of gradients over processes. Knows nothing of steps,
data or checkpoints. accelerate is an optional dependency (`phosphene[train]`): without it one
device trains in one process, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule

from models.accelerators import choose_device
from models.training.errors import TrainingError
from models.training.sharding import shard, unshard
from models.training.together import join_norms
from pipeline.extras import extras_named

Precision = Literal["no", "bf16"]
Asked = Literal["auto", "no", "bf16"]
REFUSED = ("DEEPSPEED", "MEGATRON_LM")
"""Ways of `accelerate launch` that no checkpoint of ours would be whole with."""
FSDP = "ACCELERATE_USE_FSDP"
"""Set by `accelerate launch --use_fsdp`."""


def choose_precision(asked: str, device: str = "") -> Precision:
    """Resolve `auto`: bf16 where the hardware computes in it, else `no`.

    For stages whose authors trained in half precision: bf16 keeps float32's range, so it needs no
    gradient scaler; parameters, optimiser and residual sums stay float32.

    Raises
    ------
    TrainingError
        A precision that does not exist.
    """
    if asked not in get_args(Asked):
        raise TrainingError(f"precision {asked!r} is unknown, expected auto, no or bf16.")
    if asked != "auto":
        return "bf16" if asked == "bf16" else "no"
    return "bf16" if _computes_in_bf16(choose_device(device).type) else "no"


def is_first_process() -> bool:
    """Whether this process writes what is kept (of several that torchrun started: the first)."""
    return os.environ.get("RANK", "0") == "0"


def _computes_in_bf16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return kind == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextlib.contextmanager
def others_reachable(out: Path) -> Iterator[None]:
    """Within: a collective that fails because another process is gone is one sentence.

    Raises
    ------
    TrainingError
        Says where the training goes on from.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo raises no class of its own, and names itself.
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        cause = re.sub(r"^\[[^]]*\] *", "", str(error)).split(". ")[0][:80]
        raise TrainingError(
            f"another process of this training has ended, or cannot be reached ({cause}): the last "
            f"checkpoint in {out / 'checkpoints'} is whole; the same command goes on from there, "
            "also with fewer processes."
        ) from None


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

    @property
    def precision(self) -> Precision:
        """Precision of the products; parameters and optimiser are float32."""
        ...

    def prepare(self, module: nn.Module) -> nn.Module:
        """Put a module where it runs, before there is an optimiser of its parameters."""
        ...

    def release(self, module: nn.Module) -> None:
        """Give a prepared module back whole, when its training has ended."""
        ...

    def accumulate(
        self, module: nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Context of one batch: gradients are averaged over processes only at the `last` one."""
        ...

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context of a forward pass: the precision."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """Average values over the processes."""
        ...

    def wait(self) -> None:
        """Wait for the other processes."""
        ...

    def log(self, values: dict[str, float], step: int) -> None:
        """Send values to the chosen tracker, if any."""
        ...

    def finish(self) -> None:
        """Flush and close the tracker."""
        ...


class SingleDevice:
    """One process on one device."""

    rank = 0
    n_processes = 1

    def __init__(self, device: torch.device, precision: Precision) -> None:
        self.device = device
        self.precision = precision

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move the module."""
        return module.to(self.device)

    def release(self, module: nn.Module) -> None:
        """Nothing: it is whole."""

    def accumulate(
        self, module: nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Nothing: one process averages with nobody."""
        del module, last
        return contextlib.nullcontext()

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Lower the precision where asked."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients."""
        torch.autograd.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def wait(self) -> None:
        """Nobody to wait for."""

    def log(self, values: dict[str, float], step: int) -> None:
        """No tracker."""

    def finish(self) -> None:
        """No tracker."""


class Accelerated:
    """Any number of processes, as `accelerate launch` started them."""

    def __init__(self, precision: Precision, tracker: str, folder: str, device: str) -> None:
        if any(os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in REFUSED):
            raise TrainingError(
                "a training is not divided by DeepSpeed or Megatron here: launch it with "
                "--multi_gpu, or with --use_fsdp where a network is too large for one GPU."
            )
        with extras_named("training in several processes, or with a tracker,"):
            from accelerate import Accelerator, DistributedDataParallelKwargs
        if tracker and importlib.util.find_spec(tracker) is None:
            # accelerate would go on without it and say nothing.
            raise TrainingError(
                f"the tracker {tracker} is not installed: pip install {tracker}, or omit --log."
            )
        # A step may leave parameters aside (a dropped condition, an id that no batch has).
        spare = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator: Any = Accelerator(
            mixed_precision=precision,
            log_with=tracker or None,
            project_dir=folder or None,
            cpu=choose_device(device).type == "cpu",
            kwargs_handlers=[spare],
        )
        if tracker:
            self._accelerator.init_trackers("phosphene")
        self.precision = precision
        self._tracks = bool(tracker)

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

    def prepare(self, module: nn.Module) -> nn.Module:
        """Wrap the module for its processes; its parameters stay the same objects."""
        if self.n_processes > 1:
            join_norms(module, self.device)
        made: nn.Module = self._accelerator.prepare_model(module)
        return made

    def release(self, module: nn.Module) -> None:
        """Nothing: each process holds the whole."""

    def accumulate(
        self, module: nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Average gradients over processes only where they are used."""
        return contextlib.nullcontext() if last else self._quiet(module)

    def _quiet(self, module: nn.Module) -> contextlib.AbstractContextManager[Any]:
        quiet: contextlib.AbstractContextManager[Any] = self._accelerator.no_sync(module)
        return quiet

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Lower the precision where asked."""
        context: contextlib.AbstractContextManager[Any] = self._accelerator.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients."""
        self._accelerator.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        """Average values over the processes."""
        return torch.as_tensor(self._accelerator.reduce(values, reduction="mean"))

    def wait(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    def log(self, values: dict[str, float], step: int) -> None:
        """Send values to the tracker."""
        if self._tracks:
            self._accelerator.log(values, step=step)

    def finish(self) -> None:
        """Flush and close the tracker; the processes stay connected."""
        # accelerate's `end_training` ends their group as well.
        for tracker in self._accelerator.trackers:
            tracker.finish()


class Sharded(Accelerated):
    """Several processes that each hold a part of the network, its gradients and moments."""

    def __init__(self, precision: Precision, tracker: str, folder: str, device: str) -> None:
        # accelerate would divide on GPUs only, and by rules of its own.
        asked = os.environ.pop(FSDP)
        try:
            super().__init__(precision, tracker, folder, device)
        finally:
            os.environ[FSDP] = asked

    def prepare(self, module: nn.Module) -> nn.Module:
        """Divide the module in place: its parameters become others."""
        join_norms(module, self.device)
        shard(module, self.device, self.n_processes)
        return module

    def release(self, module: nn.Module) -> None:
        """Gather the whole in every process, on the CPU."""
        unshard(module)

    def accumulate(
        self, module: nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Average gradients over processes only where they are used."""
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(last)
        return contextlib.nullcontext()


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
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and os.environ.get(FSDP) == "true":
        return Sharded(precision, tracker, folder, device)
    if several or tracker:
        return Accelerated(precision, tracker, folder, device)
    return SingleDevice(choose_device(device), precision)
