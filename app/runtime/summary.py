"""The closing figures of a session, and the sentences a reader needs before believing them.

Owns the layout of `summary.json`; pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.accuracy import Accuracy
from app.port import TOO_FEW, is_above_chance
from app.runtime.ledger import Ledger
from app.runtime.statistics import accuracy_table, repetitions_table
from configs import SessionConfig
from pipeline.screening import LeftOut
from pipeline.signal_quality import QualityShare, mostly_bad

RATE_TOLERANCE = 0.005
"""Relative error of the declared rate above which it is said."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What became of the samples."""

    n_received: int = 0
    n_lost: int = 0
    n_gaps: int = 0
    n_reconnects: int = 0
    sfreq: float | None = None
    effective_sfreq: float | None = None
    packet_ms: float = 0.0
    has_counter: bool = True
    quality: tuple[QualityShare, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def rate_warning(streams: StreamFigures) -> str:
    """Say that the stream does not keep its rate, and what that may hide; else ""."""
    if not streams.effective_sfreq or not streams.sfreq:
        return ""
    ratio = streams.effective_sfreq / streams.sfreq
    if abs(ratio - 1) <= RATE_TOLERANCE:
        return ""
    words = (
        f"The stream ran at {streams.effective_sfreq:.2f} Hz, not at the {streams.sfreq:g} Hz it "
        "declares."
    )
    if ratio < 1 and not streams.has_counter:
        words += (
            " If its clock is right, it loses samples one by one, and times are off by some of "
            "them: only a channel that counts samples would tell (source.counter_channel)."
        )
    return words


def warnings_of(streams: StreamFigures, found: Accuracy | None, config: SessionConfig) -> list[str]:
    """Sentences on rate, loss and chance."""
    words = []
    off = rate_warning(streams)
    if off:
        words.append(off)
    if streams.n_lost:
        gaps = "1 gap" if streams.n_gaps == 1 else f"{streams.n_gaps} gaps"
        words.append(f"{streams.n_lost} samples were lost in {gaps}.")
    elif streams.n_gaps:
        times = "once" if streams.n_gaps == 1 else f"{streams.n_gaps} times"
        words.append(f"The stream was interrupted {times}; no sample is known to be lost.")
    poor = mostly_bad(streams.quality)
    if poor:
        words.append(poor)
    if found is not None and found.is_few:
        words.append(f"Identification ({found.n_correct} of {found.n}): {TOO_FEW}.")
    elif found is not None and not is_above_chance(found):
        words.append(
            f"Identification ({found.n_correct} of {found.n}; {found.chance:.2%} with the labels "
            "shuffled) is not distinguishable from chance."
        )
    if config.stimuli.enabled and config.simulation.snr == 0:
        words.append("The virtual person was set to SNR 0: a control without any information.")
    return words


def learnt_words(n_learnt: int, *, is_scored: bool) -> list[str]:
    """Say which trials count in no score; nothing where the decoder met none of them before."""
    if not n_learnt:
        return []
    if is_scored:
        return [f"{n_learnt} trials are those that the adapter learnt from: they are not scored."]
    return [
        f"All {n_learnt} trials are those that the adapter learnt from, so none is a test and "
        "nothing is scored; what cross-validation gave stands in the adapter's report. Learn from "
        "a part of a recording (phosphene calibrate --until 60%) to test on the rest."
    ]


def summary_of(
    ledger: Ledger,
    streams: StreamFigures,
    *,
    config: SessionConfig,
    duration: float,
    failure: str,
    decoder: Mapping[str, Any],
    recording: Mapping[str, Any] | None,
    is_live: bool,
    replay_of: str | None,
    warnings: list[str],
) -> dict[str, Any]:
    """`summary.json` as a dict; the outcomes add up to the markers."""
    latencies = ledger.latencies
    latency, compute = latencies.summary(), latencies.compute_p50()
    found = ledger.accuracy()
    overhead = None
    if compute is not None and is_live:
        overhead = {
            "chunk_ms": round(streams.packet_ms, 3),
            "compute_p50": round(compute, 3),
            "p50": latency["total_after_epoch"]["p50"],
            "limit_p50": round(streams.packet_ms + compute + 15.0, 3),
        }
    return {
        "schema_version": 1,
        "phase": "failed" if failure else "stopped",
        "message": failure,
        "subject": config.subject,
        "preset": config.preset,
        "duration_s": round(duration, 3),
        "markers": ledger.n_markers,
        "outcomes": ledger.outcomes(),
        "samples": {
            "received": streams.n_received,
            "lost": streams.n_lost,
            "recorded": recording["samples"] if recording else 0,
        },
        "gaps": streams.n_gaps,
        "reconnects": streams.n_reconnects,
        "effective_sfreq": streams.effective_sfreq,
        "channels": {
            each.ch_name: {
                "bad": round(each.bad, 4),
                "doubtful": round(each.doubtful, 4),
                "reason": each.reason,
            }
            for each in streams.quality
        },
        "channels_left_out": [
            {"name": each.ch_name, "share": round(each.share, 4), "reason": each.reason}
            for each in streams.left_out
        ],
        "latency_ms": latency,
        "latency_check": latencies.check(),
        "latency_clock": "live" if is_live else "replay",
        "overhead_ms": overhead,
        "accuracy": accuracy_table(found),
        "repetitions": repetitions_table(ledger.repetitions()),
        **ledger.class_scores(),
        **({"learnt": ledger.n_learnt} if ledger.n_learnt else {}),
        "decoder": dict(decoder),
        "recording": recording,
        "replay_of": replay_of,
        "warnings": warnings_of(streams, found, config)
        + learnt_words(ledger.n_learnt, is_scored=found is not None)
        + warnings,
    }
