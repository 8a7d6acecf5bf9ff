"""The part of a report on repetitions: what several looks at one stimulus say together.

Owns the table; the figures are the summary's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app import formatting
from app.accuracy import INTERVAL, N_FIRST
from app.report.findings import percent
from app.report.markup import Markup, element
from app.report.record import SessionRecord, as_number, as_table


def repetitions(record: SessionRecord) -> Markup | None:
    """Draw the score by number of repetitions; None where no stimulus came twice."""
    given = record.summary.get("repetitions")
    groups = [as_table(each) for each in given] if isinstance(given, list) else []
    if not groups:
        return None
    rows = [{"n_repetitions": 1, **record.table("accuracy")}, *groups]
    names = ("repetitions", "groups", "right", "95 % interval", "chance", "p")
    head = element("tr", [element("th", name) for name in names])
    body = [element("tr", [element("td", word) for word in _words(row)]) for row in rows]
    return element(
        "section",
        element("h2", "What repetitions say together"),
        element(
            "p",
            "Evidence of successive trials with the same marker label, summed and ranked anew. "
            "Each trial counts in one group of a size, so groups are trials of their own; "
            f"interval: {INTERVAL}.",
            cls="hint",
        ),
        element("table", element("thead", head), element("tbody", body)),
    )


def _words(row: Mapping[str, Any]) -> Iterator[str]:
    keys = ("n_repetitions", "n", "n_correct", "low", "high", "chance", "p_value")
    size, n, right, low, high, chance, p_value = (as_number(row.get(key)) for key in keys)
    few = n is None or n < N_FIRST
    yield "-" if size is None else f"{size:.0f}"
    yield "-" if n is None else f"{n:.0f}"
    yield percent(right / n) if n and right is not None else "-"
    yield f"{percent(low)} to {percent(high)}" if low is not None and high is not None else "-"
    yield "-" if chance is None else percent(chance)
    yield (
        "too few"
        if few
        else "-"
        if p_value is None
        else formatting.p_value(p_value).removeprefix("p ").removeprefix("= ")
    )
