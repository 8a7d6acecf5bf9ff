"""The parts of a report, in the order of the page.

Owns wording and layout of each part; numbers come from the record, judgement from `findings`,
drawings from `plots`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.accuracy import INTERVAL, N_FIRST
from app.report import plots
from app.report.classes import class_findings
from app.report.findings import Finding, find, n_gaps, percent, plural
from app.report.markup import Markup, clean, element, join
from app.report.pictures import Stimuli, data_uri, decoded_uri
from app.report.record import Event, SessionRecord, as_number, as_table, as_text, dig

MAX_PICTURES = 240
SHOWN_GUESSES = 3


def header(record: SessionRecord) -> Markup:
    """Title, who and when."""
    run = as_table(record.settings.get("run"))
    started = as_text(run.get("started")) or as_text(run.get("date"))
    duration = record.number("duration_s")
    facts = [
        ("subject", as_text(record.settings.get("subject"))),
        ("preset", as_text(record.settings.get("preset"))),
        ("system", as_text(dig(record.settings, "decoder", "system"))),
        ("started", started),
        ("length", "" if duration is None else _duration(duration)),
        ("stream", as_text(dig(record.settings, "streams", "eeg", "name"))),
    ]
    shown = [
        element("span", element("b", name), " ", element("bdi", value))
        for name, value in facts
        if value
    ]
    return element(
        "header",
        element("p", "Phosphene session", cls="eyebrow"),
        element("h1", element("bdi", record.folder.resolve().name)),
        element("p", shown, cls="facts"),
    )


def key_figures(record: SessionRecord) -> Markup:
    """The five numbers that a person asks for first."""
    n, k = record.number("accuracy", "n"), record.number("accuracy", "n_correct")
    chance = record.number("accuracy", "chance")
    decoded = as_number(record.table("outcomes").get("decoded")) or 0
    markers = record.number("markers") or 0
    p50 = record.number("latency_ms", "total_after_epoch", "p50")
    p95 = record.number("latency_ms", "total_after_epoch", "p95")
    lost = record.number("samples", "lost") or 0
    scored = bool(n) and k is not None and n is not None
    if record.is_free:
        markers -= as_number(record.table("outcomes").get("ignored")) or 0
    scores = [
        (
            "identified",
            percent(k / n) if scored and n and k is not None else "-",
            _against_chance(n, chance) if scored else "not scored",
        ),
        (
            "mean rank",
            _or_dash(record.number("accuracy", "mean_rank"), ".1f"),
            _of_candidates(record),
        ),
    ]
    figures = [
        ("pictures", f"{decoded:.0f}", f"of {plural(markers, _unit(record))}"),
        *([] if record.is_free else scores),
        (
            "epoch to picture",
            "-" if p50 is None else f"{p50:.0f} ms",
            "" if p95 is None else f"median; 95 % within {p95:.0f} ms",
        ),
        ("lost samples", f"{lost:.0f}", plural(n_gaps(record), "gap")),
    ]
    return element(
        "section",
        [
            element(
                "div",
                element("span", name, cls="name"),
                element("strong", value),
                element("span", note, cls="note"),
                cls="figure",
            )
            for name, value, note in figures
        ],
        cls="figures",
    )


def findings(record: SessionRecord) -> Markup:
    """Plain sentences, the verdict about chance first."""
    verdict, *rest = find(record)
    found = (verdict, *class_findings(record), *rest)
    return element("section", [_finding(f) for f in found], cls="findings")


def _finding(finding: Finding) -> Markup:
    return element("p", finding.text, cls=f"finding {finding.tone}")


def pictures(record: SessionRecord, stimuli: Stimuli) -> Markup | None:
    """Decoded pictures beside their stimuli, all of them in order of onset."""
    tests = tuple(event for event in record.decoded if not event.learnt)
    events = tests or record.decoded
    if not events:
        return None
    shown = events[:MAX_PICTURES]
    note = "All of them" if len(shown) == len(events) else f"The first {len(shown)}"
    if tests and len(tests) < len(record.decoded):
        note += " that the adapter did not learn from"
    cells = list(_cells(record, shown, stimuli))
    if record.is_free:
        title = "What was decoded"
        how = (
            f"A picture of each window, drawn from the {_signal(record)} alone, and the seconds "
            "after the first one. What was looked at is not known here."
        )
    else:
        title = "What was shown, and what was decoded"
        how = (
            f"Left the stimulus, right the picture drawn from the {_signal(record)} alone; the "
            "badge is the true label's place in the decoder's list."
        )
    return element(
        "section",
        element("h2", title),
        element(
            "p",
            f"{note}, in order of onset, none picked. {how} Shrunk for this page: the originals "
            "are in images/.",
            cls="hint",
        ),
        element("div", cells, cls="grid"),
    )


def _unit(record: SessionRecord) -> str:
    """What is decoded, one by one."""
    return "window" if record.is_free else "marker"


def _signal(record: SessionRecord) -> str:
    """What was decoded, in the stream's word for it."""
    kind = as_text(dig(record.settings, "streams", "eeg", "type"))
    return "EEG" if kind.upper() in ("", "EEG") else kind


def _cells(record: SessionRecord, events: Sequence[Event], stimuli: Stimuli) -> Iterator[Markup]:
    cache: dict[str, str | None] = {}
    for event in events:
        if event.label not in cache:
            pixels = stimuli(event.label)
            cache[event.label] = None if pixels is None else data_uri(pixels)
        yield _cell(record, event, cache[event.label])


def _cell(record: SessionRecord, event: Event, stimulus: str | None) -> Markup:
    uri, genuine = decoded_uri(record, event)
    guesses = [
        element("li", element("bdi", label), element("span", percent(score)))
        for label, score in event.top[:SHOWN_GUESSES]
    ]
    words = event.label or "no label"
    # The gallery has no picture of it: what was shown is a word, and nothing stands for it.
    seen = _picture(stimulus, f"stimulus: {event.label}", "stimulus", words=event.label)
    decoded = _picture(uri, f"decoded picture {event.index}", "decoded")
    if record.is_free:
        words = f"{event.t_onset - record.events[0].t_onset:.2f} s"
    return element(
        "figure",
        decoded if record.is_free else element("div", seen, decoded, cls="pair"),
        None
        if genuine
        else element("p", "This file is not the picture that was decoded.", cls="finding warning"),
        element(
            "figcaption",
            element("p", element("bdi", words), _badge(event), cls="label"),
            _confidence(event.confidence),
            element("ol", guesses, cls="guesses"),
            _retrieved(event),
        ),
        cls="right" if event.rank == 1 else None,
    )


def _retrieved(event: Event) -> Markup | None:
    """The nearest of a store of vectors, where one was searched."""
    if not event.retrieved:
        return None
    names = ", ".join(
        f"{label} ({cosine:.2f})" for label, cosine in event.retrieved[:SHOWN_GUESSES]
    )
    return element("p", "Retrieved: ", element("bdi", names))


def _picture(uri: str | None, alt: str, kind: str, *, words: str = "") -> Markup:
    if uri is None:
        return element("div", element("bdi", clean(words) or "no picture"), cls=f"absent {kind}")
    return element("img", src=uri, alt=clean(alt), cls=kind, width=128.0, height=128.0)


def _badge(event: Event) -> Markup | None:
    if event.rank is None:
        return None
    kind = "badge good" if event.rank == 1 else "badge"
    of = f" of {1 / event.chance:.0f}" if event.chance and event.chance > 0 else ""
    return element("span", f"rank {event.rank}{of}", cls=kind)


def _confidence(value: float | None) -> Markup | None:
    if value is None:
        return None
    share = min(max(value, 0.0), 1.0)
    return element(
        "div",
        element("i", style=f"width:{100 * share:.0f}%"),
        cls="confidence",
        title=f"confidence {share:.2f}",
    )


def charts(record: SessionRecord) -> Markup:
    """All plots that have something to show."""
    shown = [
        _chart(f"How the {_unit(record)}s ended", plots.outcomes(record), ""),
        _chart("Latency by stage", plots.latency(record), plots.caption_of_latency(record)),
    ]
    if not record.is_free:
        note = _accuracy_note(record)
        shown.insert(0, _chart("Identification against chance", plots.accuracy(record), note))
        shown.append(_chart("Rank of the true label", plots.ranks(record), ""))
    return element(
        "section",
        element("h2", "Figures"),
        element("div", shown, cls="charts"),
        _chart(
            "Over time",
            plots.timeline(record),
            f"Each dot is a {_unit(record)}; shaded bands are gaps in the data.",
        ),
    )


def _chart(title: str, drawing: Markup | None, note: str) -> Markup:
    body = element("p", "Nothing to show.", cls="hint") if drawing is None else drawing
    return element(
        "div",
        element("h3", title),
        body,
        element("p", note, cls="hint") if note and drawing is not None else None,
        cls="chart",
    )


def _accuracy_note(record: SessionRecord) -> str:
    n = record.number("accuracy", "n")
    return "" if n is None else f"{plural(n, 'picture')}; bars: {INTERVAL}."


def refusals(record: SessionRecord) -> Markup | None:
    """List the markers, or windows, without a picture, with the reason of each."""
    refused = [event for event in record.events if not event.is_decoded]
    if not refused:
        return None
    start = record.events[0].t_onset
    rows = [
        element(
            "tr",
            element("td", event.index),
            element("td", f"{event.t_onset - start:.2f} s"),
            element("td", element("bdi", event.label)),
            element("td", event.outcome.replace("_", " ")),
            element("td", element("bdi", event.reason)),
        )
        for event in refused[:500]
    ]
    # A stream's markers are counted with the windows, and ignored.
    which = "Windows and markers" if record.is_free else "Markers"
    head = [element("th", name) for name in ("number", "time", "label", "outcome", "reason")]
    return element(
        "details",
        element("summary", f"{which} without a picture ({len(refused)})"),
        element("table", element("thead", element("tr", head)), element("tbody", rows)),
    )


def settings(record: SessionRecord) -> Markup:
    """Everything that is needed to repeat the session: settings, versions, hashes, latencies."""
    described = {"run", "streams"}
    own = {k: v for k, v in record.settings.items() if k not in described}
    blocks = [
        ("Versions, model and hashes", as_table(record.settings.get("run"))),
        ("Decoder", record.table("decoder")),
        ("Streams", as_table(record.settings.get("streams"))),
        ("Settings", own),
        ("Latency, ms", record.table("latency_ms")),
        (
            "Samples and recording",
            {key: record.summary.get(key) for key in ("samples", "recording", "effective_sfreq")},
        ),
    ]
    return join(
        element("details", element("summary", title), _table(content))
        for title, content in blocks
        if content
    )


def _table(content: Mapping[str, Any]) -> Markup:
    rows = [
        element("tr", element("th", element("bdi", key)), element("td", element("bdi", value)))
        for key, value in flatten(content)
    ]
    return element("table", element("tbody", rows), cls="keys")


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """List the leaves of nested tables as (dotted key, text)."""
    for key, value in table.items():
        name = f"{prefix}{clean(str(key), 80)}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, _leaf(value)


def _leaf(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return clean(", ".join(str(item) for item in value), 2000) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(f"{value:g}" if isinstance(value, float) else str(value))


def footer(record: SessionRecord) -> Markup:
    """Say what the pictures are, and are not."""
    if record.table("attend"):
        shows = "the picture that was attended to, as far as a look's EEG tells"
    else:
        when = "" if record.is_free else " after the stimulus"
        shows = f"what the decoder made of about a second of EEG{when}"
    return element(
        "footer",
        element(
            "p",
            f"A decoded picture shows {shows}. It is drawn by a generator that can only draw what "
            "it learnt: a sharp picture is no sign of a right one. Judge by the identification "
            "figures, not by looks.",
        ),
        element("p", "Made by Phosphene. Not a medical device. One file, nothing is loaded."),
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _against_chance(n: float | None, chance: float | None) -> str:
    if n is not None and n < N_FIRST:
        return f"of {plural(n, 'picture')}: too few to say"
    return "" if chance is None else f"chance {percent(chance)}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _of_candidates(record: SessionRecord) -> str:
    n = record.number("accuracy", "n_candidates")
    return "" if n is None else f"of {n:.0f}; guessing gives {(n + 1) / 2:.1f}"
