"""Which streams of a recording are meant: empty ones, several, named ones, twins."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs import MarkersConfig, SessionConfig, SourceConfig
from devices.choosing import FileStream, StreamChoice, choose_streams
from devices.continuous import read_continuous
from devices.errors import FileError
from devices.files import open_recording
from devices.lsl.inlet import LslSource
from devices.player import Player
from devices.replay import RecordedSource
from devices.xdf import XdfWriter
from pipeline.live import LivePath
from pipeline.markers import MarkerReader, as_text, join_columns
from pipeline.values import Packet, StreamInfo, StreamRole
from tests.devices.xdf_tools import eeg_stream, marker_stream
from tests.waiting import wait_for

PATH = Path("a.xdf")
EEG = FileStream(1, eeg_stream(), 500)
MARKERS = FileStream(2, marker_stream(), 3)


def named(stream: FileStream, number: int, **changes: object) -> FileStream:
    return replace(stream, number=number, info=replace(stream.info, **changes))  # type: ignore[arg-type]


OTHER = named(EEG, 3, name="other", source_id="amp-2", uid="u-2")
KEYS = named(MARKERS, 4, name="keys", source_id="keys-1")


def asked(**source: str) -> StreamChoice:
    return StreamChoice(SourceConfig.model_validate(source), must_fit=True)


def asked_markers(wanted: str) -> StreamChoice:
    return StreamChoice(markers=MarkersConfig(source_id=wanted), markers_must_fit=True)


@pytest.mark.parametrize("turn", [1, -1])
def test_empty_streams_are_passed_over_in_any_order(turn: int) -> None:
    empty = [replace(OTHER, n_samples=0), replace(KEYS, n_samples=0)]
    chosen = choose_streams([*empty, EEG, MARKERS][::turn], StreamChoice(), PATH)
    assert (chosen.eeg, chosen.markers, chosen.notes) == (EEG, MARKERS, ())


@pytest.mark.parametrize("turn", [1, -1])
def test_several_are_listed_and_never_the_first_taken(turn: int) -> None:
    with pytest.raises(FileError) as caught:
        choose_streams([EEG, OTHER, MARKERS][::turn], StreamChoice(), PATH)
    words = str(caught.value)
    assert "#1 'amp' (EEG, source_id 'amp-1', 4 ch, 250 Hz, 500 samples)" in words
    assert "#3 'other' (EEG, source_id 'amp-2'" in words
    assert "--source-id or --name; in the window" in words
    assert "\n" not in words
    with pytest.raises(FileError, match=r"2 marker streams with events.*'keys'.*with --markers"):
        choose_streams([EEG, MARKERS, KEYS][::turn], StreamChoice(), PATH)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (asked(source_id="amp-2"), 3),
        (asked(source_id="amp-2@here"), 3),
        (asked(source_id="u-2"), 3),
        (asked(source_id="#3"), 3),
        (asked(name="other"), 3),
        (asked(name="amp", source_id="amp-1"), 1),
        (StreamChoice(SourceConfig(name="other")), 3),
    ],
)
def test_a_name_or_an_id_chooses(choice: StreamChoice, expected: int) -> None:
    chosen = choose_streams([EEG, OTHER, MARKERS], choice, PATH)
    assert (chosen.eeg.number, chosen.markers) == (expected, MARKERS)
    assert choose_streams([EEG, MARKERS, KEYS], asked_markers("keys-1"), PATH).markers == KEYS
    assert choose_streams([EEG, MARKERS, KEYS], asked_markers("keys"), PATH).markers == KEYS


def test_what_was_asked_for_and_is_not_there_is_said() -> None:
    with pytest.raises(FileError, match=r"no EEG stream of source_id 'x', expected one of: #1"):
        choose_streams([EEG, MARKERS], asked(source_id="x"), PATH)
    with pytest.raises(FileError, match="no sample in source_id 'amp-2'"):
        choose_streams([EEG, replace(OTHER, n_samples=0)], asked(source_id="amp-2"), PATH)
    with pytest.raises(FileError, match=r"no marker stream of source_id 'x', expected one of: #2"):
        choose_streams([EEG, MARKERS], asked_markers("x"), PATH)
    # Settings of another session: what there is stands in, and that is said.
    chosen = choose_streams([EEG, MARKERS], StreamChoice(SourceConfig(source_id="x")), PATH)
    assert chosen.eeg == EEG
    assert "settings name an EEG stream of source_id 'x'" in chosen.notes[0]


def test_a_name_outranks_the_type_and_the_type_tells_namesakes_apart() -> None:
    signal = named(EEG, 7, name="ov", type="signal", source_id="ov-1")
    chosen = choose_streams([EEG, signal, MARKERS], asked(name="ov"), PATH)
    assert chosen.eeg == signal
    gaze = named(EEG, 8, type="Accelerometer", source_id="amp-1")
    assert choose_streams([gaze, EEG], asked(name="amp"), PATH).eeg == EEG
    assert choose_streams([gaze, MARKERS], asked(name="amp"), PATH).eeg == gaze
    with pytest.raises(FileError, match="expected a regular numeric stream of type EEG"):
        choose_streams([gaze, MARKERS], StreamChoice(), PATH)


def test_twins_are_told_apart_by_number() -> None:
    twin = replace(EEG, number=9, n_samples=70)
    with pytest.raises(FileError, match=r"70 samples.*its number does: '#1'"):
        choose_streams([EEG, twin], StreamChoice(), PATH)
    assert choose_streams([EEG, twin], asked(source_id="#9"), PATH).eeg == twin


def test_what_our_recorder_noted_counts_unless_another_is_asked_for() -> None:
    noted = [replace(EEG, role="eeg"), replace(MARKERS, role="markers"), OTHER, KEYS]
    settings = StreamChoice(SourceConfig(source_id="amp-2"), MarkersConfig(source_id="keys-1"))
    chosen = choose_streams(noted, settings, PATH)
    assert (chosen.eeg.number, chosen.markers and chosen.markers.number) == (1, 2)
    assert choose_streams(noted, asked(source_id="amp-2"), PATH).eeg == OTHER
    assert choose_streams(noted, asked_markers("keys-1"), PATH).markers == KEYS


def write(path: Path, streams: Sequence[tuple[StreamInfo, float, int]]) -> Path:
    """An XDF of streams, each with where it begins (s) and how many seconds it has."""
    with XdfWriter(path) as writer:
        for number, (info, _, _) in enumerate(streams, 1):
            writer.add_stream(number, info)
        for number, (info, first, n) in enumerate(streams, 1):
            for k in range(n):
                if info.channel_format == "string":
                    row = tuple(f"{info.name}-{k}-{c}" for c in range(info.n_channels))
                    writer.write_samples(number, [row], np.array([first + k]))
                else:
                    data = np.full((250, info.n_channels), number, np.float32)
                    writer.write_samples(number, data, first + k + np.arange(250) / 250)
    return path


def test_a_stream_that_begins_later_is_whole_through_every_door(tmp_path: Path) -> None:
    late = replace(eeg_stream(), name="late", source_id="late-1", uid="u-9")
    path = write(
        tmp_path / "two.xdf",
        [
            (replace(marker_stream(), source_id="none"), 100.0, 0),
            (eeg_stream(), 100.0, 8),
            (late, 103.0, 4),
            (marker_stream(), 104.5, 2),
        ],
    )
    choice = asked(source_id="late-1")
    grid = read_continuous(path, choice=choice)
    assert (grid.data == 3).all()
    assert grid.data.shape == (4, 1000)
    assert [(e.sample, e.label) for e in grid.events] == [
        (375, "stimuli-0-0"),
        (625, "stimuli-1-0"),
    ]
    source = RecordedSource(path, choice=choice)
    items = []
    while batch := source.read(0.0):
        items += batch
    source.close()
    eeg = [i for i in items if isinstance(i, Packet) and i.role is StreamRole.EEG]
    assert sum(len(p.timestamps) for p in eeg) == 1000
    recording = open_recording(path, choice=choice)
    assert [info.name for info in recording.streams] == ["late", "stimuli"]
    assert next(iter(recording.blocks())).times[0] == 0.0
    recording.close()


def test_a_file_of_one_stream_refuses_another(shared_data: Path) -> None:
    path = shared_data / "formats" / "test.edf"
    with pytest.raises(FileError, match=r"has no EEG of source_id 'x'.*needs no choice"):
        open_recording(path, choice=asked(source_id="x"))
    with pytest.raises(FileError, match="has no markers of source_id 'x'"):
        open_recording(path, choice=asked_markers("x"))


@pytest.mark.lsl
def test_a_player_plays_the_chosen_streams(tmp_path: Path) -> None:
    other = replace(eeg_stream(), name="other", source_id="amp-2", uid="u-2")
    keys = replace(marker_stream(), name="keys", source_id="keys-1")
    streams = [(eeg_stream(), 0.0, 1), (marker_stream(), 0.0, 1), (keys, 0.0, 1), (other, 0.0, 1)]
    path = write(tmp_path / "two.xdf", streams)
    with closing(Player(path)) as player:
        assert [info.name for info in player.streams] == ["amp", "other", "stimuli", "keys"]
        assert "2 streams that may be the EEG" in player.warnings[0]
    choice = StreamChoice(
        SourceConfig(source_id="amp-2"), MarkersConfig(source_id="keys-1"), markers_must_fit=True
    )
    with closing(Player(path, choice=choice, source_id="amp-2")) as player:
        published = {info.name: info.source_id for info in player.streams}
        assert published == {"other": "amp-2", "keys": "keys-1"}


TRIPLE = replace(
    marker_stream(), n_channels=3, ch_names=("value", "time", "duration"), source_id="three"
)


@pytest.mark.parametrize(("column", "k"), [("", 0), ("duration", 2), ("Time", 1), ("3", 2)])
def test_a_column_of_the_markers_is_chosen(tmp_path: Path, column: str, k: int) -> None:
    path = write(tmp_path / "m.xdf", [(eeg_stream(), 0.0, 3), (TRIPLE, 1.0, 2)])
    grid = read_continuous(path, choice=StreamChoice(markers=MarkersConfig(column=column)))
    assert [event.label for event in grid.events] == [f"stimuli-0-{k}", f"stimuli-1-{k}"]


def test_columns_of_numbers_and_of_text_read_alike() -> None:
    numbers = replace(TRIPLE, channel_format="double64")
    packet = Packet(StreamRole.MARKERS, np.array([[11.0, 2.5, 0.1]]), np.array([1.0]), 1.0)
    assert MarkerReader(numbers, column="value").read(packet) == [("11", "")]
    ((label, reason),) = MarkerReader(numbers).read(packet)
    assert label == ""
    assert "--marker-column" in reason
    text = as_text(TRIPLE)
    row = Packet(StreamRole.MARKERS, (join_columns(("a\tb", "2", "3")),), np.array([1.0]), 1.0)
    assert MarkerReader(text).read(row) == [("a b", "")]
    assert "3 columns (value, time, duration); the first" in MarkerReader(text).note
    assert MarkerReader(text, column="2").read(row) == [("2", "")]
    with pytest.raises(Exception, match=r"has not \(it has value, time, duration\)"):
        MarkerReader(text, column="4")
    with pytest.raises(Exception, match=r"markers\.column is 'value'"):
        MarkerReader(marker_stream(), column="value")
    # Recordings of earlier sessions hold such rows as one text, which was the label.
    assert MarkerReader(marker_stream()).read(row) == [("a b\t2\t3", "")]


@pytest.mark.lsl
def test_a_column_of_a_live_stream_is_chosen(tmp_path: Path) -> None:
    """What `--marker-column` sets, over the network."""
    path = write(tmp_path / "m.xdf", [(eeg_stream(), 0.0, 2), (TRIPLE, 0.5, 1)])
    stop = threading.Event()
    with closing(Player(path, source_id="columns")) as player:
        ids = {info.type: info.source_id for info in player.streams}
        config = SessionConfig(
            source=SourceConfig(source_id=ids["EEG"]),
            markers=MarkersConfig(source_id=ids["Markers"], column="duration"),
        )
        with closing(LslSource(config.source, config.markers)) as source:
            wait_for(lambda: not source.read(0.0) and StreamRole.MARKERS in source.streams)
            live = LivePath(config, source.streams)
            thread = threading.Thread(target=player.play, args=(stop,))
            thread.start()
            labels: list[str] = []

            def has_come() -> bool:
                for item in source.read(0.0):
                    labels.extend(verdict.marker.label for verdict in live.feed(item))
                return bool(labels)

            try:
                wait_for(has_come)
            finally:
                stop.set()
                thread.join()
    assert labels == ["stimuli-0-2"]


@pytest.mark.lsl
def test_a_player_publishes_every_column(tmp_path: Path) -> None:
    path = write(tmp_path / "m.xdf", [(eeg_stream(), 0.0, 2), (TRIPLE, 0.5, 1)])
    player = Player(path)
    with closing(player):
        info = player.streams[1]
        assert (info.n_channels, info.ch_names) == (3, ("value", "time", "duration"))
        player.play(threading.Event())
