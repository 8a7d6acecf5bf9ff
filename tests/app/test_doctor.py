"""Doctor, systems and what they stand on: weights' hashes, the registry, the output helper."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import diagnosis, display
from app.commands import doctor, systems
from app.diagnosis import Status
from app.output import Colour, clear_progress, paint, show_progress, table, write_json
from configs import load_preset
from models.registry import UnknownSystemError, find_system, read_registry
from models.weights import WeightState, check_weights, write_hashes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(command: Any, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    parser.set_defaults(verbose=0)  # as `phosphene` itself
    command.add_parser(parser.add_subparsers(dest="command"))
    name = command.__name__.rsplit(".", 1)[-1]
    code = command.run(parser.parse_args([name, *argv]))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.lsl
def test_doctor_prints_one_document_and_its_exit_code_says_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run(doctor, capsys, "--json")
    document = json.loads(out)
    checks = {check["name"]: check for check in document["checks"]}
    failed = [name for name, check in checks.items() if check["status"] == "error"]
    assert document["ok"] == (not failed)
    assert code == (1 if failed else 0)
    assert all(name in err for name in failed)
    assert checks["versions"]["data"]["torch"].startswith("2.13")
    assert checks["decoder"]["data"]["device"] == "cpu"
    assert checks["decoder"]["data"]["backend"] in {"onnxruntime", "openvino"}
    assert checks["decoder"]["data"]["backends"]["eager"] == ""
    assert checks["decoder"]["data"]["why"]
    assert checks["lsl"]["status"] == "ok"
    assert 0 < checks["lsl"]["data"]["read_after"] < 5
    assert "weights of embedded" in checks
    assert "window" in checks


@pytest.mark.lsl
def test_doctor_says_what_to_do_when_lsl_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import pylsl

    monkeypatch.setattr(pylsl, "resolve_byprop", lambda *_: [])
    check = diagnosis.check_lsl(0.1)
    assert check.status is Status.ERROR
    assert "not found" in check.found
    assert "firewall" in check.advice


def test_a_folder_that_cannot_be_written_is_found_by_trying(tmp_path: Path) -> None:
    good = diagnosis.check_folder("data", tmp_path / "not" / "there" / "yet")
    assert good.status is Status.OK
    assert not (tmp_path / "not").exists(), "looking must not make folders"
    blocker = tmp_path / "file"
    blocker.write_text("")
    bad = diagnosis.check_folder("data", blocker / "below")
    assert bad.status is Status.ERROR
    assert str(blocker) in bad.found


def test_a_full_disk_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "LOW_DISK", float("inf"))
    assert diagnosis.check_folder("data", tmp_path).status is Status.NOTE


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PACKAGES", ("numpy", "no-such-package-at-all"))
    check = diagnosis.check_versions()
    assert check.status is Status.ERROR
    assert "no-such-package-at-all" in check.advice
    assert "numpy" not in check.advice


@pytest.mark.parametrize(
    ("module", "function", "reason"),
    [
        ("os", "getlogin_of_nobody", "KeyError: 'getlogin_of_nobody'"),
        ("os", "abort", "the process ended with"),
        ("builtins", "copyright", "the answer is not JSON"),
    ],
)
def test_a_library_that_dies_does_not_take_the_doctor_along(
    module: str, function: str, reason: str
) -> None:
    answer, found = diagnosis.run_probe(module, function)
    assert answer is None
    assert reason in found


def test_qt_that_cannot_start_is_a_note_with_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "missing_packages", lambda: ["libegl1"])
    check = diagnosis.check_qt()
    assert check.status is Status.NOTE
    assert "sessions run headless" in check.found
    assert check.advice.endswith("sudo apt install libegl1")


def test_qt_that_dies_for_another_reason_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "missing_packages", list)
    monkeypatch.setattr(diagnosis, "run_probe", lambda *_, **__: (None, "the plugin is broken"))
    check = diagnosis.check_qt()
    assert check.status is Status.NOTE
    assert "the plugin is broken" in check.found


def test_doctor_shows_advice_and_fails_when_something_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [
        diagnosis.Check("lsl", Status.OK, "fine"),
        diagnosis.Check("window", Status.NOTE, "no display"),
        diagnosis.Check("weights", Status.ERROR, "damaged", "install again"),
    ]
    monkeypatch.setattr(diagnosis, "diagnose", lambda **_: iter(checks))
    code, out, err = run(doctor, capsys)
    assert code == 1
    assert "-> install again" in out
    assert err == "phosphene doctor: not working here: weights\n"
    checks.pop()
    assert run(doctor, capsys)[0] == 0


def test_systems_lists_all_and_never_pretends(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(systems, capsys, "--json")
    assert code == 0
    entries = {entry["name"]: entry for entry in json.loads(out)["systems"]}
    listed = {n for n, each in read_registry().systems.items() if each.descriptor.is_listed}
    assert set(entries) == listed
    seeds = {"dreamdiffusion", "mind-vis", "atm-multimodal", "contrast-attend-diffuse", "mindeye"}
    assert seeds <= listed
    for name, entry in entries.items():
        descriptor = read_registry().systems[name].descriptor
        if not descriptor.encoder:  # these draw, and read no signal
            assert entry["input_shape"] == ""
            assert not entry["decodes"]
        else:
            assert entry["input_shape"], f"{name} lacks input_shape"
        for key in ("modality", "target_space"):
            assert entry[key], f"{name} lacks {key}"
        draws = bool(descriptor.sampler or descriptor.drawn_by)
        assert bool(entry["generator"]) == draws, f"{name} lacks its generator"
        needs_none = descriptor.folder is None and descriptor.drawn_by
        assert entry["weights"] or needs_none, f"{name} lacks weights"
        assert entry["is_implemented"], name


def test_a_published_system_without_weights_is_no_fault() -> None:
    found = {check.name: check for check in diagnosis.check_weights()}
    assert "weights of dreamdiffusion" not in found
    check = found["other weights"]
    assert check.status is diagnosis.Status.NOTE
    assert "dreamdiffusion" in check.found
    problem = check.data["dreamdiffusion"]["problems"][0]
    assert "condition/model.safetensors is missing, expected the EEG encoder" in problem


def test_systems_as_text_names_every_system(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(systems, capsys)
    found = read_registry().systems
    for name, each in found.items():
        assert (f"\n{name} " in out) == each.descriptor.is_listed
    announced = [name for name, each in found.items() if not each.descriptor.is_implemented]
    assert out.count("not implemented yet") == len(announced)


def test_presets_name_systems_that_exist() -> None:
    for preset in ("default", "demo", "free-running"):
        assert find_system(load_preset(preset).decoder.system).descriptor.is_implemented
    with pytest.raises(UnknownSystemError, match="'no such system' is unknown, expected one of"):
        find_system("no such system")


def test_a_sessions_own_process_and_asking_for_systems_load_no_torch() -> None:
    code = (
        "import sys, app.commands.systems as c, models.registry as r, app.runtime.launch;"
        "[c.describe(f) for f in r.read_registry().systems.values()];"
        "sys.exit('torch' in sys.modules or 'PySide6' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shipped_weights_are_whole() -> None:
    status = find_system("embedded").descriptor.status()
    assert status is not None
    if not status.folder.exists():
        pytest.skip(f"{status.folder} is absent: this checkout was made without weights")
    assert status.problems == ()
    assert status.state is WeightState.READY


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "unet" / "config.json").write_text("{}")
    return tmp_path


def test_weights_are_ready_once_their_hashes_match(weights: Path) -> None:
    assert check_weights(weights).state is WeightState.UNVERIFIED
    write_hashes(weights)
    status = check_weights(weights)
    assert (status.state, status.n_files, status.n_bytes) == (WeightState.READY, 1, 7)
    assert status.problems == ()
    write_hashes(weights)
    assert check_weights(weights).state is WeightState.READY, "hashing twice must not hash itself"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_or_lost_file_is_named(weights: Path, name: str) -> None:
    write_hashes(weights)
    path = weights / "unet" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    changed = check_weights(weights)
    assert changed.state is WeightState.DAMAGED
    assert f"{path}: changed" in changed.problems[0]
    path.unlink()
    lost = check_weights(weights)
    assert lost.state is WeightState.DAMAGED
    assert f"{path}: missing" in lost.problems[0]


def test_a_needed_file_is_named_and_a_broken_list_proves_nothing(weights: Path) -> None:
    missing = check_weights(weights, ["unet/model.safetensors", "vae/model.safetensors"])
    assert missing.state is WeightState.MISSING
    assert missing.problems == (f"{weights / 'vae/model.safetensors'}: missing",)
    write_hashes(weights)
    assert check_weights(weights, ["vae/model.safetensors"]).state is WeightState.MISSING
    for content in ("", "[]", "{}"):
        (weights / "hashes.json").write_text(content)
        assert check_weights(weights).state is WeightState.UNVERIFIED


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", Colour.GOOD, stream=Terminal()) == "\x1b[32mx\x1b[0m"
    assert paint("x", Colour.GOOD, stream=io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", Colour.GOOD, stream=Terminal()) == "x"


def test_progress_is_one_line_on_a_terminal_and_silence_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        monkeypatch.setattr("sys.stderr", stream)
        show_progress("x" * 500)
        clear_progress()
    assert terminal.getvalue() == f"\r\x1b[K{'x' * 109}…\r\x1b[K"
    assert log.getvalue() == ""


@given(st.lists(st.lists(st.text(max_size=12), min_size=2, max_size=2), max_size=4))
def test_a_table_keeps_one_line_a_row_whatever_the_names(rows: list[list[str]]) -> None:
    lines = table(("name", "type"), rows).split("\n")
    assert len(lines) == 2 + len(rows)
    assert not any(c in "".join(lines) for c in "\r\x1b\x00\u2028\u202e")


def test_a_table_with_a_ragged_row_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        table(("a", "b"), [("1",)])


def test_json_output_is_one_document() -> None:
    stream = io.StringIO()
    write_json({"path": Path("x"), "µ": 1}, stream=stream)
    assert json.loads(stream.getvalue()) == {"path": "x", "µ": 1}
