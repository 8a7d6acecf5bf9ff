"""A `session.toml` that somebody else may have written: what of it is not taken at its word.

Owns two rules: no folder is made because a file names it, and a replay under other weights than
the recorded ones says so. Everything else of such a file is only read, and checked when it is used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from configs import LoadedConfig, SessionConfig
from configs.plain import plain

_WEIGHTS: Final = {
    "encoder_sha256": "encoder (or adapter)",
    "sampler_sha256": "sampler",
}


def without_foreign_fallback(loaded: LoadedConfig, path: Path) -> tuple[SessionConfig, str]:
    """Settings of a file, their fallback folder only where it is there and the user's own.

    Returns
    -------
    config : SessionConfig
    sentence : str
        What was left out and how to have it; empty where nothing was.
    """
    config = loaded.config
    fallback = config.recording.fallback
    if fallback is None or _is_own_folder(Path(fallback)):
        return config, ""
    recording = config.recording.model_copy(update={"fallback": None})
    return config.model_copy(update={"recording": recording}), (
        f"recording.fallback = {fallback!r} of {path} is not used: it is no folder of yours, and "
        "none is made because a file names it; make it yourself, or give --fallback DIR."
    )


def other_weights(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say which weights or gallery differ from those of the run that is replayed, else nothing.

    Both are `run` tables of a `session.toml`; what either lacks is not compared.
    """
    differ = [
        f"{word} {_short(now[key])} (recorded: {_short(recorded[key])})"
        for key, word in _WEIGHTS.items()
        if key in recorded and key in now and recorded[key] != now[key]
    ]
    sentences = []
    if differ:
        sentences.append(
            f"Other weights than recorded: {', '.join(differ)}. Vectors and pictures are not those "
            "of the recorded session."
        )
    before, after = recorded.get("gallery_sha256"), now.get("gallery_sha256")
    if before and after and before != after:
        sentences.append(
            f"Another gallery than recorded: {now.get('gallery')} {_short(after)} (recorded: "
            f"{_short(before)}). Rankings and chance are not those of the recorded session."
        )
    return " ".join(sentences)


def other_place(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say of a session that a server decoded whether its pictures can be the same here.

    Both are `run` tables of a `session.toml`; empty where no server decoded the recorded one, or
    where nothing decodes now.
    """
    there, here = recorded.get("server"), now.get("drawn_by")
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return ""
    url = plain(str(there.get("url", "")), limit=80)
    keys = sorted({*there, *here} - {"url"})
    differ = [
        f"{key} {plain(str(here.get(key, 'none')), limit=60)} (there: "
        f"{plain(str(there.get(key, 'none')), limit=60)})"
        for key in keys
        if here.get(key) != there.get(key)
    ]
    if not differ:
        return (
            f"The recorded session was decoded by {url}, with the weights, the back-end and the "
            "kind of machine that decode here: its vectors and pictures are repeated to the bit."
        )
    return (
        f"The recorded session was decoded by {url}, and here differ: {', '.join(differ)}. Its "
        "vectors and pictures are not repeated to the bit."
    )


def _is_own_folder(folder: Path) -> bool:
    try:
        found = os.lstat(folder)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(found.st_mode) and (os.name == "nt" or found.st_uid == os.getuid())


def _short(digest: object) -> str:
    return "".join(c for c in str(digest)[:64] if c.isascii() and c.isalnum())[:12] or "none"
