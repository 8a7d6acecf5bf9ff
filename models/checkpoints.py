"""Reading foreign checkpoints without running their code, and writing our own as safetensors.

Owns the one door through which `.pth` and `.ckpt` files come in: `torch.load` with
`weights_only=True`. Published training scripts pickled their settings object beside the weights;
those few classes are read as inert records (a name and its attributes), anything else is
refused. Knows nothing of what the tensors mean.
"""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import PhospheneError

INERT_MODULES = ("config", "pytorch_lightning.callbacks", "lightning.pytorch.callbacks")
"""Modules whose classes are settings that published checkpoints carry beside their weights."""

# What torch raises when it refuses; taken from there, since nothing here may unpickle.
_UnpicklingError: type[Exception] = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]


class CheckpointError(PhospheneError):
    """A checkpoint is missing, unreadable, unsafe, or does not fit the model."""


class _Inert:
    """Stands for a pickled settings object; holds its attributes, runs nothing."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `.safetensors`, `.pth`, `.pt`, `.ckpt` or `.bin`.

    Returns
    -------
    dict
        Tensors and plain values; settings objects come as records without code.

    Raises
    ------
    CheckpointError
        Missing, damaged, or it holds Python objects that are not data.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}, expected a checkpoint.")
    if path.suffix == ".safetensors":
        return dict(_load_safetensors(path))
    content = _load_weights_only(path)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected a dict of tensors: "
            "give the checkpoint that the training wrote."
        )
    return content


def load_tensor(path: Path) -> Tensor:
    """Read a file that holds one tensor: `.pt`, `.pth`, `.safetensors`.

    Raises
    ------
    CheckpointError
        Missing, damaged, not data, or it holds anything but one tensor.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}, expected one tensor.")
    is_safe = path.suffix == ".safetensors"
    content = _load_safetensors(path) if is_safe else _load_weights_only(path)
    if isinstance(content, dict) and len(content) == 1:
        (content,) = content.values()
    if not isinstance(content, Tensor):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected one tensor: save it alone."
        )
    return content


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}).") from None
    return state


def _load_weights_only(path: Path) -> Any:
    records = [(type("Inert", (_Inert,), {}), name) for name in _settings_in(path)]
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals(list(records)),
        ):
            # Of protocols and old layouts: what matters is refused below, in one sentence.
            warnings.simplefilter("ignore")
            # Mapped: a data set of gigabytes is read as it is used.
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _UnpicklingError as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise CheckpointError(
            f"{path} holds Python objects beside weights and is refused, since reading it could "
            f"run code ({reason}): convert it to safetensors where you trust it."
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split()[:30])
        raise CheckpointError(
            f"{path} is damaged or no checkpoint of torch ({type(error).__name__}: {said}): get it "
            "again."
        ) from None


def _settings_in(path: Path) -> list[str]:
    """Full names of the classes in a checkpoint that are known to be settings."""
    with contextlib.suppress(RuntimeError, ValueError, _UnpicklingError, OSError, EOFError):
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        return [name for name in found if name.startswith(tuple(f"{m}." for m in INERT_MODULES))]
    return []


def tensors_of(table: Mapping[str, Any]) -> dict[str, Tensor]:
    """Only the tensors of a checkpoint's dict."""
    return {name: value for name, value in table.items() if isinstance(value, Tensor)}


def shape_of(state: Mapping[str, Tensor], name: str, axes: str) -> tuple[int, ...]:
    """Shape of a tensor that must have as many axes as `axes` names (`"n_out, n_in"`).

    Raises
    ------
    KeyError
        The state has no such tensor.
    CheckpointError
        It has another count of axes, or none of something.
    """
    shape = tuple(state[name].shape)
    if len(shape) != axes.count(",") + 1 or not all(shape):
        raise CheckpointError(
            f"{name} has the shape {shape}, expected ({axes}): the checkpoint is damaged or "
            "another network's."
        )
    return shape


@contextlib.contextmanager
def sizes_read(what: object) -> Iterator[None]:
    """Where a network is built by a foreign state's sizes: one sentence where they make none.

    Raises
    ------
    CheckpointError
        Names and shapes are others than the network's.
    """
    try:
        yield
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        StopIteration,
        ZeroDivisionError,
        RuntimeError,
    ) as error:
        said = " ".join(str(error).split()[:30])
        raise CheckpointError(
            f"{what} has tensors whose names or sizes make no such network "
            f"({type(error).__name__}: {said}): it is damaged or another network's."
        ) from None


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose name starts with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def save_tensors(
    path: Path, state: Mapping[str, Tensor], *, meta: str = "", for_transformers: bool = False
) -> None:
    """Write tensors so that a file is either the old one or whole, and the same for the same.

    `meta` is free text (JSON) for the file's header. A file `for_transformers` says its format
    instead, without which their older versions open none: of two entries the order would be chance.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    save_file(
        plain, partial, metadata={"format": "pt"} if for_transformers else {"phosphene": meta}
    )
    partial.replace(path)


def is_finite(value: Tensor) -> bool:
    """Whether a tensor holds numbers only; a quarter of what `isfinite(value).all()` costs."""
    if value.is_meta or not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(value))).all())


def load_into(
    module: torch.nn.Module, state: Mapping[str, Tensor], *, what: str, assign: bool = False
) -> None:
    """Load a state that must fit exactly; one sentence where it does not.

    `assign` takes the tensors as they are, dtype included, for a module without storage (`meta`).

    Raises
    ------
    CheckpointError
        Names are missing or too many, shapes differ, or a number is none.
    """
    for name, value in state.items():
        if not is_finite(value):
            raise CheckpointError(
                f"{what} holds NaN or infinity in {name}, expected finite numbers: the file is "
                "damaged, or its training failed; get or import it again."
            )
    try:
        missing, unexpected = module.load_state_dict(dict(state), strict=False, assign=assign)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise CheckpointError(f"{what} does not fit its sizes ({reason}).") from None
    if missing or unexpected:
        raise CheckpointError(
            f"{what} lacks {missing[:3]} and has {unexpected[:3]} too many: "
            "it is a checkpoint of another model or of other sizes."
        )
