"""What a training stage is asked.

Owns the request; a system names its stages in its description and keeps their code in its own
package. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from configs import SessionConfig
from pipeline.errors import ConfigurationError
from pipeline.values import Epoch, Verdict

_Config = TypeVar("_Config", bound=BaseModel)


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
    read_epochs : callable
        Cuts a recording, as a session of the settings given would, into its usable epochs; the
        callable is told of every other event.
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
    read_epochs: Callable[[Path, SessionConfig, Callable[[Verdict], None]], Iterable[Epoch]] = (
        lambda _path, _config, _on_refused: ()
    )
    read_recording: Callable[[Path], Any] | None = None
    suffixes: Sequence[str] = ()
    on_step: Callable[[Any], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


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


def read_table(kind: type[_Config], table: Any, *, where: str = "training") -> _Config:
    """Read one table of the settings.

    Raises
    ------
    ConfigurationError
        Names the key, its value and the rule.
    """
    try:
        return kind.model_validate(table or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"settings: {where}.{key} = {first.get('input')!r}: {first['msg']}"
        ) from None
