"""The part of a report on classes of events: how well each is told from the others.

Owns the table of confusions and the sentence over it; the figures are the summary's.
"""

from __future__ import annotations

from app.report.findings import Finding, Tone, percent
from app.report.markup import Markup, element
from app.report.record import SessionRecord, as_number, as_table, as_text


def class_findings(record: SessionRecord) -> tuple[Finding, ...]:
    """Say what plain accuracy hides: rare classes, and whether confidence can be believed."""
    balanced = record.number("balanced_accuracy")
    chance = record.number("balanced_chance")
    if balanced is None or chance is None:
        return ()
    area, error = record.number("auc"), record.number("calibration_error")
    share, name = record.number("majority", "share"), as_text(record.table("majority").get("class"))
    right, n = record.number("accuracy", "n_correct"), record.number("accuracy", "n")
    words = f"Over the classes alike {percent(balanced)} are right (chance {percent(chance)})"
    words += "" if area is None else f", area under the curve {area:.2f} (chance 0.50)"
    found = [Finding(Tone.NOTE, f"{words}.")]
    if share is not None and right is not None and n and share > 1.2 * chance:
        tone = Tone.WARNING if right / n <= share else Tone.NOTE
        always = f"Always answering {name} would be right in {percent(share)} of the trials"
        found.append(Finding(tone, f"{always}; the decoder is in {percent(right / n)}."))
    if error is not None:
        found.append(
            Finding(
                Tone.NOTE,
                f"Confidence is off by {percent(error)} on average (expected calibration error).",
            )
        )
    return tuple(found)


def confusions(record: SessionRecord) -> Markup | None:
    """Draw the table of what was shown against what was decoded; None without classes."""
    names = [as_text(name) for name in _items(record.summary.get("classes"))]
    rows = [_items(row) for row in _items(record.summary.get("confusion"))]
    if not names or len(rows) != len(names):
        return None
    areas = as_table(record.summary.get("auc_by_class"))
    head = element(
        "tr",
        element("th", "shown"),
        [element("th", element("bdi", name)) for name in names],
        element("th", "right"),
        element("th", "AUC"),
    )
    body = [
        element(
            "tr",
            element("th", element("bdi", name)),
            [_cell(count, is_right=k == own) for k, count in enumerate(row)],
            element("td", _share(row, own)),
            element("td", _area(areas.get(name))),
        )
        for own, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    return element(
        "section",
        element("h2", "Which class was taken for which"),
        element("p", "A row is what was shown, a column what was decoded; trials.", cls="hint"),
        element("table", element("thead", head), element("tbody", body), cls="confusion"),
    )


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _cell(count: object, *, is_right: bool) -> Markup:
    number = as_number(count) or 0.0
    return element("td", element("b", f"{number:.0f}") if is_right else f"{number:.0f}")


def _share(row: list[object], own: int) -> str:
    counts = [as_number(each) or 0.0 for each in row]
    total = sum(counts)
    return percent(counts[own] / total) if total and own < len(counts) else "-"


def _area(value: object) -> str:
    number = as_number(value)
    return "-" if number is None else f"{number:.2f}"
