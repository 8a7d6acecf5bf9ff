"""The plots of a report, each a function from a record to one SVG (or None: nothing to show).

Owns what is plotted and how chance is drawn in; the geometry is `svg`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

from app.accuracy import N_FIRST, confidence_sequence, shuffled_chance
from app.report.findings import percent, plural
from app.report.markup import Markup, clean
from app.report.record import STAGES, Event, SessionRecord, as_number, as_table
from app.report.svg import (
    WIDTH,
    Scale,
    dot,
    drawing,
    line,
    rect,
    text,
    ticks,
    x_axis,
    y_axis,
)

Z_95 = 1.959964
MAX_BINS = 20
REFUSALS = (
    "artifact",
    "gap",
    "settling",
    "late",
    "no_data",
    "future",
    "overload",
    "failed",
    "invalid",
    "ignored",
)
"""Reasons in the order in which they are listed; unknown ones follow."""


def accuracy(record: SessionRecord) -> Markup | None:
    """Draw top-1 and top-5 with their confidence sequences against chance."""
    n, candidates = record.number("accuracy", "n"), record.number("accuracy", "n_candidates")
    if not n or n < N_FIRST or not candidates or candidates < 1:
        return None
    rows = [("top-1", record.number("accuracy", "n_correct"), _chance(record, candidates, 1))]
    if candidates > 5:
        n_top5 = record.number("accuracy", "n_top5")
        rows.append(("top-5", n_top5, _chance(record, candidates, 5)))
    known = [
        (name, min(int(k), int(n)), chance) for name, k, chance in rows if k is not None and k >= 0
    ]
    intervals = [confidence_sequence(k, int(n)) for _, k, _ in known]
    highest = max((max(high, row[2]) for (_, high), row in zip(intervals, known, strict=True)))
    marks = tuple(v for v in ticks(min(1.0, highest * 1.05)) if v <= 1.0 + 1e-9)
    scale = Scale(0, marks[-1], 62, WIDTH - 70)
    bottom = 20 + 50.0 * len(known)
    parts = x_axis(
        scale,
        marks,
        top=10,
        bottom=bottom,
        form=lambda v: f"{100 * v:g} %",
        title=f"identified among {candidates:.0f}",
    )
    for row, (name, k, chance) in enumerate(known):
        parts += _accuracy_row(
            scale, 40 + 50.0 * row, name, k=k, n=int(n), chance=chance, interval=intervals[row]
        )
    return drawing(bottom + 42, parts, label="Identification accuracy against chance")


def _chance(record: SessionRecord, n_candidates: float, n_best: int) -> float:
    """What the same answers score with the labels shuffled; at least what blind guessing does."""
    scored = [e for e in record.decoded if e.rank is not None and e.top]
    answers = [{label for label, _ in e.top[:n_best]} for e in scored]
    return max(n_best / n_candidates, shuffled_chance([e.label for e in scored], answers))


def _accuracy_row(
    scale: Scale,
    y: float,
    name: str,
    *,
    k: int,
    n: int,
    chance: float,
    interval: tuple[float, float],
) -> list[Markup]:
    low, high = interval
    state = "good" if low > chance else "quiet"
    tip = f"{name}: {k} of {n}, {percent(k / n)} ({percent(low)} to {percent(high)})"
    return [
        text(52, y + 4, name, "label", anchor="end"),
        line(scale(low), y, scale(high), y, f"range {state}"),
        line(scale(low), y - 6, scale(low), y + 6, f"range {state}"),
        line(scale(high), y - 6, scale(high), y + 6, f"range {state}"),
        dot(scale(k / n), y, 6, f"point {state}", tip=tip),
        line(scale(chance), y - 17, scale(chance), y + 17, "chance"),
        text(scale(chance) + 4, y - 10, f"chance {percent(chance)}", "tick"),
        text(WIDTH - 4, y + 4, percent(k / n), "value", anchor="end"),
    ]


def outcomes(record: SessionRecord) -> Markup | None:
    """Draw how the markers ended, one bar a reason."""
    table = record.table("outcomes")
    counts = {clean(str(k)): as_number(v) or 0.0 for k, v in table.items() if as_number(v)}
    if not counts:
        return None
    order = [n for n in ("decoded", *REFUSALS) if n in counts]
    order += sorted(set(counts) - set(order))
    scale = Scale(0, max(counts.values()), 96, WIDTH - 90)
    total = sum(counts.values())
    parts: list[Markup] = []
    for row, name in enumerate(order):
        y = 10 + 30.0 * row
        kind = "bar good" if name == "decoded" else "bar refused"
        parts += [
            text(86, y + 15, name.replace("_", " ")[:16], "label", anchor="end"),
            rect(scale.start, y, scale(counts[name]) - scale.start, 20, kind),
            text(
                scale(counts[name]) + 7,
                y + 15,
                f"{counts[name]:.0f} ({percent(counts[name] / total)})",
                "value",
            ),
        ]
    return drawing(20 + 30.0 * len(order), parts, label="Outcomes of the markers")


def latency(record: SessionRecord) -> Markup | None:
    """Draw the stages as stacked bars, p50 and p95, with the measured total as a tick."""
    sums = {
        p: sum(record.number("latency_ms", stage, p) or 0.0 for stage in STAGES)
        for p in ("p50", "p95")
    }
    totals = {p: record.number("latency_ms", "total_after_epoch", p) or 0.0 for p in sums}
    highest = max(*sums.values(), *totals.values())
    if not highest > 0:
        return None
    marks = ticks(highest)
    scale = Scale(0, marks[-1], 46, WIDTH - 64)
    parts = x_axis(scale, marks, top=30, bottom=126, title="ms after the epoch's last sample")
    parts += _legend()
    for row, p in enumerate(("p50", "p95")):
        y = 38 + 46.0 * row
        parts.append(text(36, y + 20, p, "label", anchor="end"))
        left = 0.0
        for number, stage in enumerate(STAGES):
            value = max(record.number("latency_ms", stage, p) or 0.0, 0.0)
            tip = f"{stage}: {value:.1f} ms ({p})"
            width = scale(left + value) - scale(left)
            parts.append(rect(scale(left), y, width, 30, f"stage s{number}", tip=tip))
            left += value
        parts.append(line(scale(totals[p]), y - 4, scale(totals[p]), y + 34, "total"))
        end = scale(max(left, totals[p]))
        parts.append(text(end + 6, y + 20, f"{totals[p]:.0f} ms", "value"))
    return drawing(170, parts, label="Latency by stage")


def _legend() -> list[Markup]:
    parts, x = [], 46.0
    for number, stage in enumerate(STAGES):
        parts.append(rect(x, 6, 11, 11, f"stage s{number}"))
        parts.append(text(x + 16, 16, stage, "tick"))
        x += 30 + 6.6 * len(stage)
    return parts


def ranks(record: SessionRecord) -> Markup | None:
    """Draw the true label's rank as a histogram, with what guessing would give."""
    candidates = int(record.number("accuracy", "n_candidates") or 0)
    found = [e.rank for e in record.decoded if e.rank is not None and e.rank <= candidates]
    if candidates < 2 or not found:
        return None
    n_bins = min(MAX_BINS, candidates)
    edges = [round(i * candidates / n_bins) for i in range(n_bins + 1)]
    counts = [sum(low < rank <= high for rank in found) for low, high in pairwise(edges)]
    shares = [(high - low) / candidates for low, high in pairwise(edges)]
    return _rank_drawing(edges, counts, shares, n=len(found))


def _rank_drawing(edges: list[int], counts: list[int], shares: list[float], *, n: int) -> Markup:
    spread = [Z_95 * math.sqrt(n * share * (1 - share)) for share in shares]
    highest = max(*counts, *(n * share + s for share, s in zip(shares, spread, strict=True)))
    marks = ticks(highest, count=4)
    x, y = Scale(0, edges[-1], 40, WIDTH - 14), Scale(0, marks[-1], 172, 16)
    parts = y_axis(y, marks, left=40, right=WIDTH - 14)
    for i, count in enumerate(counts):
        left, right = x(edges[i]), x(edges[i + 1])
        expected = n * shares[i]
        tip = f"ranks {edges[i] + 1} to {edges[i + 1]}: {count} (guessing: {expected:.1f})"
        high, low = y(expected + spread[i]), y(max(expected - spread[i], 0))
        parts.append(rect(left, high, right - left, low - high, "band"))
        parts.append(
            rect(left + 1, y(count), right - left - 2, y(0) - y(count), "bar good", tip=tip)
        )
        parts.append(line(left, y(expected), right, y(expected), "chance"))
    step = max(1, len(edges) // 5)
    for edge in edges[::step]:
        parts.append(text(x(edge), 187, str(max(edge, 1)), "tick", anchor="middle"))
    parts.append(
        text(
            (40 + WIDTH) / 2,
            206,
            "rank of the true label (1 is right); dashed: even ranks, with their 95 % band",
            "axis",
            anchor="middle",
        )
    )
    return drawing(214, parts, label="Ranks of the true labels")


def timeline(record: SessionRecord) -> Markup | None:
    """Draw every marker at its time, a lane an outcome, and the gaps as bands."""
    if not record.events:
        return None
    start = record.events[0].t_onset
    marks = ticks(max(record.events[-1].t_onset - start, 1.0), count=8)
    lanes = _lanes(record.events)
    width, height = 2 * WIDTH, 18 + 26.0 * len(lanes)
    scale = Scale(0, marks[-1], 110, width - 20)
    parts: list[Markup] = []
    for low, high in gap_times(record):
        left = scale(low - start)
        band = max(scale(high - start) - left, 3.0)
        parts.append(rect(left, 6, band, height - 12, "gap", tip="gap in the data"))
    first = "window" if record.is_free else "marker"
    parts += x_axis(scale, marks, top=6, bottom=height - 6, title=f"s after the first {first}")
    for row, (name, events) in enumerate(lanes.items()):
        y = 22 + 26.0 * row
        kind = {"right": "point good", "decoded": "point quiet"}.get(name, "point refused")
        parts.append(text(100, y + 4, name.replace("_", " ")[:16], "label", anchor="end"))
        for event in events:
            tip = f"{event.t_onset - start:.2f} s: {event.label}" + (
                "" if event.rank is None else f", rank {event.rank}"
            )
            parts.append(dot(scale(event.t_onset - start), y, 4.5, kind, tip=tip))
    return drawing(height + 34, parts, label="Outcomes over time", width=width)


def gap_times(record: SessionRecord) -> list[tuple[float, float]]:
    """Start and end of the gaps, s on the events' clock; empty where only their count is known."""
    gaps = record.summary.get("gaps")
    found = []
    for gap in gaps if isinstance(gaps, list) else ():
        table = as_table(gap)
        begin, end = as_number(table.get("start")), as_number(table.get("end"))
        if begin is not None and end is not None and end >= begin:
            found.append((begin, end))
    return found


def _lanes(events: tuple[Event, ...]) -> dict[str, list[Event]]:
    named = [("right" if e.is_decoded and e.rank == 1 else e.outcome, e) for e in events]
    present = Counter(name for name, _ in named)
    order = [n for n in ("right", "decoded", *REFUSALS) if n in present]
    order += sorted(set(present) - set(order))
    return {name: [event for n, event in named if n == name] for name in order}


def caption_of_latency(record: SessionRecord) -> str:
    """Say how many pictures the latency figures stand on."""
    n = record.number("latency_ms", "total_after_epoch", "n")
    if n is None:
        return ""
    return (
        f"{plural(n, 'picture')}. The tick is the measured total; the stages' p95 do not add up "
        "to the total's, because not all are slow at once."
    )
