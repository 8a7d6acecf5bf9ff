"""`phosphene devices` and `phosphene device`."""

from __future__ import annotations

import argparse
import json

import pytest

from app.commands import device, devices
from devices.boards import load_brainflow
from devices.errors import BoardError

try:
    load_brainflow()
except BoardError as error:
    pytest.skip(str(error), allow_module_level=True)


def run(module, name: str, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    return module.run(parser.parse_args([name, *argv]))


def test_boards_are_listed_with_what_each_needs(capsys):
    assert run(devices, "devices", "--json") == 0
    boards = {board["name"]: board for board in json.loads(capsys.readouterr().out)}
    cyton = boards["cyton"]
    assert (cyton["channels"], cyton["rate"], cyton["has_counter"]) == (8, 250.0, True)
    assert cyton["parameters"]["required"] == ["serial_port"]
    assert "/dev/ttyUSB" in cyton["parameters"]["hint"]
    assert boards["playback-file"]["rate"] is None
    assert run(devices, "devices") == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("ganglion ")]
    assert "--serial-port" in line
    assert "--mac" in line
    assert "Serial ports here:" in text


@pytest.mark.lsl
def test_a_board_is_bridged_until_it_is_stopped(capsys):
    argv = ["synthetic", "--duration", "0.3", "--source-id", "bf-command", "--json"]
    assert run(device, "device", *argv) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["source_id"] == "bf-command"
    assert about["ch_names"][-1] == "COUNTER"


def test_a_failure_reaches_the_caller():
    with pytest.raises(BoardError, match="cannot be reached"):
        run(device, "device", "cyton", "--serial-port", "/dev/no-such-port")
