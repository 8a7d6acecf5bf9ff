"""A calibration for a person: one HTML file with its plots and plain sentences.

Owns `calibration.html`; uses the session report's template, mark-up and drawing. Knows nothing of
the running flow: it is given the final view. The session's own `report.html` stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from string import Template

from app import formatting
from app.calibration.files import REPORT_NAME
from app.calibration.results import CalibrationResult, LeakCheck, MethodScore, Verdict
from app.calibration.steps import FlowView
from app.errors import FolderError
from app.report.markup import Markup, element, escape, join
from app.report.svg import (
    WIDTH,
    Scale,
    dot,
    drawing,
    line,
    text,
    ticks,
    x_axis,
    y_axis,
)
from configs.private import open_private

_TONES = {Verdict.FOUND: "good", Verdict.NOTHING: "warning", Verdict.LEAK: "warning"}


def write_report(view: FlowView, *, subject: str) -> Path:
    """Write `calibration.html` into the calibration's folder.

    Raises
    ------
    FolderError
        It cannot be written.
    """
    folder = view.out or Path()
    path, partial = folder / REPORT_NAME, folder / f"{REPORT_NAME}.partial"
    try:
        with open_private(partial, "w", encoding="utf-8") as stream:
            stream.write(render(view, subject=subject))
        partial.replace(path)
    except OSError as error:
        raise FolderError(
            f"{path}: cannot be written ({error.strerror}): make room or allow writing there."
        ) from None
    return path


def render(view: FlowView, *, subject: str) -> str:
    """Return the whole page."""
    result = view.result
    parts: list[Markup | None] = [_header(view, subject)]
    if result is not None:
        parts += [_findings(view, result), _charts(result), _method_table(result)]
    parts += [_concepts(view), _footer()]
    template = resources.files("app.report").joinpath("template.html").read_text(encoding="utf-8")
    title = escape(f"Phosphene calibration of {subject}")
    return Template(template).substitute(title=title, body=join(parts))


def _header(view: FlowView, subject: str) -> Markup:
    counts, result = view.counts, view.result
    facts = [
        ("subject", subject),
        ("epochs", f"{counts.n_good} good, {counts.n_refused} refused"),
        ("classes", str(len(counts.good))),
        ("adapter", view.adapter_id or "none stored"),
    ]
    if result is not None and result.minutes:
        facts.insert(1, ("length", f"{result.minutes:.1f} min"))
    shown = [
        element("span", element("b", name), " ", element("bdi", value)) for name, value in facts
    ]
    folder = view.out.resolve().name if view.out is not None else ""
    return element(
        "header",
        element("p", "Phosphene calibration", cls="eyebrow"),
        element("h1", element("bdi", folder)),
        element("p", shown, cls="facts"),
    )


def _findings(view: FlowView, result: CalibrationResult) -> Markup:
    parts = [_finding(result.headline, _TONES[result.verdict])]
    leak = result.leak
    if leak is not None and leak.sentence:
        parts.append(_finding(leak.sentence, "warning" if leak.is_leak else "good"))
    parts += [
        _finding(sentence, "note")
        for sentence in (result.reason, *result.classes, result.curve_sentence)
        if sentence
    ]
    if view.overridden:
        parts.append(_finding("The signal check was not green and was overridden.", "warning"))
    parts += [_finding(sentence, "warning") for sentence in result.warnings]
    if not result.may_be_saved:
        parts.append(
            _finding("No adapter was stored; the epochs are kept and can be used again.", "note")
        )
    return join(parts)


def _finding(sentence: str, tone: str) -> Markup:
    return element("p", formatting.sentence(sentence), cls=f"finding {tone}")


def _charts(result: CalibrationResult) -> Markup:
    charts = [
        ("Methods against chance, cross-validated", score_plot(result), result.reason),
        ("More minutes", curve_plot(result), result.curve_sentence),
        ("Loss", loss_plot(result), "Loss of the chosen method over its passes."),
    ]
    return element(
        "section",
        element("h2", "What it is worth"),
        element(
            "div",
            [
                element(
                    "div",
                    element("h3", title),
                    plot,
                    element("p", formatting.sentence(hint), cls="hint"),
                    cls="chart",
                )
                for title, plot, hint in charts
                if plot is not None
            ],
            cls="charts",
        ),
    )


def score_plot(result: CalibrationResult) -> Markup | None:
    """Draw every method's accuracy with its interval, and the decoder before onset, with chance."""
    rows: list[tuple[str, MethodScore | LeakCheck, str]] = []
    for each in result.scores:
        # Bars and verdict agree: nothing is green where nothing was found.
        is_found = result.verdict is Verdict.FOUND and each.low > each.chance
        state = "good" if is_found else "quiet"
        rows.append(("▸ " + each.name if each.chosen else each.name, each, state))
    if result.leak is not None:
        rows.append(("before onset", result.leak, "refused" if result.leak.is_leak else "quiet"))
    if not rows:
        return None
    highest = max(
        max(s.high if isinstance(s, MethodScore) else s.accuracy, s.chance) for _, s, _ in rows
    )
    marks = tuple(v for v in ticks(min(1.0, highest * 1.1)) if v <= 1.0 + 1e-9)
    # A name stands above its line: those of methods are sentences, and none is cut.
    scale, bottom = Scale(0, marks[-1], 16, WIDTH - 70), 10 + 48.0 * len(rows)
    parts = x_axis(scale, marks, top=8, bottom=bottom, form=lambda v: f"{100 * v:g} %")
    for number, (name, score, state) in enumerate(rows):
        y = 42 + 48.0 * number
        parts.append(text(4, y - 15, name, "name"))
        if isinstance(score, MethodScore):
            parts.append(line(scale(score.low), y, scale(score.high), y, f"range {state}"))
        tip = f"{name}: {formatting.percent(score.accuracy)}"
        parts.append(dot(scale(score.accuracy), y, 6, f"point {state}", tip=tip))
        parts.append(line(scale(score.chance), y - 10, scale(score.chance), y + 10, "chance"))
        value = formatting.percent(score.accuracy)
        parts.append(text(WIDTH - 4, y + 4, value, "value", anchor="end"))
    return drawing(bottom + 26, parts, label="Accuracy of each method against chance")


def curve_plot(result: CalibrationResult) -> Markup | None:
    """Draw accuracy over minutes of calibration, with chance."""
    if len(result.curve) < 2:
        return None
    chance = result.picked.chance if result.picked is not None else 0.0
    x_marks = ticks(max(minutes for minutes, _ in result.curve))
    y_marks = ticks(max(chance, *(value for _, value in result.curve)))
    x, y = Scale(0, x_marks[-1], 56, WIDTH - 16), Scale(0, y_marks[-1], 190, 14)
    parts = y_axis(y, y_marks, left=56, right=WIDTH - 16, form=lambda v: f"{100 * v:g} %")
    parts += x_axis(x, x_marks, top=14, bottom=190, title="minutes of calibration")
    parts.append(line(x.start, y(chance), x.stop, y(chance), "chance"))
    points = [(x(minutes), y(value)) for minutes, value in result.curve]
    for (x1, y1), (x2, y2) in pairwise(points):
        parts.append(line(x1, y1, x2, y2, "range good"))
    for (px, py), (minutes, value) in zip(points, result.curve, strict=True):
        tip = f"{minutes:g} min: {formatting.percent(value)}"
        parts.append(dot(px, py, 5, "point good", tip=tip))
    return drawing(232, parts, label="Accuracy over minutes of calibration")


def loss_plot(result: CalibrationResult) -> Markup | None:
    """Draw the loss over passes."""
    if len(result.losses) < 2:
        return None
    x_marks = ticks(max(at for at, _ in result.losses))
    y_marks = ticks(max(loss for _, loss in result.losses))
    x, y = Scale(0, x_marks[-1], 56, WIDTH - 16), Scale(0, y_marks[-1], 190, 14)
    parts = y_axis(y, y_marks, left=56, right=WIDTH - 16)
    parts += x_axis(x, x_marks, top=14, bottom=190, title="passes")
    points = [(x(at), y(loss)) for at, loss in result.losses]
    for (x1, y1), (x2, y2) in pairwise(points):
        parts.append(line(x1, y1, x2, y2, "range good"))
    return drawing(232, parts, label="Loss over passes")


def _method_table(result: CalibrationResult) -> Markup:
    head = ("method", "accuracy", "95 % interval", "chance", "p", "epochs", "")
    rows = [
        (
            f"{score.name} (picked)" if score.chosen else score.name,
            formatting.percent(score.accuracy),
            f"{100 * score.low:.1f}–{100 * score.high:.1f} %",
            formatting.percent(score.chance),
            "" if score.p_value is None else formatting.p_value(score.p_value),
            str(score.n),
            score.note,
        )
        for score in result.scores
    ]
    return _table("Every method that was tried", head, rows)


def _concepts(view: FlowView) -> Markup:
    counts = view.counts
    right = {} if view.result is None else view.result.by_concept
    rows = [
        (
            formatting.label(name),
            str(good),
            str(counts.refused_by_concept.get(name, 0)),
            "" if name not in right else f"{right[name][0]} of {right[name][1]}",
        )
        for name, good in sorted(counts.good.items(), key=lambda item: (-item[1], item[0]))
    ]
    return _table("Epochs by concept", ("concept", "good", "refused", "named right"), rows)


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Markup:
    return element(
        "details",
        element("summary", title),
        element(
            "table",
            element("tr", [element("th", name) for name in head]),
            [element("tr", [element("td", cell) for cell in row]) for row in rows],
        ),
    )


def _footer() -> Markup:
    return element(
        "footer",
        "Scores are cross-validated over stimuli and blocks of time: no epoch of the same minute "
        "teaches and tests. They say how this person, these electrodes and this hour were decoded; "
        "another day may differ. A category or a picture of the gallery is named, never a thought.",
    )
