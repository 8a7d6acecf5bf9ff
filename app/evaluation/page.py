"""The evaluation as one HTML file that loads nothing.

Owns what the page's template is given: numbers as text, pictures inlined, the curve drawn. Foreign
text is escaped by Jinja.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from app.evaluation.figures import SetFigures
from app.evaluation.joined import JoinedSessions
from app.evaluation.sets import SessionPictures
from app.report.pictures import data_uri
from models.evaluation.checks import ALPHA
from models.evaluation.measuring import Pictures
from models.evaluation.networks import Network

STRIP = 5


def render(
    *,
    title: str,
    version: str,
    checks: Sequence[Mapping[str, Any]],
    sets: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    absent: Sequence[str],
    networks: Sequence[Network],
    choice: Mapping[str, Any] | None = None,
    stamp: str = "",
) -> str:
    """Return the page; `sets` are `set_of`'s."""
    from jinja2 import Environment, StrictUndefined

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    env.filters["figure"], env.filters["p"] = _figure, _p
    text = resources.files("app.evaluation").joinpath("page.html").read_text(encoding="utf-8")
    return env.from_string(text).render(
        title=title,
        version=version,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        intro="Arrows say which way is better. Every interval is over stimuli; chance deals the "
        "same drawings out among what was shown.",
        stamp=stamp,
        alpha=ALPHA,
        checks=checks,
        sets=sets,
        comparisons=comparisons,
        choice=choice,
        absent=absent,
        networks=networks,
    )


def set_of(
    found: SetFigures, pictures: Pictures, facts: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the page shows of one set."""
    from markupsafe import Markup

    rows = {
        name: [_picture(pictures, item) for item in items] for name, items in found.rows.items()
    }
    points = [] if facts is None else facts["repetitions"]
    _, *baselines = next(iter(found.scores.values()))["baselines"]  # the first is chance
    return found.to_json() | {
        "baselines": baselines,
        "judged_by": found.judged_by,
        "facts": facts,
        "pictures": rows,
        "has_strips": any(each["strip"] for row in rows.values() for each in row),
        "curve": Markup(_curve(points)) if len(points) > 1 else "",  # noqa: S704 - numbers only
    }


def _picture(pictures: Pictures, item: int) -> dict[str, Any]:
    if isinstance(pictures, JoinedSessions):
        return _picture(*pictures.place(item))
    key = pictures.stimuli[item]
    strip = []
    label = key
    if isinstance(pictures, SessionPictures):
        event = pictures.events[item]
        label = f"{event.label} (rank {event.rank})" if event.rank else event.label
        for name, _ in event.top[:STRIP]:
            found = pictures.look_up(name)
            if found is not None:
                strip.append({"uri": data_uri(found), "label": name})
    else:
        label = key.rsplit("/", 1)[-1]
    return {
        "shown": data_uri(pictures.shown(key)),
        "drawn": data_uri(pictures.drawn(item, 0)),
        "label": label,
        "strip": strip,
    }


def _figure(value: object, digits: int = 3) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0f}"


def _p(value: object) -> str:
    if value == 0:
        return "below 1e-300"
    return f"{value:.2g}" if isinstance(value, float) else "–"


def _curve(points: Sequence[Mapping[str, float]]) -> str:
    """Accuracy by number of averaged trials, as SVG."""
    width, height, left, bottom, top = 460, 190, 46, 30, 12
    step = (width - left - 20) / max(1, len(points) - 1)
    wide = height - bottom - top

    def y(share: float) -> float:
        return top + wide * (1 - share)

    places = [(left + k * step, y(p["accuracy"])) for k, p in enumerate(points)]
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        'aria-label="accuracy by number of averaged trials">'
    ]
    for share in (0.0, 0.5, 1.0):
        parts.append(
            f'<line x1="{left}" x2="{width - 12}" y1="{y(share):.1f}" y2="{y(share):.1f}" '
            f'stroke="var(--rule)"/><text x="{left - 6}" y="{y(share) + 4:.1f}" '
            f'text-anchor="end">{share:.0%}</text>'
        )
    chance = y(points[0]["chance"])
    parts.append(
        f'<line x1="{left}" x2="{width - 12}" y1="{chance:.1f}" y2="{chance:.1f}" '
        'stroke="var(--note)" stroke-dasharray="4 4"/>'
    )
    parts.append(f'<polyline points="{line}" fill="none" stroke="var(--good)" stroke-width="2"/>')
    for (px, py), point in zip(places, points, strict=True):
        parts.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="var(--good)"/>'
            f'<text x="{px:.1f}" y="{height - 10}" text-anchor="middle">{point["n"]:.0f}</text>'
            f'<text x="{px:.1f}" y="{py - 8:.1f}" text-anchor="middle">'
            f"{point['accuracy']:.0%}</text>"
        )
    return "".join(parts) + "</svg>"
