"""What a reader must know, in plain sentences.

Owns the judgement of a session: is the decoding distinguishable from chance, do the counts add
up, was data lost. Knows nothing of HTML; a sentence says what was measured, never more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from app import formatting
from app.accuracy import N_FIRST
from app.port import TOO_FEW
from app.report.record import SessionRecord, as_number, as_table, as_text, dig
from app.report.screen import MANY_DROPPED, dropped, n_shown, was_seen
from pipeline.virtual_brain.predicted import PREDICTED

SIGNIFICANT = 0.05
STRONG = 1e-3
FEW_TRIALS = 20
INTERVAL_ABOVE = (
    "The interval lies above chance, and p does not say so: both hold. The interval is of the "
    "share of right answers alone. The test takes no chance for known: it asks whether the labels "
    "in another order would have fitted the answers as well, which takes more than"
)
"""How the sentence begins that goes with an interval above chance and a p that is not small."""
SAID_ALREADY = (
    "distinguishable from chance",
    "too few to say",
    "samples were lost",
    "The stream was interrupted",
    "The stream ran at",
    "was set to SNR 0",
    "nothing is scored; what cross-validation",
)
"""Parts of the runtime's warnings that the report words itself, with figures."""


class Tone(StrEnum):
    """How a finding is shown."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, with what it means for the reader."""

    tone: Tone
    text: str


def find(record: SessionRecord) -> tuple[Finding, ...]:
    """Judge a session; the most important sentence comes first."""
    return (
        *_accuracy(record),
        *_origin(record),
        *_counts(record),
        *_data_loss(record),
        *_screen(record),
        *_latency(record),
        *_own_warnings(record),
    )


def percent(value: float) -> str:
    """Format a fraction: two significant places where it is small."""
    return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"


def plural(count: float, one: str, many: str | None = None) -> str:
    """Format a count with its noun."""
    word = one if count == 1 else (many or one + "s")
    return f"{count:,.0f} {word}".replace(",", "\u202f")


def n_gaps(record: SessionRecord) -> int:
    """Count the gaps; the summary holds their count or their list."""
    gaps = record.summary.get("gaps")
    return len(gaps) if isinstance(gaps, list) else int(as_number(gaps) or 0)


def is_simulated(record: SessionRecord) -> bool:
    """Whether the EEG came from a simulation; sessions of before say so by its maker alone."""
    stream = as_table(dig(record.settings, "streams", "eeg"))
    return stream.get("simulated") is True or "(virtual)" in as_text(stream.get("manufacturer"))


def _accuracy(record: SessionRecord) -> Iterator[Finding]:
    n, n_correct = record.number("accuracy", "n"), record.number("accuracy", "n_correct")
    chance, p_value = record.number("accuracy", "chance"), record.number("accuracy", "p_value")
    if n is None or n_correct is None or chance is None or p_value is None or n < 1:
        decoded = [event for event in record.events if event.is_decoded]
        why = "no marker came with a label that the decoder knows"
        if record.is_free:
            why = "free-running windows are cut without markers, so no window has a true picture"
        elif decoded and all(event.chance is None for event in decoded):
            why = "the gallery has no vectors of this decoder's space, so nothing is ranked"
        elif record.number("learnt"):
            why = "every trial is one that the adapter learnt from, so none is a test"
        yield Finding(
            Tone.NOTE,
            f"Identification was not scored: {why}. The pictures cannot be told right or wrong.",
        )
        return
    test = as_text(dig(record.summary, "accuracy", "test"))
    if test and n < N_FIRST:
        yield Finding(
            Tone.NOTE, f"{n_correct:.0f} of {plural(n, 'picture')} identified: {TOO_FEW}."
        )
        return
    low, high = record.number("accuracy", "low"), record.number("accuracy", "high")
    interval = "" if low is None or high is None else f", 95 % interval {_range(low, high)}"
    # Files of before the test: their p is that of a single look at the end.
    how = f"{test}, top-1" if test else "binomial test at the end, top-1"
    guessing = "the same answers with the labels shuffled give" if test else "guessing gives"
    figures = (
        f"{n_correct:.0f} of {plural(n, 'picture')} identified ({percent(n_correct / n)}"
        f"{interval}); {guessing} {percent(chance)}"
    )
    if p_value >= SIGNIFICANT or n_correct / n <= chance:
        p = f"; {formatting.p_value(p_value)} ({how})" if p_value >= SIGNIFICANT else ""
        yield Finding(
            Tone.WARNING,
            f"Not distinguishable from chance: {figures}{p}. Do not read meaning into the "
            "pictures.",
        )
        if test and low is not None and low > chance:
            yield Finding(Tone.NOTE, f"{INTERVAL_ABOVE} {plural(n, 'picture')}.")
    elif p_value >= STRONG:
        yield Finding(
            Tone.NOTE,
            f"Weak evidence of decoding: {figures}; {formatting.p_value(p_value)} ({how}).",
        )
    else:
        yield Finding(Tone.GOOD, f"Above chance: {figures}; {formatting.p_value(p_value)} ({how}).")
    if n < FEW_TRIALS:
        yield Finding(
            Tone.NOTE,
            f"Only {plural(n, 'picture')} could be scored, so the interval is wide: "
            "a longer session says more.",
        )


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f}-{100 * high:.1f} %"


def _origin(record: SessionRecord) -> Iterator[Finding]:
    if is_simulated(record):
        yield Finding(Tone.NOTE, _simulated(record))
    if as_text(record.summary.get("replay_of")):
        yield Finding(Tone.NOTE, "This session replays a recording.")
    if as_text(record.summary.get("phase")) == "failed":
        yield Finding(
            Tone.WARNING,
            "The session ended with a failure; what came before it is shown. "
            + as_text(record.summary.get("message")),
        )


def _simulated(record: SessionRecord) -> str:
    """Say who made the EEG, and what its figures can tell."""
    if PREDICTED in as_text(dig(record.settings, "streams", "eeg", "manufacturer")):
        return (
            f"The EEG is simulated: it comes from a virtual headset with {PREDICTED}, not a "
            "person. A published model of images predicted them, whose code no decoder of ours was "
            "trained on; the background around them is ours."
        )
    if record.table("attend"):
        return (
            "The EEG is simulated: a virtual person's visual cortex answers the light of the one "
            "picture that is looked at. The figures say that the software works, and nothing of "
            "people."
        )
    snr = as_number(dig(record.settings, "simulation", "snr"))
    size = {None: "", 1.0: "", 0.0: " without any response to the stimuli (the control)"}.get(
        snr, f" with responses at {snr} times the size that the decoder was trained on"
    )
    return (
        f"The EEG is simulated: it comes from a virtual headset{size}, not a person. Its "
        "responses are made of the pictures' own embeddings, by the code that the shipped "
        "decoder was trained on: the figures say that the software works, and nothing of what "
        "EEG can do."
    )


def _counts(record: SessionRecord) -> Iterator[Finding]:
    counts = [as_number(value) for value in record.table("outcomes").values()]
    total = sum(value for value in counts if value is not None)
    markers = record.number("markers")
    if markers is not None and markers != total:
        yield Finding(
            Tone.WARNING,
            f"The outcomes do not add up: {plural(markers, 'marker')}, but "
            f"{plural(total, 'outcome')}. This is a fault of the app; please report it.",
        )
    if record.n_unreadable:
        yield Finding(
            Tone.WARNING,
            f"{plural(record.n_unreadable, 'line')} of events.jsonl could not be read: "
            "the file was cut short or changed.",
        )
    outcomes = record.table("outcomes")
    ignored = as_number(outcomes.get("ignored")) or 0
    wanted = (markers or 0) - ignored  # what was not asked for is no loss
    refused = total - (as_number(outcomes.get("decoded")) or 0) - ignored
    if wanted > 0 and refused > 0:
        yield Finding(
            Tone.WARNING if refused > 0.2 * wanted else Tone.NOTE,
            f"{plural(refused, 'marker')} of {wanted:.0f} gave no picture "
            f"({percent(refused / wanted)}); the reasons are below.",
        )


def _data_loss(record: SessionRecord) -> Iterator[Finding]:
    lost = record.number("samples", "lost") or 0
    received = record.number("samples", "received") or 0
    gaps = n_gaps(record)
    if lost:
        share = f" ({percent(lost / (lost + received))})"
        yield Finding(
            Tone.WARNING,
            f"Data was lost: {plural(lost, 'sample')}{share} in {plural(gaps, 'gap')}. "
            "Epochs with a gap inside were refused, never patched.",
        )
    elif gaps:
        yield Finding(
            Tone.NOTE,
            f"The stream was interrupted {plural(gaps, 'time')}; no sample is known to be lost. "
            "Epochs across an interruption were refused, never patched.",
        )
    reconnects = record.number("reconnects") or 0
    if reconnects:
        yield Finding(
            Tone.WARNING, f"The stream was lost and found again {plural(reconnects, 'time')}."
        )
    dropped = record.number("recording", "dropped") or 0
    if dropped:
        yield Finding(
            Tone.WARNING,
            f"The recording is incomplete: {plural(dropped, 'packet')} could not be written, "
            "so a replay will differ.",
        )
    nominal = as_number(dig(record.settings, "streams", "eeg", "sfreq"))
    effective = record.number("effective_sfreq")
    if nominal and effective and abs(effective / nominal - 1) > 0.01:
        yield Finding(
            Tone.WARNING,
            f"The headset sent {effective:.2f} samples a second but declares {nominal:g}: "
            "its clock is off, or samples are lost on the way.",
        )


def _screen(record: SessionRecord) -> Iterator[Finding]:
    if not n_shown(record):
        return
    if not was_seen(record):
        if not is_simulated(record):
            yield Finding(
                Tone.WARNING,
                "No stimulus window was open, so nobody can have seen the pictures: open it (F11) "
                "before the session starts.",
            )
        return
    planned = record.number("stimuli", "stamped_as_planned") or 0
    if planned:
        yield Finding(
            Tone.WARNING,
            f"{plural(planned, 'stimulus', 'stimuli')} of {n_shown(record)} came while no stimulus "
            "window was ready: their markers stand where they were planned, seen or not.",
        )
    n_dropped, n_due = dropped(record)
    if n_due and n_dropped / n_due > MANY_DROPPED:
        yield Finding(
            Tone.WARNING,
            f"The screen dropped {plural(n_dropped, 'frame')} of {n_due} "
            f"({percent(n_dropped / n_due)}): some pictures stood longer or shorter than planned. "
            "Close other programs, or use a screen of its own.",
        )
    if as_table(dig(record.summary, "stimuli", "display")).get("locked") is False:
        yield Finding(
            Tone.NOTE,
            "The frames did not follow the screen's refresh: a picture was seen up to a frame "
            "after its marker.",
        )


def _latency(record: SessionRecord) -> Iterator[Finding]:
    error = record.number("latency_check", "relative_error")
    if error is not None and error > 0.05:
        yield Finding(
            Tone.WARNING,
            f"The stages do not add up to the measured latency (off by {percent(error)}).",
        )
    p50, limit = record.number("overhead_ms", "p50"), record.number("overhead_ms", "limit_p50")
    if p50 is not None and limit is not None and p50 > limit:
        yield Finding(
            Tone.WARNING,
            f"Slower than it should be: {p50:.0f} ms median from the epoch's end to its picture, "
            f"limit {limit:.0f} ms (one chunk + compute + 15 ms). The machine may be busy.",
        )
    if as_text(record.summary.get("latency_clock")) == "replay":
        yield Finding(
            Tone.NOTE,
            "Latencies are those of a replay as fast as it goes; they say nothing about live use.",
        )


def _own_warnings(record: SessionRecord) -> Iterator[Finding]:
    warnings = record.summary.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        text = as_text(warning)
        if text and not any(part in text for part in SAID_ALREADY):
            yield Finding(Tone.WARNING, text)
