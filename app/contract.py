"""What an adapter asks of a session, and the settings that keep it.

Owns which settings follow an adapter (channels, events, filter, window, person) and the sentence
that says so; and the question whether another person's adapter is meant. Reads the manifest only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.errors import AppError
from configs import SessionConfig
from models.adapters.files import read_manifest
from models.adapters.manifest import AdapterManifest
from pipeline.interpolation import LARGEST_SHARE

NOBODY = "anonymous"
"""Subject of a session that names nobody."""
SHOWN = 6


def follow(config: SessionConfig, folder: Path) -> tuple[SessionConfig, str]:
    """Return settings that keep what the adapter in `folder` asks for, and what to say of it.

    An adapter of plain classes reads its own channels at its own window, and knows its own events:
    other channels are not read, other events end as `ignored`. Every adapter stands behind its own
    filter.
    """
    manifest = read_manifest(folder)
    classes = manifest.classes
    update: dict[str, object] = {"filter": manifest.filter}
    said = []
    if classes is not None:
        share = LARGEST_SHARE if config.epochs.leave_out else 0.0
        epochs = {
            "mode": "event",
            "tmin": min(config.epochs.tmin, classes.tmin),
            "tmax": max(config.epochs.tmax, classes.tmax),
            "leave_out_share": share,
        }
        update |= {
            "source": config.source.model_copy(update={"picks": manifest.ch_names}),
            "epochs": config.epochs.model_copy(update=epochs),
        }
        said += [f"{len(manifest.ch_names)} channels ({_some(manifest.ch_names)})"]
        if classes.labels:
            # An older adapter knows its classes, and not what their markers were called.
            events = tuple(classes.labels)
            update["markers"] = config.markers.model_copy(update={"event_id": events})
            said.append(f"the events {_some(events)} (others are ignored)")
        said.append(f"{classes.tmin:g} to {classes.tmax:g} s after each")
        if classes.is_aligned:
            said.append("aligned to the covariance of its calibration from the first epoch on")
    said.append(_filter_words(manifest))
    if config.subject == NOBODY:
        update["subject"] = manifest.subject
    whose = f"the adapter {folder.name} of {manifest.subject}"
    return (
        SessionConfig.model_validate(config.model_copy(update=update).to_table()),
        f"The session follows {whose}: {', '.join(said)}.",
    )


def check_person(
    config: SessionConfig,
    folder: Path,
    *,
    is_meant: bool,
    ask: Callable[[str, str], bool | None] | None = None,
) -> None:
    """Refuse another person's adapter unless that is meant; `ask` asks a person on a terminal.

    Raises
    ------
    AppError
        The session's subject is another than the adapter's, and nobody says that this is right.
    """
    owner = read_manifest(folder).subject
    if is_meant or config.subject in (NOBODY, owner):
        return
    sentence = (
        f"the adapter {folder.name} is of {owner}, and the session of {config.subject}: an adapter "
        "decodes the brain that it was made from, and of another it is confident and wrong"
    )
    if ask is not None and ask(f"{sentence[0].upper()}{sentence[1:]}.", "Use it all the same?"):
        return
    raise AppError(
        f"{sentence}. Calibrate {config.subject} first, or say --other-person if it is meant."
    )


def _filter_words(manifest: AdapterManifest) -> str:
    low, high = manifest.filter.l_freq, manifest.filter.h_freq
    band = f"{'0' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'} Hz"
    notches = ", ".join(f"{each:g}" for each in manifest.filter.notch_freqs)
    return f"filter {band}" + (f" without {notches} Hz" if notches else "")


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
