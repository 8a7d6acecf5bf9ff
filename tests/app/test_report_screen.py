"""The report of a session that presented stimuli: frames, drops, photodiode, offset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from app.port import DisplayFigures
from app.report.findings import Tone
from app.runtime.stimuli import Presenter
from configs import SessionConfig
from tests.app.session_folders import SETTINGS, make_session
from tests.app.test_report import build, sentences

GOOD = DisplayFigures(
    method="locked to the screen's refresh (OpenGL swap)",
    locked=True,
    nominal_hz=60.0,
    refresh_hz=59.94,
    n_frames=3640,
    n_dropped=2,
    worst_gap_ms=33.4,
)
HEADSET: dict[str, Any] = {"preset": "pictures", "streams": {"eeg": {"name": "brainflow-cyton"}}}


def stimuli_of(display: DisplayFigures | None, *, shown: int = 48, flips: int = 48) -> dict:
    """What the presenter writes into the summary, by its own hand."""
    presenter = Presenter(iter(()), push=lambda _label, _at: None, clock=lambda: 0.0)
    presenter.n_shown = shown
    presenter._delays = [0.0042] * flips
    if display is not None:
        presenter.report(display)
    return presenter.figures()


def session(folder: Path, stimuli: dict | None, /, **settings: Any) -> Path:
    """A session folder with these stimuli, its settings as a session writes them."""
    make_session(folder, **({} if stimuli is None else {"stimuli": stimuli}))
    whole = SessionConfig().model_dump(exclude_none=True)
    table = whole | SETTINGS | settings
    (folder / "session.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    return folder


def test_the_screen_s_figures_stand_in_the_report(tmp_path: Path) -> None:
    config = SessionConfig()
    stimuli = config.stimuli.model_copy(update={"photodiode": "bottom-left", "photodiode_px": 60})
    markers = config.markers.model_copy(update={"stimulus_offset_ms": 12.5})
    folder = session(
        tmp_path / "s",
        stimuli_of(GOOD),
        stimuli=stimuli.model_dump(exclude_none=True),
        markers=markers.model_dump(exclude_none=True),
    )
    text = build(folder).text
    part = text[text.index("The stimuli on the screen") :]
    for words in (
        *("stimuli presented 48", "stamped at the flip 48", "stamped as planned 0"),
        *("frames presented 3640", "frames dropped 2 (0.05 % of those due)"),
        *("flip after plan 4.2 ms median", "refresh rate 60 Hz stated, 59.94 Hz measured"),
        *("longest time between two frames 33.4 ms", "locked to the screen's refresh"),
        *("photodiode square bottom-left, 60 pixels a side", "stimulus_offset_ms 12.5 ms"),
    ):
        assert words in part
    assert not any("frame" in sentence for sentence in sentences(folder))


def test_a_session_that_presented_nothing_says_nothing_of_a_screen(tmp_path: Path) -> None:
    folder = session(tmp_path / "s", None, **HEADSET)
    assert "on the screen" not in build(folder).text
    assert not any("stimulus window" in sentence for sentence in sentences(folder))


@pytest.mark.parametrize(
    ("display", "flips", "settings", "tone", "words"),
    [
        (
            replace(GOOD, n_dropped=80),
            48,
            HEADSET,
            Tone.WARNING,
            "dropped 80 frames of 3720 (2.2 %",
        ),
        (replace(GOOD, locked=False), 48, HEADSET, Tone.NOTE, "did not follow the screen"),
        (GOOD, 40, HEADSET, Tone.WARNING, "8 stimuli of 48 came while no stimulus window"),
        (None, 0, HEADSET, Tone.WARNING, "nobody can have seen the pictures"),
    ],
)
def test_what_is_wrong_with_a_screen_is_a_sentence(
    tmp_path: Path,
    display: DisplayFigures | None,
    flips: int,
    settings: dict[str, Any],
    tone: Tone,
    words: str,
) -> None:
    folder = session(tmp_path / "s", stimuli_of(display, flips=flips), **settings)
    found = {text: each for text, each in sentences(folder).items() if words in text}
    assert list(found.values()) == [tone]


def test_a_virtual_headset_needs_no_window(tmp_path: Path) -> None:
    folder = session(tmp_path / "s", stimuli_of(None, flips=0))
    assert not any("stimulus window" in sentence for sentence in sentences(folder))
    part = build(folder).text
    assert "No stimulus window was open" in part
    assert "frames presented" not in part
    assert "photodiode square off" in part


def test_figures_that_are_none_are_left_out(tmp_path: Path) -> None:
    odd = {"shown": 3, "stamped_at_flip": "many", "display": {"n_frames": [], "method": 7}}
    assert "stimuli presented 3" in build(session(tmp_path / "s", odd)).text
    assert "on the screen" not in build(session(tmp_path / "t", {"shown": -4})).text
