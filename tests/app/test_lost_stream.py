"""A stream that is lost: stimuli pause, their markers end fittingly, what is ours is restarted."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.errors import AppError
from app.port import Phase
from app.runtime import launch
from app.runtime.decoding import Past
from app.runtime.launch import MAX_RESTARTS, VirtualHeadset, demo_session
from app.runtime.session import Session
from app.runtime.stimuli import Presentation, Presenter
from configs import DecoderConfig, OutletsConfig, SessionConfig, load_preset
from devices.hostile import Burst, Death, Fault, HostileSettings, HostileSource
from tests.waiting import PATIENCE, wait_for

Popen = Callable[..., subprocess.Popen[Any]]


# -- the presenter ------------------------------------------------------------------------------


class Shown:
    """A presenter of the labels 0, 1, 2, ... every 30 ms, and what it has pushed."""

    def __init__(self, *, duration: float | None = None, patience: float = math.inf) -> None:
        self.pushed: list[tuple[str, float]] = []
        self.presenter = Presenter(
            (Presentation(0.03 * n, str(n), 0.01) for n in itertools.count()),
            push=lambda label, at: self.pushed.append((label, at)),
            clock=time.monotonic,
            duration=duration,
            patience=patience,
        )
        self.presenter.start()


def test_stimuli_pause_and_go_on_where_they_stood() -> None:
    shown = Shown()
    presenter = shown.presenter
    wait_for(lambda: len(shown.pushed) >= 3)
    presenter.set_paused(True)
    wait_for(lambda: presenter.cue is None)
    assert presenter.current is None
    before, resumed_at = len(shown.pushed), time.monotonic()
    presenter.set_paused(False)
    wait_for(lambda: len(shown.pushed) >= before + 3)
    presenter.stop()
    assert presenter.finished
    # None left out, none shown twice; the first one only after time to look up again.
    assert [label for label, _ in shown.pushed] == [str(n) for n in range(len(shown.pushed))]
    assert shown.pushed[before][1] >= resumed_at + 0.5
    assert presenter.n_shown == len(shown.pushed)


def test_a_pause_does_not_prolong_what_is_shown_for_a_time() -> None:
    shown = Shown(duration=0.3)
    wait_for(lambda: shown.pushed)
    shown.presenter.set_paused(True)
    wait_for(lambda: shown.presenter.finished)
    assert len(shown.pushed) < 11


def test_a_calibration_does_not_wait_for_ever_for_a_stream_that_is_gone() -> None:
    shown = Shown(patience=0.1)
    wait_for(lambda: shown.pushed)
    shown.presenter.set_paused(True)
    wait_for(lambda: shown.presenter.finished)


def test_stimuli_that_are_paused_can_be_ended() -> None:
    shown = Shown()
    shown.presenter.set_paused(True)
    wait_for(lambda: shown.presenter.cue is None)
    shown.presenter.stop()
    assert shown.presenter.finished


# -- markers ------------------------------------------------------------------------------------


def events_with(
    out: Path, *faults: Fault, duration: float = 60.0, past: Past | None = None
) -> Mapping[int, dict[str, Any]]:
    """Events of a session on a hostile stream that nobody decodes, by index."""
    source = HostileSource(HostileSettings(duration=duration, chunk=25), faults)
    session = Session(
        SessionConfig(
            buffer=60.0,
            decoder=DecoderConfig(enabled=False),
            outlets=OutletsConfig(enabled=False),
        ),
        out=out,
        open_source=lambda _: source,
        clock=lambda: source.now,
        is_live=False,
        past=past,
    )
    session.start()
    assert session.wait(PATIENCE)
    lines = (out / "events.jsonl").read_text().split("\n")
    return {event["index"]: event for event in map(json.loads, filter(None, lines))}


def during(events: Mapping[int, dict[str, Any]], start: float, stop: float) -> set[str]:
    """Outcomes of the markers between two times of the stream, s."""
    return {
        event["outcome"]
        for event in events.values()
        if 1000.0 + start <= event["t_onset"] <= 1000.0 + stop
    }


def test_markers_while_nothing_streams_are_not_too_far_ahead(tmp_path: Path) -> None:
    events = events_with(tmp_path / "out", Death(15.0, 30.0))
    assert during(events, 15.0, 44.5) == {"gap"}
    assert "future" not in during(events, 0.0, 60.0)


def test_markers_of_a_stream_that_never_returns_have_no_data(tmp_path: Path) -> None:
    events = events_with(tmp_path / "out", Death(15.0, 300.0))
    assert during(events, 15.0, 60.0) == {"no_data"}


def test_markers_in_a_stall_are_used_when_its_samples_come_after_all(tmp_path: Path) -> None:
    events = events_with(tmp_path / "out", Burst(15.0, 20.0))
    assert during(events, 15.0, 35.0) == {"collected"}


def test_a_session_of_before_keeps_what_it_called_them(tmp_path: Path) -> None:
    """It is replayed with the outcomes of then, whatever is better now."""
    fault = Death(15.0, 30.0)
    found = events_with(tmp_path / "now", fault)
    then = {index: "future" for index, event in found.items() if event["outcome"] == "gap"}
    assert len(then) > 10
    again = events_with(tmp_path / "then", fault, past=Past(outcomes=then))
    assert {i: e["outcome"] for i, e in again.items() if e["outcome"] == "future"} == then


# -- the virtual headset ------------------------------------------------------------------------


@pytest.fixture
def headset(monkeypatch: pytest.MonkeyPatch, popen: Popen) -> VirtualHeadset:
    """A virtual headset whose process only says that it is ready."""
    code = "print('{\"ready\": true}', flush=True); input()"

    def start(_: str, *__: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)

    monkeypatch.setattr(launch, "start_module", start)
    return VirtualHeadset(load_preset("demo"), source_id="a", markers_source_id="b")


def test_a_headset_of_our_own_that_died_is_reaped_and_started_anew(
    headset: VirtualHeadset,
) -> None:
    headset.open(threading.Event())
    assert headset.tend() == ""
    for number in range(1, MAX_RESTARTS + 1):
        process = headset._process
        assert process is not None
        process.kill()
        heard: list[str] = []
        wait_for(lambda heard=heard: heard or heard.extend(filter(None, [headset.tend()])))  # type: ignore[misc]
        assert process.returncode == -9, "reaped: it is no zombie"
        assert heard == [
            "The virtual headset ended unasked (exit code -9) and was started anew "
            f"({number} of {MAX_RESTARTS} times)."
        ]
        wait_for(lambda: headset._is_ready)
        assert not headset._is_following, "it has to find the stimuli once more"
    assert headset._process is not None
    headset._process.kill()
    with pytest.raises(AppError, match="has ended 4 times and is not started again"):
        wait_for(headset.tend)
    headset.close()
    assert headset.tend() == "", "what was closed is left alone"


@pytest.mark.lsl
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_demo_goes_on_after_its_headset_was_killed(tmp_path: Path) -> None:
    """Over LSL, with the real process: nothing is shown while it is away, and then it goes on."""
    config = load_preset("demo").model_copy(
        update={"decoder": DecoderConfig(enabled=False), "outlets": OutletsConfig(enabled=False)}
    )
    session = demo_session(config, out=tmp_path / "out")
    headset = next(
        cell.cell_contents
        for cell in session._on_end.__closure__  # type: ignore[union-attr]
        if isinstance(cell.cell_contents, VirtualHeadset)
    )
    session.start()
    try:
        wait_for(lambda: session.snapshot().outcomes.get("collected", 0) >= 2, timeout=120)
        process = headset._process
        assert process is not None
        process.kill()
        wait_for(lambda: session.snapshot().silent_for is not None)
        presenter = session.stimuli
        assert isinstance(presenter, Presenter)
        wait_for(lambda: presenter.cue is None or session.snapshot().n_reconnects)
        wait_for(lambda: session.snapshot().n_reconnects == 1, timeout=60)
        n_before = session.snapshot().outcomes["collected"]
        wait_for(lambda: session.snapshot().outcomes["collected"] > n_before + 1, timeout=60)
        assert session.snapshot().silent_for is None
    finally:
        session.stop()
    assert session.snapshot().phase is Phase.STOPPED
    assert process.returncode == -9
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "future" not in summary["outcomes"]
    assert sum(summary["outcomes"].values()) == summary["markers"]
    assert summary["markers"] == summary["stimuli"]["shown"]
    assert any("started anew (1 of 3 times)" in words for words in summary["warnings"])


class Moved(HostileSource):
    """A lost stream's namesake is on another host."""

    foreign_hosts = ("labpc",)
    admitted: tuple[str, ...] = ()

    def admit(self, host: str) -> None:
        self.admitted = (*self.admitted, host)


@pytest.mark.parametrize("kind", [Moved, HostileSource])
def test_a_watcher_sees_the_other_host_and_may_admit_it(
    tmp_path: Path, kind: type[HostileSource]
) -> None:
    source = kind(HostileSettings(duration=2.0, chunk=25), ())
    session = Session(
        SessionConfig(decoder=DecoderConfig(enabled=False), outlets=OutletsConfig(enabled=False)),
        out=tmp_path / "out",
        open_source=lambda _: source,
        clock=lambda: source.now,
        is_live=False,
    )
    session.admit_host("too early")  # nothing is open yet: nothing to admit
    session.start()
    assert session.wait(PATIENCE)
    session.admit_host("labpc")
    is_moved = isinstance(source, Moved)
    assert session.snapshot().foreign_hosts == (("labpc",) if is_moved else ())
    if isinstance(source, Moved):
        assert source.admitted == ("labpc",)
