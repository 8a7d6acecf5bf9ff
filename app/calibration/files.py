"""What a calibration leaves in its folder: the epochs, what was chosen, what came out.

Owns `calibration.json` and where the epochs lie (`calibration/`). The epochs are written before
any training, so that a flow that is killed there loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.calibration.collection import Counts
from app.calibration.results import CalibrationResult
from app.calibration.schedule import Choices
from app.errors import AppError, FolderError
from configs.guard import TABLE_LIMIT, read_text
from configs.plain import encodable
from configs.private import make_private, open_private

DATA_FOLDER = "calibration"
"""Folder of the epochs, as `CalibrationData.save` writes them."""
ABOUT_NAME = "calibration.json"
REPORT_NAME = "calibration.html"


def choices_table(choices: Choices) -> dict[str, Any]:
    """What was chosen, as JSON holds it."""
    table = asdict(choices)
    table["stimuli"] = choices.stimuli.to_table()
    return table


def counts_table(counts: Counts) -> dict[str, Any]:
    """What was collected, as JSON holds it."""
    return {
        "good": dict(counts.good),
        "refused": dict(counts.refused),
        "n_good": counts.n_good,
        "n_refused": counts.n_refused,
    }


def write_about(folder: Path, table: Mapping[str, Any]) -> Path:
    """Write `calibration.json` as a whole or not at all."""
    path = folder / ABOUT_NAME
    partial = folder / f"{ABOUT_NAME}.partial"
    try:
        make_private(folder)
        with open_private(partial, "w", encoding="utf-8") as stream:
            text = json.dumps(table, indent=1, ensure_ascii=False, default=str)
            stream.write(encodable(text) + "\n")
        partial.replace(path)
    except OSError as error:
        raise FolderError(
            f"{path}: cannot be written ({error.strerror}): make room or choose another --out."
        ) from None
    return path


def about_table(
    *,
    subject: str,
    choices: Choices | None,
    counts: Counts,
    state: str,
    origin: str = "",
    checks: Mapping[str, Any] | None = None,
    result: CalibrationResult | None = None,
    adapter_id: str | None = None,
) -> dict[str, Any]:
    """Everything about one calibration, as `calibration.json` holds it."""
    return {
        "schema_version": 1,
        "subject": subject,
        "state": state,
        "origin": origin,
        "choices": None if choices is None else choices_table(choices),
        "epochs": counts_table(counts),
        "checks": dict(checks or {}),
        "result": None if result is None else result.to_table(),
        "adapter": adapter_id,
    }


def read_about(folder: Path) -> dict[str, Any]:
    """Read a folder's `calibration.json`.

    Raises
    ------
    AppError
        It is missing or damaged.
    """
    path = folder / ABOUT_NAME
    try:
        table = json.loads(read_text(path, limit=TABLE_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise AppError(
            f"cannot read {path} ({error}), expected a calibration's folder: name another."
        ) from None
    if not isinstance(table, dict):
        raise AppError(f"{path} holds no table, expected what a calibration wrote.")
    return table
