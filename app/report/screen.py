"""How the session's own stimuli were presented: frames, drops, photodiode, offset.

Owns the part of the page and the sentences about it; the figures are those that the stimulus window
measured (`app.port.DisplayFigures`) and the settings that it ran with.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.report.markup import Markup, element
from app.report.record import SessionRecord, as_number, as_table, as_text, dig

MANY_DROPPED = 0.01
"""Share of dropped frames from which a session's timing is doubtful."""


def n_shown(record: SessionRecord) -> int:
    """Count the stimuli that the session presented itself."""
    return int(max(0.0, record.number("stimuli", "shown") or 0.0))


def was_seen(record: SessionRecord) -> bool:
    """Whether a window showed any of them."""
    return bool(record.number("stimuli", "stamped_at_flip"))


def dropped(record: SessionRecord) -> tuple[int, int]:
    """Count dropped frames, and all that were due."""
    n_dropped = int(max(0.0, record.number("stimuli", "display", "n_dropped") or 0.0))
    n_frames = int(max(0.0, record.number("stimuli", "display", "n_frames") or 0.0))
    return n_dropped, n_frames + n_dropped


def presentation(record: SessionRecord) -> Markup | None:
    """The part of the page; None for a session that presented nothing itself."""
    if not n_shown(record):
        return None
    rows = [
        element("tr", element("th", name), element("td", element("bdi", value)))
        for name, value in _rows(record)
    ]
    return element(
        "section",
        element("h2", "The stimuli on the screen"),
        element("p", _hint(record), cls="hint"),
        element("div", element("table", element("tbody", rows), cls="keys"), cls="chart"),
    )


def _hint(record: SessionRecord) -> str:
    if not was_seen(record):
        return (
            "No stimulus window was open: every marker stands at the onset that was planned. A "
            "virtual headset needs no more; a person would have seen nothing."
        )
    return (
        "A marker is stamped at the flip: when its picture was handed to the screen. The screen's "
        "own delay after that is what a photodiode measures and stimulus_offset_ms takes out."
    )


def _rows(record: SessionRecord) -> Iterator[tuple[str, str]]:
    at_flip = int(record.number("stimuli", "stamped_at_flip") or 0)
    planned = int(record.number("stimuli", "stamped_as_planned") or 0)
    yield "stimuli presented", f"{n_shown(record)}"
    yield "stamped at the flip", f"{at_flip}"
    yield "stamped as planned", f"{planned}"
    unseen = record.number("stimuli", "unseen") or 0
    if unseen:
        yield "not flipped in time", f"{unseen:.0f}"
    delay = tuple(record.number("stimuli", "flip_after_plan_ms", key) for key in ("p50", "p95"))
    if delay[0] is not None and delay[1] is not None:
        yield "flip after plan", f"{delay[0]:.1f} ms median, 95 % within {delay[1]:.1f} ms"
    if record.table("stimuli", "display"):
        yield from _display(record)
    yield from _settings(record)


def _display(record: SessionRecord) -> Iterator[tuple[str, str]]:
    table = record.table("stimuli", "display")
    n_dropped, n_due = dropped(record)
    yield "frames presented", f"{n_due - n_dropped}"
    share = f" ({100 * n_dropped / n_due:.2f} % of those due)" if n_due else ""
    yield "frames dropped", f"{n_dropped}{share}"
    worst = as_number(table.get("worst_gap_ms"))
    if worst:
        yield "longest time between two frames", f"{worst:.1f} ms"
    nominal, measured = as_number(table.get("nominal_hz")), as_number(table.get("refresh_hz"))
    if nominal:
        found = "not measured" if measured is None else f"{measured:.2f} Hz measured"
        yield "refresh rate", f"{nominal:g} Hz stated, {found}"
    yield "frames follow", as_text(table.get("method"), "-")


def _settings(record: SessionRecord) -> Iterator[tuple[str, str]]:
    stimuli = as_table(record.settings.get("stimuli"))
    corner, side = (
        as_text(stimuli.get("photodiode"), "off"),
        as_number(stimuli.get("photodiode_px")),
    )
    size = f", {side:.0f} pixels a side" if side and corner != "off" else ""
    yield "photodiode square", f"{corner}{size}"
    offset = as_number(dig(record.settings, "markers", "stimulus_offset_ms"))
    yield "stimulus_offset_ms", f"{offset or 0.0:g} ms"
