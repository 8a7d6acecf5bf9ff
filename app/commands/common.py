"""What several commands share: settings from the command line, watching a session to its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs import ConfigError, SessionConfig, load_preset, read_config

if TYPE_CHECKING:
    from app.port import Snapshot
    from app.runtime.session import Session


def load(preset: str | None, config: Path | None) -> SessionConfig:
    """Load `--preset` or `--config`; the default preset when neither is given."""
    if config is None:
        return load_preset(preset or "default")
    loaded = read_config(config)
    for sentence in loaded.warnings:
        sys.stderr.write(f"Note: {sentence}\n")
    return loaded.config


def apply_overrides(config: SessionConfig, overrides: Mapping[str, Any]) -> SessionConfig:
    """Set dotted keys that are not None; raise `ConfigError` naming the first that cannot be."""
    table = config.to_table()
    for dotted, value in overrides.items():
        if value is None:
            continue
        *parents, key = dotted.split(".")
        target = table
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
    try:
        return SessionConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key} = {first.get('input')!r}: {first['msg']}") from None


def has_display() -> bool:
    """Whether a window can be opened here."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(
        os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
        or os.environ.get("QT_QPA_PLATFORM")
    )


def watch(
    session: Session, *, note: str = "", as_json: bool = False, expected: float | None = None
) -> int:
    """Start a session, show its progress on a terminal, wait for its end, say how it went.

    Ctrl-C ends it cleanly: what was decoded so far is finished and kept.
    """
    from app.port import Phase

    if note:
        sys.stderr.write(note + "\n")
    interrupted = False
    session.start()
    try:
        while not session.wait(0.25):
            _progress(session.snapshot(), expected)
    except KeyboardInterrupt:
        interrupted = True
        session.stop()
    _clear()
    snapshot = session.snapshot()
    if as_json:
        sys.stdout.write((session.out / "summary.json").read_text(encoding="utf-8"))
    if snapshot.phase is Phase.FAILED:
        sys.stderr.write(f"phosphene: {snapshot.message}\n")
        return 1
    if not as_json:
        sys.stdout.write("\n".join(_closing_lines(snapshot)) + "\n")
    return 130 if interrupted else 0


def _progress(snapshot: Snapshot, expected: float | None) -> None:
    if not sys.stderr.isatty():
        return
    found = snapshot.accuracy
    right = "" if found is None else f", {found.n_correct} of {found.n} identified"
    length = f"{snapshot.duration:5.1f} s" + ("" if expected is None else f" of ~{expected:g} s")
    text = f"{length}  {snapshot.n_markers} markers{right}  [{snapshot.message}]"
    sys.stderr.write("\r\x1b[K" + text[:110])
    sys.stderr.flush()


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def _closing_lines(snapshot: Snapshot) -> list[str]:
    outcomes = ", ".join(f"{n} {name}" for name, n in snapshot.outcomes.items()) or "none"
    lines = [f"Markers: {snapshot.n_markers} ({outcomes})."]
    found = snapshot.accuracy
    if found is not None:
        lines.append(
            f"Identified {found.n_correct} of {found.n} among {found.n_candidates} "
            f"({found.n_correct / found.n:.1%}; 95 % interval {found.low:.1%} to {found.high:.1%}; "
            f"chance {found.chance:.2%}; p = {found.p_value:.2g})."
        )
    total = snapshot.stages.get("total_after_epoch")
    if total is not None:
        lines.append(
            f"Picture after the epoch's end: p50 {total[0]:.0f} ms, p95 {total[1]:.0f} ms."
        )
    lines += [f"Note: {sentence}" for sentence in snapshot.warnings]
    lines.append(f"Session folder: {snapshot.out} (open report.html in a browser).")
    return lines
