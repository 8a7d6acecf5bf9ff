"""Names that hold escape sequences, through every command that shows them, over real LSL."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pylsl
import pytest

from app.cli import main
from app.output import Colour, PlainFormatter, paint, show_progress, table, write_lines, write_note
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import EegOutlet, MarkerOutlet
from devices.xdf import XdfWriter
from tests.devices.xdf_tools import eeg_stream, marker_stream

NASTY = "cap\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\nphosphene: forged\r"
FORGED = "\nphosphene: forged"


def is_harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text) and FORGED not in text


@contextmanager
def nasty_outlets() -> Iterator[None]:
    """An EEG outlet with nasty words everywhere, fed from a thread, and its markers."""
    info = eeg_info(name=NASTY, source_id=f"id-{NASTY}", ch_names=("C3", f"C4{NASTY}"), sfreq=250)
    stop = threading.Event()
    with EegOutlet(info) as eeg, MarkerOutlet(name=f"m{NASTY}", source_id=f"m-{NASTY}") as markers:

        def feed() -> None:
            while not stop.wait(0.04):
                stamps = pylsl.local_clock() + np.arange(-9, 1) / 250
                eeg.push(np.ones((10, 2)), stamps)
                markers.push(NASTY, float(stamps[-1]))

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.mark.lsl
def test_commands_that_see_a_nasty_outlet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with nasty_outlets():
        for words in (
            ("streams", "--timeout", "2"),
            ("streams", "--timeout", "2", "--json"),
            ("record", "--out", tmp_path / "r.xdf", "--duration", "1"),
            ("record", "--out", tmp_path / "q.xdf", "--source-id", "not-there", "--timeout", "1"),
            ("run", "--headless", "--name", "not-there", "--out", tmp_path / "o"),
        ):
            main([str(word) for word in words])
            printed, said = capsys.readouterr()
            assert "cap" in printed + said, words
            assert is_harmless(printed), (words, ascii(printed))
            assert is_harmless(said), (words, ascii(said))
    for words in (
        ("run", "--headless", "--replay", tmp_path / "r.xdf", "--out", tmp_path / "p"),
        ("export", tmp_path / "r.xdf", "--bids", tmp_path / "b", "--subject", 1, "--task", "t"),
        ("calibrate", "--headless", "--from", tmp_path / "r.xdf", "--out", tmp_path / "c"),
    ):
        main([str(word) for word in words])
        printed, said = capsys.readouterr()
        assert is_harmless(printed + said), (words, ascii(printed + said))


@pytest.mark.lsl
def test_a_nasty_recording_and_a_nasty_file_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a\x1b[31m{os.linesep}b\u202e.xdf"
    with XdfWriter(path) as writer:
        for number in (1, 2):
            writer.add_stream(number, replace(eeg_stream(), name=NASTY, type="EEG"))
            writer.write_samples(number, np.ones((25, 4), np.float32), np.arange(25) / 250)
        writer.add_stream(3, replace(marker_stream(), name=NASTY))
        writer.write_samples(3, (NASTY,), np.array([0.05]))
    bids = ("--bids", tmp_path / "b", "--subject", 1, "--task", "t")
    for words in (
        ("replay", path),
        ("replay", path, "--json"),
        ("run", "--headless", "--replay", path, "--out", tmp_path / "o"),
        ("export", path, *bids),
        ("export", path, "--source-id", "#1", *bids),
        ("calibrate", "--headless", "--from", path, "--out", tmp_path / "c"),
        ("export", tmp_path / "no\x1b[2J.edf", *bids),
    ):
        main([str(word) for word in words])
        printed, said = capsys.readouterr()
        assert printed + said, words
        assert is_harmless(printed + said), (words, ascii(printed + said))


def test_simulate_says_a_nasty_id_plainly(popen: type[subprocess.Popen[str]]) -> None:
    process = popen(
        [
            sys.executable,
            "-P",
            "-m",
            "phosphene",
            "simulate",
            "--source-id",
            NASTY,
            "--duration",
            "0.5",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    printed, said = process.communicate(timeout=60)
    assert "source_id" in printed, said
    assert is_harmless(printed + said)


def test_the_ways_out_are_closed(capsys: pytest.CaptureFixture[str]) -> None:
    write_note(NASTY)
    write_lines([NASTY, "second"])
    show_progress(NASTY)
    printed, said = capsys.readouterr()
    assert is_harmless(printed)
    assert printed.endswith("second\n")
    assert is_harmless(said)
    assert said.count("\n") == 1
    assert is_harmless(table(("a",), [(NASTY,)]))
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(PlainFormatter("%(levelname)s %(message)s"))
    try:
        raise ValueError(NASTY)
    except ValueError as error:
        record = logging.LogRecord("x", 30, "f", 1, "bad %s", (NASTY,), (ValueError, error, None))
        handler.emit(record)
    assert log.getvalue().startswith("WARNING bad cap")
    assert all(c.isprintable() or c == "\n" for c in log.getvalue())


def test_our_own_colours_stay_on_a_terminal() -> None:
    from app.output import write_text

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    write_text(paint("good", Colour.GOOD, stream=out) + "\x1b[2J", stream=out)
    assert out.getvalue() == "\x1b[32mgood\x1b[0m?[2J\n"
