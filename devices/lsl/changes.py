"""What changed between a stream that was lost and the one that came back.

Owns the rule: the same labels in another order are put back into the old order; anything else is
a reason to stop and ask. Pure.
"""

from __future__ import annotations

from collections.abc import Collection

from configs.plain import plain
from devices.errors import StreamChangedError
from devices.lsl.discovery import Match
from pipeline.values import StreamInfo


def channel_order(before: StreamInfo, after: StreamInfo) -> tuple[int, ...] | None:
    """Say how to put the returned stream's channels into their old order.

    Returns
    -------
    order : tuple of int or None
        `old_samples = new_samples[:, order]`; None when the order is the old one.

    Raises
    ------
    StreamChangedError
        Anything but the order differs; the message lists what.
    """
    changes = [
        f"{what} was {old} and is {new}"
        for what, old, new in (
            ("channel count", before.n_channels, after.n_channels),
            ("rate", f"{before.sfreq:g} Hz", f"{after.sfreq:g} Hz"),
            ("format", before.channel_format, after.channel_format),
        )
        if old != new
    ]
    order: tuple[int, ...] | None = None
    if before.ch_names != after.ch_names:
        if sorted(before.ch_names) == sorted(after.ch_names) and _unique(before.ch_names):
            order = tuple(after.ch_names.index(label) for label in before.ch_names)
        else:
            changes.append(
                f"labels were {_listed(before.ch_names)} and are {_listed(after.ch_names)}"
            )
    for what, old, new in (
        ("units", before.ch_units, after.ch_units),
        ("types", before.ch_types, after.ch_types),
    ):
        placed = tuple(new[k] for k in order) if order and len(new) == len(order) else new
        if old != placed:
            changes.append(f"{what} were {_listed(old)} and are {_listed(placed)}")
    if changes:
        raise StreamChangedError(
            f"Stream {before.name!r} came back changed: {'; '.join(changes)}. Expected the same "
            "stream: restore its settings, or start a new session with the new ones."
        )
    return order


def same_source(
    before: StreamInfo, *, any_host: bool = False, admitted: Collection[str] = ()
) -> Match:
    """Match the outlets that a lost stream may come back as, from their short infos.

    By host (unless `any_host`), type, name and `source_id`: a namesake on another machine is
    somebody else's until the user says otherwise. `admitted` are the hosts that he has named so
    far; it may grow meanwhile.
    """

    def match(candidate: StreamInfo) -> bool:
        return _is_namesake(before, candidate) and (
            candidate.hostname == before.hostname
            or candidate.hostname in admitted
            or (any_host and bool(before.source_id))
        )

    return match


def stranger(before: StreamInfo) -> Match:
    """Match what `same_source` refuses for its host alone."""

    def match(candidate: StreamInfo) -> bool:
        return _is_namesake(before, candidate) and candidate.hostname != before.hostname

    return match


def outlet_changes(before: StreamInfo, after: StreamInfo) -> str:
    """Say how the outlet that returned differs from the lost one; empty for the very same."""
    changes = [
        f"{what} was {old} and is {new}"
        for what, old, new in (
            ("host", repr(plain(before.hostname)), repr(plain(after.hostname))),
            ("uid", plain(before.uid)[:8], plain(after.uid)[:8]),
            ("created_at", f"{before.created_at:.3f}", f"{after.created_at:.3f}"),
        )
        if old != new
    ]
    if not changes:
        return ""
    what = "its program was started anew" if before.hostname == after.hostname else "another host's"
    return f" as another outlet ({what}: {'; '.join(changes)})"


def _is_namesake(before: StreamInfo, candidate: StreamInfo) -> bool:
    return (
        candidate.type == before.type
        and candidate.name == before.name
        and (not before.source_id or candidate.source_id == before.source_id)
    )


def _unique(labels: tuple[str, ...]) -> bool:
    return len(set(labels)) == len(labels)


def _listed(words: tuple[str, ...]) -> str:
    if not words:
        return "not given"
    if len(set(words)) == 1:
        return f"{words[0]} ({len(words)}x)" if len(words) > 1 else words[0]
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
