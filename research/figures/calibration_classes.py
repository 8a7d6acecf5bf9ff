"""What `fit_adapter` says of a real brain: the faces-and-houses recording as a calibration.

Owns the measurement behind the table in `docs/models/adapters.md`: kinds of trial instead of
pictures, cut by the live path, judged as any calibration is. Run it with

    python -m research.figures.calibration_classes --data faces-houses --json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.output import write_json, write_note, write_text
from models.adapters import CalibrationData
from models.adapters.fit import fit_adapter
from pipeline.values import Epoch
from research.figures.recording import (
    BROKEN,
    FILTER,
    MONTAGES,
    TARGETS,
    find_recording,
    live_epochs,
    session_config,
)

EVENTS = {
    "six kinds": tuple(target.event for target in TARGETS),
    "face or house": ("face-upright", "house-upright"),
    "face or house, inverted": ("face-inverted", "house-inverted"),
}
CALIBRATIONS = ("8", "16", "32")


def calibration_of(epochs: Sequence[Epoch], events: Sequence[str]) -> CalibrationData:
    """Make a calibration of plain classes from live epochs."""
    kept = [epoch for epoch in epochs if epoch.event in events]
    info = kept[0].info
    return CalibrationData(
        epochs=np.stack([epoch.data for epoch in kept]),
        labels=tuple(epoch.event for epoch in kept),
        onsets=np.array([epoch.t_onset for epoch in kept]),
        channels=info.ch_names,
        sfreq=info.sfreq,
        tmin=kept[0].tmin,
        filter=FILTER,
        classes=tuple(target for target in TARGETS if target.event in events),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, as text or JSON."""
    parser = argparse.ArgumentParser(prog="python -m research.figures.calibration_classes")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--montages", nargs="+", default=list(CALIBRATIONS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    path = find_recording(args.data)
    rows = []
    for montage in args.montages:
        names = tuple(name for name in MONTAGES[montage] if name not in BROKEN)
        epochs = live_epochs(path, session_config(names)).epochs
        for task, events in EVENTS.items():
            report = fit_adapter(calibration_of(epochs, events)).report
            score = report.methods[0]
            row = {
                "channels": montage,
                "task": task,
                "n_epochs": report.n_epochs,
                "minutes": round(report.minutes, 1),
                "accuracy": round(score.accuracy, 4),
                "low": round(score.low, 4),
                "high": round(score.high, 4),
                "chance": round(score.chance, 4),
                "p_value": report.p_value,
                "p_pre_stimulus": report.leak.p_pre_stimulus,
                "p_order": report.leak.p_order,
                "verdict": report.verdict,
                "curve": [(p.minutes, round(p.accuracy, 4)) for p in report.curve.points],
                "seconds": round(report.seconds, 1),
            }
            rows.append(row)
            write_note(f"{montage} channels, {task}: {report.sentence}")
    if args.json:
        write_json(rows)
    else:
        write_text(_table(rows))
    return 0


def _table(rows: Sequence[dict[str, object]]) -> str:
    names = ("channels", "task", "n_epochs", "accuracy", "chance", "p_value", "verdict")
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
