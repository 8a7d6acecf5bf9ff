"""The table of `docs/models/adapters.md`: `python -m research.adapters.evaluate_adapters`.

Owns the measurement on held-out virtual people: zero-shot, aligned, and what `fit_adapter` chose
after 1, 2, 5 and 10 minutes, on a later recording with pictures that were not calibrated on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from models.adapters.adapter import embed
from models.adapters.data import CalibrationData
from models.adapters.fit import fit_adapter
from models.adapters.methods.base import Fitting, Method, Watch
from models.adapters.methods.unlabelled import Aligned, ZeroShot
from models.adapters.network_base import NetworkBase, NetworkBatch
from models.embedded.encoder import load_encoder
from pipeline.values import Float64
from research.adapters.people import TABLE_PEOPLE, record_board

BOARDS = ("cyton", "daisy", "cap32", "cap63")
MINUTES = (1, 2, 5, 10)
CLOSED_FORM = ("zero-shot", "aligned", "ridge", "pattern")
"""What the table lets `fit_adapter` choose among: the two that are trained by gradient never won
on the people of development, and would make the table take four times as long."""
UNLABELLED = 5
"""Minutes that alignment sees."""


def accuracy(
    method: Method[Any, Any],
    base: NetworkBase,
    test: CalibrationData,
    batch: NetworkBatch | None = None,
) -> float:
    """Top-1 among all candidates, as a session ranks; `batch`: the test, prepared already."""
    if test.targets is None:
        return 0.0
    prepared = base.prepare(test) if batch is None else batch
    scores = embed(method, prepared, base) @ test.targets.T.astype(np.float64)
    return float((scores.argmax(axis=1) == test.rows).mean())


def measure(
    board: str, number: int, *, test_minutes: float, snr: float, methods: Sequence[str]
) -> dict[str, Any]:
    """Measure one person under one board."""
    recorded = record_board(number, board, minutes=max(MINUTES), test_minutes=test_minutes, snr=snr)
    test, base = recorded.test, NetworkBase(load_encoder())
    batch = base.remembering(base.prepare(test))
    few = recorded.calibration.first_minutes(UNLABELLED)
    none = np.zeros(0, dtype=np.intp)
    aligned = Aligned.fit(Fitting(base.prepare(few), np.zeros((0, 0)), none, base, 0, Watch()))
    line: dict[str, Any] = {
        "board": board,
        "person": number,
        "snr": snr,
        "n_test": len(test),
        "zero-shot": accuracy(ZeroShot(), base, test, batch),
        "aligned": accuracy(aligned, base, test, batch),
    }
    for minutes in MINUTES:
        adapter = fit_adapter(
            recorded.calibration.first_minutes(minutes),
            methods=methods,
            seed=0,
            with_curve=False,
        )
        line[f"{minutes} min"] = accuracy(adapter.method, base, test, batch)
        report = adapter.report
        line[f"{minutes} min, chosen"] = report.method
        line[f"{minutes} min, expected"] = report.with_adapter
        line[f"{minutes} min, verdict"] = report.verdict
        line[f"{minutes} min, seconds"] = round(report.seconds, 1)
    return line


def summary(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a board: means with 95 % t intervals over people, and the paired test."""
    rows = []
    for board in dict.fromkeys(line["board"] for line in lines):
        mine = [line for line in lines if line["board"] == board]
        zero = np.array([line["zero-shot"] for line in mine])
        row: dict[str, Any] = {"board": board, "n_people": len(mine), "n_test": mine[0]["n_test"]}
        for name in ("zero-shot", "aligned", *(f"{m} min" for m in MINUTES)):
            values = np.array([line[name] for line in mine])
            row[name] = _interval(values)
            if name != "zero-shot":
                row[f"{name}, paired"] = _paired(values, zero)
        row["worst"] = min(
            float(line[f"{m} min"] - line["zero-shot"]) for line in mine for m in MINUTES
        )
        rows.append(row)
    return rows


def _interval(values: Float64) -> dict[str, float]:
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)) if len(values) > 1 else 0
    mean = float(values.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _paired(values: Float64, zero: Float64) -> dict[str, float]:
    """Paired t test and Wilcoxon over people (one-sided, better), and Cohen's d of the pairs."""
    gain = values - zero
    if len(gain) < 2 or not gain.any():
        return {"gain": float(gain.mean()), "p_t": 1.0, "p_wilcoxon": 1.0, "d": 0.0}
    spread = float(gain.std(ddof=1))
    return {
        "gain": float(gain.mean()),
        "p_t": float(stats.ttest_1samp(gain, 0, alternative="greater").pvalue),
        "p_wilcoxon": float(stats.wilcoxon(gain, alternative="greater").pvalue),
        "d": float(gain.mean() / spread) if spread else float("inf"),
    }


def markdown(rows: Sequence[dict[str, Any]], *, chance: float) -> str:
    """Lay the rows out as a table, in percent."""
    names = ("zero-shot", "aligned", *(f"{m} min" for m in MINUTES))
    out = [
        "| board | " + " | ".join(names) + " | chance | gain at 5 min | p | d |",
        "|" + " --- |" * (len(names) + 5),
    ]
    for row in rows:
        cells = [
            f"{100 * row[n]['mean']:.1f} ({100 * row[n]['low']:.1f}-{100 * row[n]['high']:.1f})"
            for n in names
        ]
        paired = row["5 min, paired"]
        cells += [f"{100 * chance:.2f}", f"{100 * paired['gain']:+.1f}"]
        cells += [f"{paired['p_t']:.2g}", f"{paired['d']:.1f}"]
        out.append(f"| {row['board']} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def main(argv: list[str] | None = None) -> int:
    """Measure and write `OUT/adapters.json` and `OUT/adapters_table.md`; resumes `OUT/lines`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("out/adapters"))
    options.add_argument("--people", type=int, nargs="+", default=list(TABLE_PEOPLE))
    options.add_argument("--boards", nargs="+", default=list(BOARDS))
    options.add_argument("--test-minutes", type=float, default=15.0)
    options.add_argument("--methods", nargs="+", default=list(CLOSED_FORM))
    options.add_argument("--snr", type=float, default=1.0)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "lines.jsonl"
    lines = [json.loads(x) for x in kept.read_text().split("\n") if x] if kept.is_file() else []
    done = {(line["board"], line["person"]) for line in lines}
    for number in args.people:  # people outside, so that a run cut short still has every board
        for board in args.boards:
            if (board, number) in done:
                continue
            lines.append(
                measure(
                    board,
                    number,
                    test_minutes=args.test_minutes,
                    snr=args.snr,
                    methods=args.methods,
                )
            )
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(lines[-1]) + "\n")
            print(json.dumps(lines[-1]), flush=True)
    lines.sort(key=lambda line: (BOARDS.index(line["board"]), line["person"]))
    rows = summary(lines)
    result = {
        "command": "python -m research.adapters.evaluate_adapters",
        "encoder_sha256": load_encoder().spec.sha256,
        "methods": args.methods,
        "snr": args.snr,
        "test_minutes": args.test_minutes,
        "boards": rows,
        "people": lines,
    }
    (args.out / "adapters.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown(rows, chance=1 / 227)
    (args.out / "adapters_table.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
