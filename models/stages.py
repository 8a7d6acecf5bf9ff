"""Every training stage and every importer, by name: what `phosphene train` and `import` call.

Owns the table and what a stage is asked; a system adds its rows here and keeps its code in its
own package, named as text so that the table costs no import of torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.extras import extras_named
from pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Entry:
    """A function `module:name`, and what it does in one sentence."""

    function: str
    summary: str


@dataclass(frozen=True, slots=True)
class StageRequest:
    """What one training stage is asked.

    Attributes
    ----------
    data, out : Path
        Folder of the data, and of what is made (checkpoints included).
    table : mapping
        The TOML file of settings as read; a stage says which tables it knows.
    seed : int
        Of weights, order and draws.
    resume : Path or None
        Checkpoint to continue; None: the newest in `out`.
    save_every, stop_after : int or None
        Steps between checkpoints, and the step to end at; None: the loop's own.
    precision, tracker, device : str
        As `models.training.make_engine` takes them; precision `auto`: as published, where half
        precision becomes bf16 on hardware that computes in it.
    read_recording : callable or None
        Reads any other recording as (n_channels, n_times) microvolts; `suffixes` says which.
    on_step : callable
        Told of each `models.training.loop.Progress`.
    on_note : callable
        Told sentences that the user must see (the block-design warning).
    stop : callable
        Whether to end early, asked after each step.
    """

    data: Path
    out: Path
    table: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    resume: Path | None = None
    save_every: int = 1000
    stop_after: int | None = None
    precision: str = "auto"
    tracker: str = ""
    device: str = ""
    read_recording: Callable[[Path], Any] | None = None
    suffixes: Sequence[str] = ()
    on_step: Callable[[Any], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


STAGES: dict[str, dict[str, Entry]] = {
    "atm": {
        "prepare": Entry(
            "models.atm.commands:run_prepare",
            "THINGS-EEG2, raw or preprocessed, to memory-mapped training and test folders",
        ),
        "encoder": Entry(
            "models.atm.commands:run_encoder",
            "ATM-S by retrieval or reconstruction on THINGS-EEG2",
        ),
        "prior": Entry(
            "models.atm.commands:run_prior",
            "the diffusion prior from a trained encoder's vectors to CLIP's",
        ),
    },
    "atm-multimodal": {
        "features": Entry(
            "models.multimodal.features:run_features",
            "CLIP vectors of pictures, texts and superpixels: the targets of all ATM stages",
        ),
        "train": Entry(
            "models.atm.commands:run_multimodal",
            "one ATM-S encoder and five priors together",
        ),
    },
    "dreamdiffusion": {
        "a": Entry(
            "models.dreamdiffusion.stages:run_stage_a",
            "masked signal modelling on any EEG (.npy or recordings)",
        ),
        "b": Entry(
            "models.dreamdiffusion.stages:run_stage_b",
            "Stable Diffusion's cross-attention and the condition path on EEG-ImageNet40",
        ),
    },
}
"""System to stage to what trains it: `(StageRequest) -> dict`, a report."""

IMPORTERS: dict[str, Entry] = {
    "atm": Entry(
        "models.atm.commands:run_import",
        "ATM-S or NICE, diffusion prior, IP-Adapter, single-file SDXL-Turbo, feature caches (.pt)",
    ),
    "atm-multimodal": Entry(
        "models.atm.commands:run_multimodal_import",
        "encoder with five priors, IP-Adapter, single-file SDXL, feature caches (.pt)",
    ),
    "dreamdiffusion": Entry(
        "models.dreamdiffusion.stages:run_import",
        "encoder checkpoint.pth, generation checkpoint.pth, v1-5-pruned.ckpt",
    ),
}
"""System to importer: `(files: Sequence[Path], out: Path) -> dict`, a report."""


def find(table: Mapping[str, Entry], name: str, *, what: str) -> Callable[..., dict[str, Any]]:
    """Import the function of a name.

    Raises
    ------
    ConfigurationError
        The name is not in the table.
    """
    if name not in table:
        raise ConfigurationError(
            f"{what} {name!r} is unknown, expected one of {', '.join(sorted(table))}."
        )
    module, _, function = table[name].function.partition(":")
    with extras_named(f"{what} {name}"):
        found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def check_tables(table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a settings table that a stage does not know (a misspelling is not a default).

    Raises
    ------
    ConfigurationError
        Names the table.
    """
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigurationError(
            f"the settings have {unknown[0]!r}, expected only {', '.join(known)}: mend the name."
        )
