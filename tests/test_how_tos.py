"""The how-tos are true: what they show is written, run and tested as they say.

`add-a-file-format` is followed by tests/devices/test_readers.py and tests/conformance;
`add-a-system` and `add-a-generator` by the tests of the registry.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.cli import build_parser
from configs import list_presets, load_config
from tests import how_to

PAGES = sorted(path.name for path in how_to.PAGES.glob("*.md"))


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The page's files, importable, in the current folder."""
    page = str(request.param)
    how_to.write_files(page, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        patch.chdir(tmp_path)
        before = set(sys.modules)
        yield tmp_path
        for name in set(sys.modules) - before:
            if (tmp_path / f"{name}.py").exists():
                del sys.modules[name]


def run(path: Path) -> dict[str, object]:
    names: dict[str, object] = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_are_understood(page: str) -> None:
    text = (how_to.PAGES / page).read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    commands = [
        shlex.split(line, comments=True)[1:]
        for line in lines.splitlines()
        if line.startswith("phosphene ")
    ]
    for words in commands:
        build_parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES)
def test_its_files_of_ours_exist(page: str) -> None:
    text = (how_to.PAGES / page).read_text(encoding="utf-8")
    root = how_to.PAGES.parents[1]
    named = re.findall(r"`((?:app|configs|devices|models|pipeline|tests|docs)/[\w./-]+)`", text)
    assert [name for name in named if not (root / name).exists()] == []


@pytest.mark.lsl
@pytest.mark.parametrize("written", ["add-a-board.md"], indirect=True)
def test_the_bridge_streams_as_a_source_should(written: Path) -> None:
    found = run(written / "test_acme_bridge.py")["test_acme_streams_as_a_source_should"]
    assert callable(found)
    found()


@pytest.mark.parametrize("written", ["add-a-preset.md"], indirect=True)
def test_the_preset_loads_here_and_from_python(written: Path) -> None:
    config = load_config(written / "long-epochs.toml")
    assert config.preset == "long-epochs"
    assert config.epochs.reject_uv == {"eeg": 150.0}
    run(written / "use_it.py")


def test_every_shipped_preset_bears_its_files_name_and_says_what_it_is_for() -> None:
    from importlib import resources

    folder = resources.files("configs") / "presets"
    for name in list_presets():
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        assert text.startswith("# "), name
        assert f'preset = "{name}"' in text, name


@pytest.mark.parametrize("written", ["add-a-view.md"], indirect=True)
def test_the_view_opens_from_the_menu_and_shows_the_outcomes(written: Path, qtbot: QtBot) -> None:
    from PySide6.QtCore import Qt

    from app.views.window.main_window import MainWindow
    from app.views.window.tools import Tool
    from tests.app.fake_session import FakeFactory, FakeSession
    from tests.app.test_views import STIMULI, run_demo

    tool = run(written / "entry.py")["OUTCOMES"]
    assert isinstance(tool, Tool)
    window = MainWindow(FakeFactory(template=FakeSession()), STIMULI, tools=(tool,))
    qtbot.addWidget(window)
    window.show()
    qtbot.keyClick(window, Qt.Key.Key_F8)
    (view,) = window.findChildren(sys.modules["outcomes_view"].OutcomesView)
    assert view.label.text() == "No marker yet."
    run_demo(window, qtbot, 5.0)
    outcomes = window.session.snapshot.outcomes
    assert outcomes
    assert view.label.text() == "\n".join(f"{name}: {count}" for name, count in outcomes.items())
    window.end()
