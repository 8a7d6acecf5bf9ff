"""`phosphene streams` over real LSL."""

from __future__ import annotations

import argparse
import json

import pytest

from app.commands import streams
from devices.lsl.metadata import eeg_info
from devices.lsl.outlet import EegOutlet, MarkerOutlet

pytestmark = pytest.mark.lsl


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    streams.add_parser(parser.add_subparsers())
    return streams.run(parser.parse_args(["streams", *argv]))


def test_streams_are_listed_as_a_table_and_as_json(capsys):
    ch_names = tuple(f"E{k}" for k in range(10))
    info = eeg_info(
        name="cap\x1b[2J",
        source_id="listed",
        ch_names=(*ch_names, "COUNTER"),
        ch_types=("eeg",) * 10 + ("misc",),
        ch_units=("microvolts",) * 10 + ("none",),
        sfreq=500,
    )
    with EegOutlet(info), MarkerOutlet(source_id="listed-markers"):
        assert run("--timeout", "0.8") == 0
        text = capsys.readouterr().out
        assert run("--timeout", "0.8", "--json", "--type", "eeg") == 0
        (found,) = json.loads(capsys.readouterr().out)
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "\x1b" not in text
    assert "500 Hz" in rows["cap?[2J"]
    assert "E0 E1 E2 E3 E4 E5 E6 E7 +3" in rows["cap?[2J"]
    assert rows["cap?[2J"].endswith("microvolts")
    assert "irregular" in rows["phosphene-markers"]
    assert found["rate"] == 500.0
    assert found["channels"] == 11
    assert found["labels"] == [*ch_names, "COUNTER"]
    assert found["unit"] == "microvolts"
    assert found["format"] == "float32"
    assert found["host"]


def test_no_stream_is_no_failure(capsys):
    assert run("--timeout", "0.3", "--json", "--type", "no-such-type") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("--timeout", "0.3", "--type", "no-such-type") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No LSL stream" in captured.err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon", "inf"])
def test_a_timeout_that_is_no_time_is_wrong_usage(text, capsys):
    with pytest.raises(SystemExit) as caught:
        run("--timeout", text)
    assert caught.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
