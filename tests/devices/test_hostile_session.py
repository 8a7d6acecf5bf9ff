"""A whole session on a hostile stream: its folder adds up, and what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.benchmarks.idle import idle_decoder
from app.port import Phase
from app.runtime.decoder import Decoder
from app.runtime.messages import Answer, Ready
from app.runtime.session import Session
from configs import SessionConfig
from configs.models import EpochsConfig
from devices.hostile import (
    ClockJump,
    Death,
    Fault,
    Flat,
    Gap,
    HostileSettings,
    HostileSource,
    LateMarkers,
    MalformedMarkers,
    NotFinite,
)
from models.api import EncoderSpec, InputSpec
from pipeline.gallery import SPACE
from pipeline.signal_quality import Grade
from tests.waiting import PATIENCE, wait_for

SETTINGS = HostileSettings(duration=60.0, chunk=20, clock_offset=12.0)


def unfit_decoder(connection: Connection, _: SessionConfig) -> None:
    """Answer with vectors of another length than the gallery's."""
    spec = EncoderSpec("unfit", InputSpec(250.0), -0.2, 0.8, None, None, 3, space=SPACE)
    connection.send(Ready(spec, "", "cpu", {}))
    pixels = np.zeros((2, 2, 3), np.uint8)
    while (job := connection.recv()) is not None:
        connection.send(Answer(job.index, np.ones(3, np.float32), pixels))


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def run(out: Path, faults: Sequence[Fault], settings: HostileSettings = SETTINGS) -> Session:
    source = HostileSource(settings, faults)
    session = Session(
        SessionConfig(buffer=60.0, epochs=EpochsConfig(reject_uv={})),
        out=out,
        open_source=lambda _: source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=idle_decoder),
        is_live=False,
    )
    session.start()
    assert session.wait(PATIENCE)
    return session


def test_outcomes_samples_and_warnings_add_up(tmp_path: Path) -> None:
    session = run(
        tmp_path / "out",
        [
            Flat(5.0, 50.0, "O2"),
            Gap(15.0, 0.5),
            NotFinite(20.0, "C3", 3),
            Death(25.0, 3.0, order=(3, 1, 0, 2)),
            LateMarkers(38.0, 4.0, 5.0),
            MalformedMarkers(45.0),
            ClockJump(48.0, 5.0),
        ],
    )
    snapshot = session.snapshot()
    assert (snapshot.phase, snapshot.n_reconnects) == (Phase.STOPPED, 1)
    assert [each.ch_name for each in snapshot.quality] == ["C3", "C4", "O1", "O2"]
    assert snapshot.quality[0].grade is Grade.GOOD
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert sum(summary["outcomes"].values()) == summary["markers"] == snapshot.n_markers > 40
    assert {"decoded", "gap", "artifact", "settling", "invalid"} <= set(summary["outcomes"])
    assert summary["samples"]["recorded"] == summary["samples"]["received"]
    assert summary["samples"]["lost"] == 875  # the gap and the time of death: no clock's jump
    assert summary["gaps"] == 4  # gap, return, jump of the stamps, the probe that explains it
    assert summary["channels"]["O2"]["bad"] > 0.7
    assert summary["channels"]["C3"]["bad"] == 0.0
    (poor,) = [words for words in summary["warnings"] if "bad for most" in words]
    assert poor.startswith("1 of 4 channels were bad for most of the session: O2")
    events = events_of(tmp_path / "out")
    assert sorted(event["index"] for event in events) == list(range(summary["markers"]))
    bad = {e["quality"]["n_bad_channels"] for e in events if e["outcome"] == "decoded"}
    assert bad == {0.0, 1.0}


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (Death(10.0, 3.0, sfreq=500.0), "rate was 250 Hz and is 500 Hz"),
        (Death(10.0, 3.0, ch_names=("C3", "C4", "O1", "Fz")), "labels were"),
    ],
)
def test_a_stream_that_returns_as_another_ends_the_session_in_one_sentence(
    death: Death, words: str, tmp_path: Path
) -> None:
    session = run(tmp_path / "out", [death])
    snapshot = session.snapshot()
    assert (snapshot.phase, words in snapshot.message) == (Phase.FAILED, True)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert sum(summary["outcomes"].values()) == summary["markers"]
    assert summary["samples"]["received"] == 2500  # not one under the new labels


def test_an_answer_that_does_not_fit_costs_its_picture_only(tmp_path: Path) -> None:
    """A full disk, or an encoder of another gallery: the session goes on and says why."""
    source = HostileSource(SETTINGS)
    session = Session(
        SessionConfig(buffer=60.0, epochs=EpochsConfig(reject_uv={})),
        out=tmp_path / "out",
        open_source=lambda _: source,
        clock=lambda: source.now,
        make_decoder=partial(Decoder, target=unfit_decoder),
        is_live=False,
    )
    session.start()
    assert session.wait(PATIENCE)
    assert session.snapshot().phase is Phase.STOPPED
    events = events_of(tmp_path / "out")
    assert {e["outcome"] for e in events} <= {"failed", "settling", "no_data"}
    failed = next(e for e in events if e["outcome"] == "failed")
    assert "cannot rank a vector of shape (3,)" in failed["reason"]


def test_stopping_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    for i in range(2):
        source = HostileSource(HostileSettings(duration=1e5), [])
        session = Session(
            SessionConfig(buffer=10.0),
            out=tmp_path / str(i),
            open_source=lambda _, source=source: source,  # type: ignore[misc]
            clock=lambda source=source: source.now,  # type: ignore[misc]
            make_decoder=partial(Decoder, target=idle_decoder),
            is_live=False,
        )
        session.start()
        wait_for(lambda session=session: session.snapshot().n_received)
        session.stop()
        assert session.snapshot().phase is Phase.STOPPED
        summary = json.loads((tmp_path / f"{i}/summary.json").read_text())
        assert sum(summary["outcomes"].values()) == summary["markers"]
