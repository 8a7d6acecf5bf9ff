"""Tests the encoder on people and concepts it never saw: `python -m ...evaluate_encoder`.

Owns the table of `docs/models/encoder.md`: systems by board and SNR, zero-shot and calibrated,
identification among the upright pictures. Every epoch comes from a streamed session
(`encoder_sessions`), none from the training banks. A cell that is in OUT already is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import optimize, special

from models.embedded.encoder import EmbeddedEncoder, load_encoder
from pipeline.gallery import Gallery, load_gallery
from research.embedded.encoder_batches import MONTAGES
from research.embedded.encoder_sessions import SOA, Session, record_session
from research.embedded.identification import Encode, line, score, write_lines
from research.embedded.linear_baselines import pooled
from research.embedded.rivals import (
    adapted,
    eegnet,
    encode_all,
    evidence_of,
    first_minutes,
    personal_ridge,
)

BOARDS = ("cyton", "daisy", "cap32", "cap63")
MINUTES = (5.0, 20.0)
FIRST_PERSON = 1001
TEST_SEED, PRACTICE_SEED = 11, 12
BASELINE_TEMPERATURE = 0.1
CALIBRATED_SNRS = (0.0, 1.0)
"""A control and the usual strength."""
BLOCK = "evaluate_encoder"
"""Of the document; see `write_lines`."""
Cell = tuple[str, str, float]
"""System, board, SNR."""
Maker = Callable[[], Encode | Sequence[Encode]]


class Bench:
    """Sessions of the held-out people, each streamed when it is first asked for."""

    def __init__(
        self, gallery: Gallery, *, n_people: int, n_stimuli: int, minutes: Sequence[float] = MINUTES
    ) -> None:
        self.gallery = gallery
        self.minutes = tuple(minutes)
        self.people = range(FIRST_PERSON, FIRST_PERSON + n_people)
        self.n_stimuli = n_stimuli
        self.test = lru_cache(maxsize=None)(self._test)
        self.practice = lru_cache(maxsize=1)(self._practice)

    def _test(self, board: str, snr: float) -> list[Session]:
        return sessions(board, self.gallery, self.people, n=self.n_stimuli, snr=snr, seed=TEST_SEED)

    def _practice(self, board: str, snr: float) -> list[Session]:
        n = round(60 * self.durations(snr)[-1] / SOA)
        return sessions(board, self.gallery, self.people, n=n, snr=snr, seed=PRACTICE_SEED)

    def durations(self, snr: float) -> tuple[float, ...]:
        """Minutes of calibration; at SNR 0 the shortest is enough of a control."""
        return self.minutes if snr else self.minutes[:1]


def sessions(
    board: str, gallery: Gallery, people: Sequence[int], *, n: int, snr: float, seed: int
) -> list[Session]:
    """One session of `n` pictures of the gallery for each person, on a board."""
    names, rate = MONTAGES[board]
    return [
        record_session(
            ch_names=names,
            sfreq=rate,
            subject_number=number,
            embeddings=gallery.embeddings,
            n_stimuli=n,
            snr=snr,
            seed=seed,
        )
        for number in people
    ]


def cells(
    bench: Bench, encoder: EmbeddedEncoder, args: argparse.Namespace
) -> Iterator[tuple[Cell, Maker]]:
    """Every cell of the table and how its decoder is made; the costly calibrated ones last."""
    for board in args.boards:
        rivals = dict(_zero_shot(board, encoder, args))
        for snr in args.snrs:
            yield from (((name, board, snr), maker) for name, maker in rivals.items())
    if args.no_baselines:
        return
    for board in args.boards:
        for snr in (each for each in args.snrs if each in CALIBRATED_SNRS):
            for name, maker in _calibrated(bench, board, snr, encoder):
                yield (name, board, snr), maker


def _zero_shot(
    board: str, encoder: EmbeddedEncoder, args: argparse.Namespace
) -> Iterator[tuple[str, Maker]]:
    if not args.only_baselines:
        yield "encoder, zero-shot", lambda: encode_all(encoder)
    if args.no_baselines:
        return
    yield "encoder, evidence alone", lambda: evidence_of(encoder)
    linear = lru_cache(maxsize=1)(
        lambda: pooled(
            board, load_gallery(), n_epochs=args.pool_epochs, bank_seconds=args.bank_seconds
        )
    )
    yield "ridge, zero-shot", lambda: linear()[0]
    yield "LDA, zero-shot", lambda: linear()[1]
    for folder in args.eegnet:
        if (folder / board / "model.safetensors").is_file():
            name = f"EEGNet{folder.name.removeprefix('eegnet').replace('-', ',')}"
            yield name.replace(",", "-", 1) + ", zero-shot", _loaded(folder / board)


def _loaded(folder: Path) -> Maker:
    return lambda: eegnet(folder)


def _calibrated(
    bench: Bench, board: str, snr: float, encoder: EmbeddedEncoder
) -> Iterator[tuple[str, Maker]]:
    for minutes in bench.durations(snr):
        yield (
            f"encoder, calibrated {minutes:g} min",
            lambda minutes=minutes: [  # type: ignore[misc]
                adapted(encoder, first_minutes(s, minutes), bench.gallery)
                for s in bench.practice(board, snr)
            ],
        )
        yield (
            f"ridge, calibrated {minutes:g} min",
            lambda minutes=minutes: [  # type: ignore[misc]
                personal_ridge(first_minutes(s, minutes), bench.gallery)
                for s in bench.practice(board, snr)
            ],
        )


def fit_temperature(encoder: EmbeddedEncoder, gallery: Gallery, *, n: int = 60) -> float:
    """Find the temperature of `Gallery.rank` at which the true picture is least surprising.

    On people of the *training* pool, over boards and SNRs, so that the test stays untouched.
    """
    encode = encode_all(encoder)
    similarities, own = [], []
    for board in BOARDS:
        for snr in (0.0, 0.5, 1.0, 2.0):
            for session in sessions(board, gallery, (990, 991), n=n, snr=snr, seed=13):
                table = encode(session.epochs) @ gallery.embeddings.T.astype(np.float64)
                similarities.append(table)
                own.append(table[np.arange(len(table)), session.rows])
    table, right = np.concatenate(similarities), np.concatenate(own)

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((special.logsumexp(table * scale, axis=1) - right * scale).mean())

    best = optimize.minimize_scalar(surprise, bounds=(np.log(0.005), 0.0), method="bounded")
    return float(np.exp(best.x))


def read_lines(path: Path) -> dict[Cell, dict[str, Any]]:
    """Cells of an earlier run; none where there is no file."""
    if not path.is_file():
        return {}
    lines = json.loads(path.read_text(encoding="utf-8"))
    return {(each["system"], each["board"], each["snr"]): each for each in lines}


def in_order(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines by board and SNR, the encoder first; the order of systems otherwise as they came."""
    names = list(dict.fromkeys(each["system"] for each in lines))
    names.sort(key=lambda name: ("calibrated" in name, not name.startswith("encoder")))
    boards = list(dict.fromkeys((*BOARDS, *(each["board"] for each in lines))))
    return sorted(
        lines,
        key=lambda x: (boards.index(x["board"]), x["snr"], names.index(x["system"])),
    )


def write_table(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write `encoder.json` and the table of `encoder.md`."""
    write_lines(in_order(lines), folder / "encoder.md", block=BLOCK)


def parser() -> argparse.ArgumentParser:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", type=Path, default=None)
    options.add_argument("--out", type=Path, default=Path("out/encoder"))
    options.add_argument("--people", type=int, default=10)
    options.add_argument("--stimuli", type=int, default=60)
    options.add_argument("--boards", nargs="+", default=list(BOARDS))
    options.add_argument("--snrs", nargs="+", type=float, default=[0.0, 0.5, 1.0, 2.0])
    options.add_argument("--minutes", nargs="+", type=float, default=list(MINUTES))
    options.add_argument("--bank-seconds", type=float, default=240.0, help="noise a bank, s")
    options.add_argument("--pool-epochs", type=int, default=32768, help="of ridge and LDA")
    options.add_argument(
        "--eegnet", nargs="*", type=Path, default=[], help="OUT folders of train_eegnet"
    )
    options.add_argument("--fit-temperature", action="store_true", help="only this, on the pool")
    options.add_argument("--no-baselines", action="store_true")
    options.add_argument("--only-baselines", action="store_true")
    return options


def main(argv: list[str] | None = None) -> int:
    """Evaluate and write `OUT/encoder.json` and the table, after every cell."""
    args = parser().parse_args(argv)
    torch.set_num_threads(1)
    encoder = load_encoder(args.weights)
    gallery = load_gallery().subset(kind="upright")
    if args.fit_temperature:
        print(f"rank temperature {fit_temperature(encoder, gallery):.4f}")
        return 0
    bench = Bench(
        gallery, n_people=args.people, n_stimuli=args.stimuli, minutes=sorted(args.minutes)
    )
    known = read_lines(args.out / "encoder.json")
    for cell, maker in cells(bench, encoder, args):
        if cell in known:
            continue
        name, board, snr = cell
        temperature = encoder.temperature if name.startswith("encoder") else BASELINE_TEMPERATURE
        found = score(bench.test(board, snr), maker(), gallery, temperature=temperature)
        known[cell] = line(name, board, snr, found)
        print(json.dumps(known[cell], ensure_ascii=False), flush=True)
        write_table(list(known.values()), args.out)
    write_table(list(known.values()), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
