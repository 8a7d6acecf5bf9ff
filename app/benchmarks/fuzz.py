"""Damaged recordings for the readers: nothing but a clean error, in bounded time and memory.

Owns small recordings of each format, seeded mutations of them, and the judging: a reader may give
data, warn, or refuse with `FileError`; anything else is a finding, kept with its file so that it
can become a test. Every case is made from (seed, number) alone and can be made again.
"""

from __future__ import annotations

import re
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np

from devices.errors import FileError
from devices.files import open_recording
from devices.replay import RecordedSource
from devices.xdf import XdfFile, XdfWriter
from devices.xdf.reader import XdfSamples
from pipeline.values import StreamInfo

SLOW: Final = 5.0
"""A case that takes longer is a finding, s: the files hold a few kB."""
_HEADROOM: Final = 1 << 30
"""Address space that a case may take on top of what the process has, bytes."""
_NUMBERS: Final = (0, 1, 2, 3, 4, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62)
_WORDS: Final = (
    b"",
    b"-",
    b"nan",
    b"inf",
    b"-inf",
    b"1e309",
    b"-1",
    b"0",
    b"0.0000001",
    b"4000000",
    b"99999999999999999999",
    b"\xff\xfe",
    "µ٣".encode(),
    b"\r",
    b",",
    b"\t",
    b"%",
    b"&#0;",
    b"string",
    b"int8",
)
_Build = Callable[[Path], None]


class _TooSlowError(Exception):
    """A case did not end in time."""


def run_fuzz_bench(
    *, minutes: float = 1.0, seed: int = 0, keep: Path | None = None, least: int = 0
) -> dict[str, Any]:
    """Read mutated recordings for `minutes`; findings are kept in the folder `keep`.

    It reads `least` of them, however long that takes.

    Returns
    -------
    dict
        `n_cases`, by reader the count of cases, of refusals, and the findings; `rows` as every
        benchmark has them.
    """
    keep = keep or Path("fuzz-findings")
    counts = {name: {"cases": 0, "refused": 0} for name in _CORPUS}
    findings: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, _bounded_memory():
        folder = Path(name)
        whole = _whole_files(folder)
        deadline, number = time.monotonic() + 60 * minutes, 0
        while number < least or time.monotonic() < deadline:
            reader = tuple(_CORPUS)[number % len(_CORPUS)]
            raw = make_case(whole[reader], seed, number)
            path = folder / f"case{_suffix(reader)}"
            path.write_bytes(raw)
            outcome = judge(path)
            counts[reader]["cases"] += 1
            counts[reader]["refused"] += outcome == "refused"
            if outcome not in ("read", "refused"):
                _note(findings, outcome, reader=reader, case=(seed, number), raw=raw, keep=keep)
            number += 1
    return {
        "seed": seed,
        "readers": counts,
        "findings": findings,
        "rows": [
            {
                "what": f"{number} damaged recordings in {minutes:g} min: kinds of findings",
                "ours": len(findings),
                "peer": None,
                "ratio": None,
                "goal": 0,
                "met": not findings,
            }
        ],
    }


def make_case(whole: list[bytes], seed: int, number: int) -> bytes:
    """The damaged file of this number: one of `whole` with 1 to 6 mutations."""
    rng = np.random.default_rng((seed, number))
    raw = bytearray(whole[int(rng.integers(len(whole)))])
    for _ in range(int(rng.integers(1, 7))):
        mutation = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))]
        mutation(raw, rng, whole)
    return bytes(raw)


def judge(path: Path) -> str:
    """Read a file in every way there is: `read`, `refused`, or what went wrong."""
    ways = (_through_xdf, _through_player, _through_session)
    refused = 0
    for way in ways:
        if way is _through_xdf and path.suffix != ".xdf":
            continue
        try:
            with warnings.catch_warnings(), _time_limit():
                warnings.simplefilter("error")
                way(path)
        except FileError as error:
            if "\n" in str(error):
                return f"{way.__name__}: a sentence of several lines: {error!r}"
            refused += 1
        except Exception as error:  # noqa: BLE001 - finding these is what this is for
            where = traceback.extract_tb(error.__traceback__)
            ours = [f for f in where if f"{Path('devices')}" in Path(f.filename).parts]
            last = (ours or where)[-1]
            return (
                f"{way.__name__}: {type(error).__name__}: {str(error)[:120]} at "
                f"{Path(last.filename).name}:{last.lineno}"
            )
    return "refused" if refused else "read"


def _through_xdf(path: Path) -> None:
    with XdfFile(path) as file:
        n = sum(len(i.timestamps) for i in file.iter_chunks() if isinstance(i, XdfSamples))
        loaded = sum(len(series.timestamps) for series in file.load().values())
        if n != loaded:
            raise ValueError(f"{n} samples one by one, {loaded} at once")
        file.clock_probes()
        for stream_id in file.streams:
            file.last_offsets(file.seek(1000.5, stream_id))
        if any(not 0 <= d.start <= d.stop <= path.stat().st_size for d in file.damage):
            raise ValueError("a damaged range lies outside of the file")


def _through_player(path: Path) -> None:
    for start in (0.0, 0.7):
        recording = open_recording(path)
        try:
            for block in recording.blocks(start=start):
                if len(block.samples) != len(block.times):
                    raise ValueError("samples and times differ in number")
        finally:
            recording.close()


def _through_session(path: Path) -> None:
    source = RecordedSource(path)
    try:
        source.recorded_events()
        while source.read(0.0):
            pass
    finally:
        source.close()


# ------------------------------------------------------------------------------- whole files


def _eeg(name: str, fmt: str, n_channels: int, sfreq: float) -> StreamInfo:
    return StreamInfo(name, "EEG", f"{name}-1", n_channels, sfreq, fmt)


def _build_xdf(path: Path) -> None:
    rng = np.random.default_rng(0)
    clock = [0.0]
    with XdfWriter(path, boundary_interval=0.5, clock=lambda: clock[0]) as writer:
        writer.add_stream(1, _eeg("amp", "float32", 4, 250.0), {"role": "eeg"})
        writer.add_stream(2, StreamInfo("stim", "Markers", "s", 1, 0.0, "string"))
        writer.add_stream(3, _eeg("aux", "int16", 2, 50.0))
        for k in range(30):
            clock[0] += 0.1
            if k % 10 == 0:
                writer.write_clock_offset(1, 10.0 + k, -990.0)
                writer.write_clock_offset(2, 10.0 + k, -990.0)
            data = rng.standard_normal((10, 4)).astype(np.float32)
            writer.write_samples(1, data, 1000.0 + (10 * k + np.arange(10)) / 250)
            writer.write_samples(2, (f"face-{k}",), np.array([1000.0 + 10 * k / 250]))
            aux = rng.integers(-99, 99, (2, 2)).astype(np.int16)
            writer.write_samples(3, aux, 1000.0 + (2 * k + np.arange(2)) / 50)
            writer.tick()


def _build_bare_xdf(path: Path) -> None:
    """As other programs write: strings of any length, samples without stamps, short lengths."""
    parts = [b"XDF:"]

    def chunk(tag: int, content: bytes) -> None:
        length = len(content) + 2
        head = bytes((1, length)) if length < 256 else struct.pack("<BI", 4, length)
        parts.append(head + struct.pack("<H", tag) + content)

    chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    for number, fmt in ((1, "double64"), (2, "string")):
        rate = 100 if number == 1 else 0
        chunk(
            2,
            struct.pack("<I", number)
            + f"<?xml version='1.0'?><info><name>s{number}</name><type>"
            f"{'EEG' if number == 1 else 'Markers'}</type><channel_count>{3 - number}"
            f"</channel_count><nominal_srate>{rate}</nominal_srate><channel_format>{fmt}"
            "</channel_format><desc/></info>".encode(),
        )
    for k in range(20):
        sample = struct.pack("<2d", k, -k)
        body = b"\x08" + struct.pack("<d", 5.0 + k / 20) + sample
        chunk(3, struct.pack("<IBB", 1, 1, 5) + body + (b"\x00" + sample) * 4)
        text = b"x" * (k * 20)
        size = bytes((1, len(text))) if len(text) < 256 else struct.pack("<BI", 4, len(text))
        chunk(3, struct.pack("<IBB", 2, 1, 1) + b"\x08" + struct.pack("<d", 5 + k) + size + text)
        chunk(4, struct.pack("<Idd", 1, 5.0 + k, 0.25))
    chunk(6, struct.pack("<I", 1) + b"<info><sample_count>100</sample_count></info>")
    path.write_bytes(b"".join(parts))


def _build_openbci(path: Path) -> None:
    rng = np.random.default_rng(1)
    names = ["Sample Index", *(f"EXG Channel {k}" for k in range(8)), "Timestamp", "Marker Channel"]
    lines = [
        "%OpenBCI Raw EXG Data",
        "%Number of channels = 8",
        "%Sample Rate = 250 Hz",
        "%Board = OpenBCI_GUI$BoardCytonSerial",
        ", ".join(names),
    ]
    for k in range(300):
        values = [f"{v:.6f}" for v in rng.normal(0, 50, 8)]
        row = [str(k % 256), *values, f"{1.7e9 + k / 250:.6f}", "3.0" if k % 100 == 50 else "0.0"]
        lines.append(", ".join(row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _build_old_openbci(path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = ["%OpenBCI Raw EEG Data", "%Number of channels = 4", "%Sample Rate = 200.0 Hz"]
    for k in range(150):
        lines.append(", ".join([str(k % 256), *(f"{v:.2f}" for v in rng.normal(0, 50, 7))]))
    path.write_text("\r\n".join(lines), encoding="utf-8")


def _build_brainflow(path: Path, *, n_columns: int = 24, separator: str = "\t") -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(0, 50, (300, n_columns))
    rows[:, 0] = np.arange(300) % 256
    rows[:, -2] = 1.7e9 + np.arange(300) / 250
    rows[:, -1] = np.where(np.arange(300) % 100 == 50, 2.0, 0.0)
    text = "\n".join(separator.join(f"{v:.6f}" for v in row) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")


def _build_brainflow_commas(path: Path) -> None:
    _build_brainflow(path, n_columns=15, separator=",")


_CORPUS: Final[dict[str, tuple[_Build, ...]]] = {
    "XDF": (_build_xdf, _build_bare_xdf),
    "OpenBCI TXT": (_build_openbci, _build_old_openbci),
    "BrainFlow CSV": (_build_brainflow, _build_brainflow_commas),
}


def _suffix(reader: str) -> str:
    return f".{reader.rsplit(maxsplit=1)[-1].lower()}"


def _whole_files(folder: Path) -> dict[str, list[bytes]]:
    whole: dict[str, list[bytes]] = {}
    for reader, builders in _CORPUS.items():
        whole[reader] = []
        for number, build in enumerate(builders):
            path = folder / f"whole{number}{_suffix(reader)}"
            build(path)
            if judge(path) != "read":
                raise FileError(f"the undamaged {path.name} cannot be read: {judge(path)}.")
            whole[reader].append(path.read_bytes())
    return whole


# -------------------------------------------------------------------------------- mutations


def _place(raw: bytearray, rng: np.random.Generator) -> int:
    # Heads and headers decide most: half of the hits fall into the first fifth.
    share = rng.random() * (0.2 if rng.random() < 0.5 else 1.0)
    return min(int(share * len(raw)), max(0, len(raw) - 1))


def _flip(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    if raw:
        raw[_place(raw, rng)] ^= 1 << int(rng.integers(8))


def _set_number(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    at, value = _place(raw, rng), int(_NUMBERS[int(rng.integers(len(_NUMBERS)))])
    width = int(rng.choice((1, 2, 4, 8)))
    raw[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")


def _cut_end(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    del raw[_place(raw, rng) :]


def _cut_out(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    at = _place(raw, rng)
    del raw[at : at + int(rng.integers(1, 200))]


def _double(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    at = _place(raw, rng)
    raw[at:at] = raw[at : at + int(rng.integers(1, 400))]


def _noise(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    at = _place(raw, rng)
    raw[at:at] = rng.bytes(int(rng.integers(1, 64)))


def _splice(raw: bytearray, rng: np.random.Generator, whole: list[bytes]) -> None:
    other = whole[int(rng.integers(len(whole)))]
    raw[_place(raw, rng) :] = other[int(rng.integers(len(other))) :]


def _set_word(raw: bytearray, rng: np.random.Generator, _: list[bytes]) -> None:
    """Replace a number or a word (of a header or a row) by one that is hard to swallow."""
    at = _place(raw, rng)
    found = re.compile(rb"[A-Za-z0-9.+-]{1,40}").search(raw, at)
    if found:
        raw[found.start() : found.end()] = _WORDS[int(rng.integers(len(_WORDS)))]


_MUTATIONS: Final = (
    _flip,
    _set_number,
    _set_number,
    _cut_end,
    _cut_out,
    _double,
    _noise,
    _splice,
    _set_word,
    _set_word,
)


# ------------------------------------------------------------------------------------ bounds


def _note(
    findings: dict[str, dict[str, Any]],
    outcome: str,
    *,
    reader: str,
    case: tuple[int, int],
    raw: bytes,
    keep: Path,
) -> None:
    """Keep the first case of each kind."""
    what, _, where = outcome.partition(" at ")
    kind = f"{re.sub(r'[0-9]+', 'N', what)} at {where}"
    if kind in findings:
        findings[kind]["n"] += 1
        return
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"seed{case[0]}-case{case[1]}{_suffix(reader)}"
    path.write_bytes(raw)
    findings[kind] = {"n": 1, "reader": reader, "outcome": outcome, "file": str(path)}


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Make a reader that believes a length fail here (`MemoryError`) rather than the machine."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _HEADROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _time_limit() -> Iterator[None]:
    """End a case that hangs (main thread of a POSIX system; elsewhere it would hang)."""

    def give_up(_signum: int, _frame: FrameType | None) -> None:
        raise _TooSlowError(f"took more than {SLOW:g} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, SLOW)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
