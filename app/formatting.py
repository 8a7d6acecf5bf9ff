"""Numbers and facts as short texts, the same everywhere in the window.

Owns wording and rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.accuracy import Accuracy
from app.port import Phase, Snapshot
from pipeline.values import Outcome, StreamState

DASH = "–"

PHASE_WORDS = {
    Phase.IDLE: "Ready",
    Phase.STARTING: "Connecting",
    Phase.RUNNING: "Running",
    Phase.STOPPING: "Finishing",
    Phase.STOPPED: "Stopped",
    Phase.FAILED: "Failed",
}

OUTCOME_WORDS = {
    Outcome.DECODED.value: "Decoded",
    Outcome.COLLECTED.value: "Collected",
    Outcome.GAP.value: "Gap in the data",
    Outcome.ARTIFACT.value: "Artifact",
    Outcome.SETTLING.value: "Filter settling",
    Outcome.LATE.value: "Marker too late",
    Outcome.NO_DATA.value: "Data never came",
    Outcome.FUTURE.value: "Too far ahead",
    Outcome.INVALID.value: "Unreadable marker",
    Outcome.IGNORED.value: "Other label",
    Outcome.OVERLOAD.value: "Decoder busy",
    Outcome.FAILED.value: "Decoder failed",
    Outcome.UNSURE.value: "Not sure",
}

STAGES = ("arrival", "filter", "epoch", "queue", "encode", "sample", "paint")
"""Stages in the order they happen; `paint` is the window's own, `total` their sum."""


def duration(seconds: float) -> str:
    """Return `m:ss`, or `h:mm:ss` from an hour on."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def length(seconds: float) -> str:
    """Return how long something took, in words that no time of day is mistaken for."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def by_repetitions(found: Mapping[int, Accuracy]) -> str:
    """Return how often summed evidence is right, by repetitions; "" while there are too few."""
    parts = [
        f"{n}: {percent(each.n_correct / each.n, digits=0)}"
        for n, each in found.items()
        if not each.is_few
    ]
    return " · ".join(parts)


def age(seconds: float | None) -> str:
    """Return the age of the newest sample in ms, or s above one second."""
    if seconds is None:
        return DASH
    if seconds < 1.0:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def milliseconds(value: float | None) -> str:
    """Return a latency with about two digits."""
    if value is None:
        return DASH
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def hertz(value: float | None) -> str:
    """Return a rate; 0 is irregular."""
    if value is None:
        return DASH
    if value == 0:
        return "irregular"
    return f"{value:g} Hz" if value == round(value, 2) else f"{value:.2f} Hz"


def percent(value: float | None, *, digits: int = 1) -> str:
    """Return a share as per cent."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def loss(snapshot: Snapshot) -> str:
    """Return the share of lost samples."""
    total = snapshot.n_received + snapshot.n_lost
    if not total:
        return DASH
    share = snapshot.n_lost / total
    if snapshot.n_lost == 0:
        return "0 %"
    return f"{100 * share:.2f} %" if share >= 0.0001 else f"{snapshot.n_lost} samples"


def size(n_bytes: int | None) -> str:
    """Return a size in kB, MB, GB or TB, powers of ten as disks are sold."""
    if n_bytes is None:
        return DASH
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def sentence(text: str) -> str:
    """Return `text` as a person begins a sentence; errors of the command line begin small."""
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """Return `1 gap`, `2 gaps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `11th`."""
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}" + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def label(text: str) -> str:
    """Return a gallery label or marker as a person would write it."""
    return text.replace("_", " ").replace("-", " ").strip() or DASH


def p_value(value: float) -> str:
    """Return `p = 0.012`, `p = 0.0004` or `p < 0.0001`."""
    if value < 0.0001:
        return "p < 0.0001"
    return f"p = {value:.4f}" if value < 0.001 else f"p = {value:.3f}"


def quality(found: Mapping[str, float]) -> list[str]:
    """Return what was measured of an epoch's signal, in words."""
    words = []
    for name, value in found.items():
        if name == "ptp_uv":
            words.append(f"largest peak-to-peak {value:.0f} µV")
        elif name == "line_ratio":
            words.append(f"mains {percent(value, digits=0)}")
        elif name == "n_bad_channels":
            words.append(count(round(value), "bad channel") if value else "no bad channel")
        elif name != "n_bad":  # an epoch with samples that are no numbers is refused
            words.append(f"{label(name)} {value:.3g}")
    return words


def adapter(snapshot: Snapshot) -> tuple[str, str]:
    """Return what decodes for this person, and how it is aligned; empty for everybody's decoder."""
    which = []
    if snapshot.adapter:
        which.append(f"Adapter {Path(snapshot.adapter).name}")
    elif snapshot.alignment:
        which.append("No adapter")
    if snapshot.adapter_loading:
        which.append(f"loading {Path(snapshot.adapter_loading).name}…")
    how = [f"alignment {snapshot.alignment}"] if snapshot.alignment else []
    if snapshot.alignment_drift is not None:
        how.append(f"drift {snapshot.alignment_drift:.2f}")
    return " · ".join(which), " · ".join(how)


def kiloohm(value: float) -> str:
    """Return an impedance with about two digits."""
    return f"{value:.1f} kΩ" if value < 10 else f"{value:.0f} kΩ"


def state_words(state: StreamState) -> str:
    """Return a stream's state in a word."""
    return {
        StreamState.CONNECTING: "connecting",
        StreamState.STREAMING: "live",
        StreamState.STALLED: "stalled",
        StreamState.LOST: "lost",
        StreamState.RETURNED: "back",
        StreamState.SOUGHT: "live",
        StreamState.JOINED: "live",
        StreamState.REFUSED: "live",
        StreamState.ENDED: "ended",
    }[state]


def short_path(path: Path | None, *, length: int = 48) -> str:
    """Return a path that fits; its end matters most."""
    if path is None:
        return DASH
    text = str(path)
    return text if len(text) <= length else "…" + text[-(length - 1) :]
