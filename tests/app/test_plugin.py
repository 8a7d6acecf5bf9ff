"""Somebody else's distribution (`tests/plugin_example`) decodes as ours do.

Its faults are one line that names it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.diagnosis import check_weights
from tests import how_to
from tests.app.plugin_recordings import write_eeg, write_fmri
from tests.conformance.plugin import on_path, write_example
from tests.waiting import PATIENCE, wait_for

LIVE = """
[epochs]
mode = "free"
tmin = 0.0
baseline = "none"
[decoder]
system = "lab-linear"
spare = false
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the plug-in in it; everything else is this one's."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    made = folder / "bin" / "python" if os.name == "posix" else folder / "Scripts" / "python.exe"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([made, "-c", ask], capture_output=True, text=True, check=True)
    root = str(Path(__file__).parents[2])
    here = [root, *(path for path in sys.path if "site-packages" in path)]
    Path(site.stdout.strip(), "here.pth").write_text("\n".join(here) + "\n")
    source = folder / "source"  # pip builds beside it
    write_example(source)
    pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-q", str(source)], check=True, timeout=PATIENCE)
    return made


def _run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [python, "-P", "-m", "phosphene", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_it_is_listed_calibrated_decodes_and_is_reported(python: Path, tmp_path: Path) -> None:
    listed = json.loads(_run(python, tmp_path, "systems", "--json").stdout)
    found = {each["name"]: each for each in listed["systems"]}
    assert found["lab-linear"]["distribution"] == "lab-decoder 1.0"
    assert found["lab-linear"]["available"]
    assert not listed["problems"]
    write_eeg(tmp_path / "eeg.xdf")
    (tmp_path / "lab.toml").write_text('[decoder]\nsystem = "lab-linear"\n')
    words = ("--from", "eeg.xdf", "--labels", "left,right", "--config", "lab.toml")
    made = _run(python, tmp_path, "calibrate", "--headless", "--subject", "S", *words, "--json")
    adapter = json.loads(made.stdout)["adapter"]
    words = ("--replay", "eeg.xdf", "--config", "lab.toml", "--adapter", adapter, "--subject", "S")
    _run(python, tmp_path, "run", "--headless", *words, "--out", "out")
    events = _events(tmp_path / "out")
    assert {event["outcome"] for event in events} == {"decoded"}
    used = tomllib.loads((tmp_path / "out" / "session.toml").read_text())
    assert Path(used["decoder"]["adapter"]).name.endswith(adapter.rsplit("-", 1)[-1])
    # Two classes: all vectors point between two prototypes.
    assert {e["top"][0][0] for e in events} == {e["top"][0][0] for e in events[:8]}
    assert "lab-linear" in (tmp_path / "out" / "report.html").read_text()


def test_it_decodes_live_in_the_decoders_process(
    python: Path, tmp_path: Path, popen: Callable[..., subprocess.Popen[Any]]
) -> None:
    popen(
        [python, "-P", "-m", "phosphene", "simulate", "--source-id", "head", "--board", "cyton"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (tmp_path / "live.toml").write_text(LIVE)
    words = ("--config", "live.toml", "--source-id", "head", "--out", "out")
    session = popen(
        [python, "-P", "-m", "phosphene", "run", "--headless", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: session.poll() is not None or any(tmp_path.glob("out/images/*.png")))
    session.send_signal(signal.SIGINT)
    session.wait(PATIENCE)
    decoded = [event for event in _events(tmp_path / "out") if event["outcome"] == "decoded"]
    assert decoded
    assert all((tmp_path / "out" / event["image"]).is_file() for event in decoded)


def test_an_encoder_of_fmri_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fmri(tmp_path / "bold.xdf")
    words = ("--preset", "lab-fmri", "--out", str(tmp_path / "out"))
    site = tmp_path / "site"
    write_example(site)
    monkeypatch.setenv("PYTHONPATH", str(site))  # the decoder's process
    with on_path(site):
        assert main(["run", "--headless", "--replay", str(tmp_path / "bold.xdf"), *words]) == 0
    events = _events(tmp_path / "out")
    assert [event["outcome"] for event in events] == ["decoded"] * 6
    assert all(event["top"] and event["chance"] for event in events)
    assert len({event["embedding_sha256"] for event in events}) == 6


BROKEN = {
    "import": ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "raise": (
        "raise RuntimeError('no \\x1b[31mlicence\\nat all')\n",
        "RuntimeError: no ?[31m",
    ),
    "exit": ("import sys\nprint('{')\nsys.exit(3)\n", "SystemExit: 3"),
    "type": ("LINEAR = FMRI = TILES = 7\n", "is a int, expected a SystemDescriptor"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_one_line_that_names_it(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = BROKEN[fault]
    site = tmp_path / "site"
    write_example(site)
    (site / "lab_decoder.py").write_text(code)
    with on_path(site):
        assert main(["systems", "--json"]) == 0
        out, err = capsys.readouterr()
        problems = json.loads(out)["problems"]
        assert len(problems) == 3
        assert "'lab-linear' of lab-decoder 1.0 (phosphene.systems)" in " ".join(problems)
        assert all(words in problem for problem in problems)
        assert "\x1b" not in err
        notes = [check for check in check_weights() if check.name == "plug-in"]
        assert [note.found for note in notes] == problems
        assert "Traceback" not in err
        out_dir = str(tmp_path / "out")
        (tmp_path / "c.toml").write_text('[decoder]\nsystem = "lab-linear"\n')
        given = ["--config", str(tmp_path / "c.toml"), "--data", str(tmp_path / "c.toml")]
        assert main(["generate", "lab-linear", *given, "--out", out_dir]) == 1
        assert "lab-decoder 1.0" in capsys.readouterr().err.strip().splitlines()[-1]


HOW_TOS = {
    "add-a-system.md": ("lab-halves", "--config", "lab.toml"),
    "add-a-generator.md": ("lab-mosaic", "--generator", "lab-mosaic"),
}


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_how_to_is_true(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *words = HOW_TOS[page]
    site = tmp_path / "site"
    how_to.write_files(page, site)
    how_to.install(site)
    write_eeg(site / "walk.xdf", n_trials=4)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.chdir(site)
    with on_path(site):
        assert main(["systems", name, "--check"]) == 0
        assert capsys.readouterr().out == f"{name}: keeps the contract\n"
        assert main(["run", "--headless", *words, "--replay", "walk.xdf", "--out", "session"]) == 0
    assert [event["outcome"] for event in _events(site / "session")] == ["decoded"] * 4
