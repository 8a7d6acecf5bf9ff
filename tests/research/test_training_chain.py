"""The chain of `make train-embedded`: order, going on after an interruption, the comparison."""

from __future__ import annotations

import argparse
import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from research.embedded import chain


def test_every_stage_is_a_module_that_takes_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def refuse(_: argparse.ArgumentParser, text: str) -> NoReturn:
        seen.append(text)
        raise SystemExit(2)

    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    stages = chain.stages(tmp_path, tmp_path / "renders.tgz", tmp_path / "names.tgz")
    for stage in stages:
        module = importlib.import_module(f"research.embedded.{stage.module}")
        monkeypatch.setattr(
            sys, "argv", ["stage", *stage.arguments, *stage.quick, "--no-such-option"]
        )
        with pytest.raises(SystemExit):
            module.main()
    assert seen == ["unrecognized arguments: --no-such-option"] * len(stages)


def test_every_input_of_a_stage_is_made_by_an_earlier_one(tmp_path: Path) -> None:
    made = {"packages"}
    for stage in chain.stages(tmp_path / "out", tmp_path / "r.tgz", tmp_path / "n.tgz"):
        own = {stage.name}
        for argument in stage.arguments:
            path = Path(argument)
            if path.is_relative_to(tmp_path / "out"):
                assert path.relative_to(tmp_path / "out").parts[0] in made | own
        made |= own


def _stage(code: str) -> chain.Stage:
    class Script(chain.Stage):
        def command(self, *, quick: bool) -> list[str]:
            return [sys.executable, "-c", *self.arguments]

    return Script(name="one", module="none", arguments=(code,))


def test_ended_stage_is_not_run_again_and_a_failed_one_is(tmp_path: Path) -> None:
    count = tmp_path / "count"
    write = f"open({str(count)!r}, 'a').write('x')"
    with pytest.raises(SystemExit, match="Stage 'one' failed with exit code 3"):
        chain.run(_stage(f"{write}; raise SystemExit(3)"), tmp_path, quick=True)
    chain.run(_stage(write), tmp_path, quick=True)
    chain.run(_stage(write), tmp_path, quick=True)
    assert count.read_text() == "xx"
    assert json.loads((tmp_path / "one" / "ended.json").read_text())["quick"] is True


def test_missing_package_is_named_with_what_fetches_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        chain.main(["--out", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert chain.RENDERS in said
    assert "scripts/fetch_packages.py" in said


def test_download_cut_short_leaves_no_package(tmp_path: Path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch_packages.py"))
    fetch, packages = script["fetch"], script["PACKAGES"]

    def broken(_: str, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        fetch(tmp_path, broken)
    assert set(packages) == {chain.RENDERS, chain.NAMES}
    assert not any((tmp_path / name).exists() for name in packages)
    fetch(tmp_path, lambda _, path: path.write_bytes(b"whole"))
    assert all((tmp_path / name).read_bytes() == b"whole" for name in packages)


def test_comparison_sets_this_run_beside_what_ships() -> None:
    table = chain.compared({"a": 1.0, "b": 2.0}, {"a": 3.0})
    assert "| a | 3.00 | 1.00 |" in table
    assert "| b | - | 2.00 |" in table
