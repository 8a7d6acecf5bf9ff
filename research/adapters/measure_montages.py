"""What a montage gives: `python -m research.adapters.measure_montages`.

Owns `research/adapters/expectations.json`, the table of `docs/models/adapters.md`: top-1
zero-shot and after five minutes of calibration with 4, 8, 16, 32 and 63 electrodes, on people that
nothing else was chosen on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.adapters.methods.base import Fitting, Watch
from models.adapters.methods.pattern import PatternModel
from models.adapters.methods.unlabelled import ZeroShot
from models.adapters.network_base import NetworkBase
from models.embedded.encoder import load_encoder
from research.adapters.evaluate_adapters import accuracy
from research.adapters.people import MONTAGE_PEOPLE, record, uprights
from research.embedded.encoder_batches import MONTAGES

SFREQ = 250.0
TABLE: dict[str, tuple[str, ...]] = {
    "4 over the back of the head": ("O1", "O2", "P7", "P8"),
    "4 over the forehead and ears": ("AF7", "AF8", "TP9", "TP10"),
    "8 over the whole head (Cyton)": MONTAGES["cyton"][0],
    "8 over the back of the head": MONTAGES["posterior8"][0],
    "16 over the whole head (Daisy)": MONTAGES["daisy"][0],
    "32 (cap)": MONTAGES["cap32"][0],
    "63 (cap)": MONTAGES["cap63"][0],
}


def measure(names: tuple[str, ...], *, minutes: float, test_minutes: float) -> dict[str, Any]:
    """Top-1 of every person, zero-shot and with the encoding model."""
    base = NetworkBase(load_encoder())
    zero, calibrated = [], []
    for number in MONTAGE_PEOPLE:
        both = record(number, names, SFREQ, minutes=minutes, test_minutes=test_minutes)
        data = both.calibration
        if data.targets is None:
            continue
        targets = data.targets.astype(np.float64)[data.rows]
        part = PatternModel.fit(Fitting(base.prepare(data), targets, data.rows, base, 0, Watch()))
        zero.append(accuracy(ZeroShot(), base, both.test))
        calibrated.append(accuracy(part, base, both.test))
    return {
        "zero_shot": round(float(np.mean(zero)), 4),
        "calibrated": round(float(np.mean(calibrated)), 4),
        "zero_shot_people": [round(x, 4) for x in zero],
        "calibrated_people": [round(x, 4) for x in calibrated],
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and write the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("research/adapters/expectations.json"))
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--test-minutes", type=float, default=10.0)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for name, channels in TABLE.items():
        found = measure(channels, minutes=args.minutes, test_minutes=args.test_minutes)
        row = {"name": name, "channels": channels, "n_candidates": len(uprights()), **found}
        rows.append(row)
        print(json.dumps(row), flush=True)
    table = {
        "schema": 1,
        "command": "python -m research.adapters.measure_montages",
        "encoder_sha256": load_encoder().spec.sha256,
        "people": MONTAGE_PEOPLE,
        "snr": 1.0,
        "minutes": args.minutes,
        "montages": rows,
    }
    args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
