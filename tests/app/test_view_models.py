"""The window's models: no Qt, no threads left, every number checked against a plain computation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from app import formatting
from app.port import Phase, TraceBlock
from app.view_models.session.history import HistoryModel
from app.view_models.session.model import SessionModel
from app.view_models.settings.model import SettingsModel
from app.view_models.signals.columns import ColumnStore
from app.view_models.signals.display_filter import (
    DISPLAY_FILTERS,
    DisplayFilter,
    DisplayFilterConfig,
)
from app.view_models.signals.traces import SCALES_UV, TraceMode, TraceModel
from app.view_models.sources.model import SourceChoice, SourceKind, SourcesModel
from configs import ConfigError, SessionConfig
from pipeline.values import Info, StreamInfo
from tests.app.fake_session import T0, FakeFactory, FakeSession
from tests.waiting import PATIENCE

RAW = DisplayFilterConfig("raw", l_freq=None)


def wait_for(model: SessionModel) -> None:
    """Poll until no call is under way; the worker's thread is joined, so nothing sleeps."""
    if model._task is not None:
        model._task.join(PATIENCE)
    model.poll()


def opened(session: FakeSession | None = None) -> tuple[SessionModel, FakeFactory]:
    factory = FakeFactory(template=session or FakeSession())
    model = SessionModel(factory, SettingsModel(SessionConfig()))
    assert model.open(SourceChoice())
    wait_for(model)
    return model, factory


# Columns


def exact_columns(data: np.ndarray, width: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Extremes of the line through the samples, column by column, the slow way."""
    last = data.shape[1] - 1
    low, high = np.empty((data.shape[0], n)), np.empty((data.shape[0], n))
    for k in range(n):
        begin, end = k * width, min((k + 1) * width, last)
        points = [p for p in range(data.shape[1]) if begin <= p <= end]
        edges = [
            np.array([np.interp(e, np.arange(last + 1), row) for row in data]) for e in (begin, end)
        ]
        values = np.stack([*(data[:, p] for p in points), *edges], axis=1)
        low[:, k], high[:, k] = values.min(axis=1), values.max(axis=1)
    return low, high


@pytest.mark.parametrize("width", [0.3, 0.7, 1.0, 2.5, 7.0, 11.3])
def test_columns_hold_the_extremes_of_the_line_at_every_width(width: float) -> None:
    data = np.random.default_rng(0).standard_normal((3, 90)).astype(np.float32)
    n = int(89 / width)
    store = ColumnStore(3, width, 400)
    store.push(data)
    low, high = exact_columns(data.astype(np.float64), width, n)
    np.testing.assert_allclose(store.low[:, :n], low, atol=1e-5)
    np.testing.assert_allclose(store.high[:, :n], high, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    cuts=st.lists(st.integers(1, 299), unique=True, max_size=30).map(sorted),
    width=st.floats(0.2, 40),
)
def test_columns_do_not_depend_on_where_the_stream_is_cut(cuts: list[int], width: float) -> None:
    data = np.random.default_rng(1).standard_normal((2, 300)).astype(np.float32)
    whole, pieces = ColumnStore(2, width, 64), ColumnStore(2, width, 64)
    whole.push(data)
    for part in np.split(data, cuts, axis=1):
        pieces.push(part)
    assert whole.newest == pieces.newest
    np.testing.assert_array_equal(whole.low, pieces.low)
    np.testing.assert_array_equal(whole.high, pieces.high)


@given(at=st.integers(1, 998), width=st.floats(0.3, 60))
def test_no_spike_of_one_sample_is_lost(at: int, width: float) -> None:
    data = np.zeros((1, 1000), dtype=np.float32)
    data[0, at] = 200.0
    store = ColumnStore(1, width, 4000)
    store.push(data)
    assert np.nanmax(store.high) == 200.0


def test_a_gap_leaves_marked_columns_and_no_line_across() -> None:
    store = ColumnStore(1, 10.0, 50)
    store.push(np.full((1, 100), 5, dtype=np.float32))
    store.skip(100)
    store.push(np.full((1, 100), -5, dtype=np.float32))
    assert store.gaps[10:20].all()
    assert not store.gaps[:10].any()
    assert np.isnan(store.low[0, 11:20]).all()
    assert store.low[0, :10].min() == 5  # No line falls from +5 to -5 through the gap.
    assert store.position == 300


def test_the_ring_forgets_the_oldest_columns_only() -> None:
    data = np.arange(1000, dtype=np.float32)[None]
    store = ColumnStore(1, 10.0, 20)
    for part in np.split(data, 10, axis=1):
        store.push(part)
    assert (store.oldest, store.newest) == (80, 99)
    assert store.low[0, store.slots(90, 90)][0] == 900


def test_a_store_without_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="all above zero"):
        ColumnStore(1, 0.0, 10)


# Display filter


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(1, 499), unique=True, max_size=12).map(sorted))
def test_the_display_filter_does_not_depend_on_where_the_stream_is_cut(cuts: list[int]) -> None:
    data = np.random.default_rng(2).standard_normal((2, 500)).astype(np.float32) + 3000
    for config in DISPLAY_FILTERS:
        whole = DisplayFilter(config, n_channels=2, sfreq=250.0)(data)
        cut = DisplayFilter(config, n_channels=2, sfreq=250.0)
        pieces = [cut(part) for part in np.split(data, cuts, axis=1)]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_an_offset_of_millivolts_is_gone_from_the_first_sample() -> None:
    data = np.full((1, 500), 4000, dtype=np.float32)
    for config in DISPLAY_FILTERS:
        out = DisplayFilter(config, n_channels=1, sfreq=250.0)(data)
        assert np.abs(out).max() < 0.5, config.name


def test_values_that_are_not_finite_blind_no_channel() -> None:
    filter_ = DisplayFilter(DISPLAY_FILTERS[0], n_channels=2, sfreq=250.0)
    data = np.random.default_rng(3).standard_normal((2, 500)).astype(np.float32)
    data[0, 100:110] = np.nan
    out = np.concatenate([filter_(part) for part in np.split(data, 5, axis=1)], axis=1)
    assert np.isfinite(out).all()
    assert out[0, 300:].std() > 0.5


def test_the_notch_removes_the_line_and_leaves_the_rest() -> None:
    t = np.arange(5000) / 500
    data = np.stack([np.sin(2 * np.pi * 50 * t), np.sin(2 * np.pi * 10 * t)]).astype(np.float32)
    out = DisplayFilter(DISPLAY_FILTERS[1], n_channels=2, sfreq=500.0)(data)[:, 2500:]
    assert np.abs(out[0]).max() < 0.02
    assert np.abs(out[1]).max() > 0.95


def test_edges_beyond_the_rate_are_left_out() -> None:
    config = DisplayFilterConfig("x", l_freq=1.0, h_freq=40.0, notch_freq=50.0)
    out = DisplayFilter(config, n_channels=1, sfreq=64.0)(np.ones((1, 64), dtype=np.float32))
    assert np.isfinite(out).all()
    assert signal.butter(2, 1.0, "highpass", fs=64.0, output="sos").shape == (1, 6)


# Traces


class Source:
    """Blocks handed out by hand."""

    def __init__(self, data: np.ndarray, times: np.ndarray, breaks: tuple[int, ...] = ()) -> None:
        self.data, self.times, self.breaks, self.end = data, times, breaks, 0

    def traces(self, since: int, limit: int) -> TraceBlock | None:
        start = max(since, self.end - limit)
        if start >= self.end:
            return None
        breaks = tuple(b for b in self.breaks if start <= b < self.end)
        return TraceBlock(
            self.data[:, start : self.end], self.times[start : self.end], start, breaks
        )

    def trace_markers(self, since: int) -> list:
        return []


def traces_of(n_times: int = 3000, sfreq: float = 100.0) -> tuple[TraceModel, Source]:
    model = TraceModel(n_pixels=500)
    model.filter_config = RAW
    model.reset(Info(("Cz", "Pz"), sfreq))
    data = np.random.default_rng(4).standard_normal((2, n_times)).astype(np.float32)
    return model, Source(data, T0 + np.arange(n_times) / sfreq)


def test_columns_that_changed_are_handed_out_once() -> None:
    model, source = traces_of()
    source.end = 1000
    assert model.poll(source)
    assert model.drain_changes() == (0, model.newest)
    assert model.drain_changes() is None
    source.end = 1010
    model.poll(source)
    first, last = model.drain_changes() or (0, 0)
    assert last - first <= 7  # Ten samples are five columns here.


def test_lost_time_is_as_wide_as_it_was_long() -> None:
    model, source = traces_of()
    source.times = source.times.copy()
    source.times[500:] += 2.0
    source.breaks = (500,)
    source.end = 900
    model.poll(source)
    assert model.store is not None
    assert model.store.position == 900 + 200
    assert model.store.gaps[model.store.slots(251, 349)].all()


def test_a_model_that_fell_behind_begins_anew_instead_of_showing_a_gap() -> None:
    model, source = traces_of()
    source.end = 200
    model.poll(source)
    source.end = 2900  # More than a window of 10 s at 100 Hz has gone by unseen.
    model.poll(source)
    assert model.store is not None
    assert not model.store.gaps.any()
    assert model.store.position == 1000


def test_pause_stops_the_picture_and_goes_on_without_a_hole() -> None:
    model, source = traces_of()
    source.end = 500
    model.poll(source)
    model.set_paused(True)
    source.end = 700
    assert not model.poll(source)
    model.set_paused(False)
    model.poll(source)
    assert model.store is not None
    assert model.store.position == 700
    assert not model.store.gaps.any()


def test_paused_traces_can_be_looked_back_through() -> None:
    model, source = traces_of()
    for end in range(100, 3001, 100):
        source.end = end
        model.poll(source)
    model.scroll_back(100)
    assert model.back == 0  # Only while paused.
    model.set_paused(True)
    model.scroll_back(400)
    assert model.view_end == model.newest - 400
    model.scroll_back(10_000)
    assert model.store is not None
    assert model.view_end - model.n_pixels + 1 >= model.store.oldest
    model.set_paused(False)
    assert model.back == 0


def test_plus_and_minus_act_on_all_or_on_the_chosen_channel() -> None:
    model, _ = traces_of()
    model.set_scale(100.0)
    model.zoom(1)
    assert model.scale_uv == 75.0
    model.zoom(-2)
    assert model.scale_uv == 150.0
    model.select(1)
    model.zoom(1)
    assert model.gains.tolist() == [1.0, 2.0]
    assert model.scale_uv == 150.0
    model.select(1)
    assert model.selected is None
    model.zoom(100)
    assert model.scale_uv == SCALES_UV[0]


def test_markers_fall_on_their_sample_even_across_a_gap() -> None:
    session = FakeSession(gap_at=(4.0, 1.5))
    session.start()
    session.now = 9.9
    model = TraceModel(n_pixels=1000)
    model.reset(session.snapshot().info)
    model.poll(session)
    assert model.store is not None
    for marker in model.markers:
        true = (marker.t_onset - T0) * session.sfreq
        if not 4.0 <= marker.t_onset - T0 <= 5.5:
            assert marker.position == pytest.approx(true, abs=1.0)


def test_flat_and_wild_channels_are_named() -> None:
    model, source = traces_of()
    source.data[0] = 7.0
    source.data[1] *= 2000
    for end in (150, 300):
        source.end = end
        model.poll(source)
    assert model.bad == {0: "flat", 1: "off scale"}


def test_the_first_scale_fits_the_data_and_a_chosen_one_stays() -> None:
    model, source = traces_of()
    source.data *= 12
    source.end = 400
    model.poll(source)
    assert model.scale_uv == 75.0, "they span about 50 µV, and lanes have room to spare"
    model, source = traces_of()
    model.set_scale(300.0)
    source.end = 400
    model.poll(source)
    assert model.scale_uv == 300.0


def test_the_line_is_taken_out_of_the_picture_unless_somebody_chose() -> None:
    model, _ = opened()
    assert model.traces.filter_config.notch_freq == 50.0  # The settings' own.
    traces = TraceModel()
    traces.suggest_notch((60.0,))
    assert traces.filter_config.notch_freq == 60.0
    traces.set_filter(RAW)
    traces.suggest_notch((50.0,))
    assert traces.filter_config is RAW


def test_a_change_of_mode_computes_nothing_again() -> None:
    model, source = traces_of()
    source.end = 500
    model.poll(source)
    store, revision = model.store, model.revision
    model.set_mode(TraceMode.SCROLL)
    assert model.store is store
    assert model.revision == revision + 1


# History


def test_history_keeps_count_order_and_bounds() -> None:
    session = FakeSession()
    history = HistoryModel(max_results=20, max_epochs=4)
    for at in range(0, 30, 3):
        history.extend(session._results[at : at + 3])
    assert history.taken == 30
    assert len(history) == 20
    kept = [r.index for r in history.results if r.epoch_data is not None]
    assert kept == [r.index for r in session._results[26:30] if r.epoch_data is not None]
    assert history.find(5) is None
    assert history.find(29) is session._results[29]
    pictures = history.pictures
    assert history.neighbour(pictures[0].index, 1) is pictures[1]
    assert history.neighbour(pictures[0].index, -1) is None
    history.clear()
    assert (len(history), history.taken, history.latest) == (0, 0, None)


# Settings and sources


def test_settings_make_the_configuration_of_a_chosen_stream() -> None:
    model = SettingsModel(SessionConfig())
    model.subject = "S07"
    model.record = False
    stream = StreamInfo("obci", "EEG", "openbcigui", 8, 250.0, "float32")
    markers = StreamInfo("psychopy", "Markers", "pp1", 1, 0.0, "string")
    choice = SourceChoice(
        SourceKind.LIVE, stream=stream, markers=markers, ch_names=tuple("ABCDEFGH"), unit="volts"
    )
    config = model.build(choice)
    assert (config.subject, config.recording.enabled) == ("S07", False)
    assert config.source.source_id == "openbcigui"
    assert config.source.ch_names == tuple("ABCDEFGH")
    assert config.source.unit == "volts"
    assert config.markers.source_id == "pp1"


@pytest.mark.parametrize("subject", ["", "Jane Doe", "a/b", "x" * 65])
def test_a_subject_code_that_is_none_is_said_in_a_sentence(subject: str) -> None:
    settings_model = SettingsModel(SessionConfig())
    settings_model.subject = subject
    model = SessionModel(FakeFactory(), settings_model)
    assert not model.open(SourceChoice())
    assert "letters, digits" in model.error


def test_choosing_a_preset_loads_it_and_an_error_passes() -> None:
    def load(name: str) -> SessionConfig:
        if name == "broken":
            raise ConfigError("preset broken: no.")
        return SessionConfig(preset=name)

    model = SettingsModel(SessionConfig(), presets=("default", "free", "broken"), load=load)
    model.choose_preset("free")
    assert model.preset == "free"
    with pytest.raises(ConfigError):
        model.choose_preset("broken")
    assert model.preset == "free"


STREAMS = (
    StreamInfo("cap", "EEG", "a", 32, 500.0, "float32", ch_names=("x",) * 32, ch_units=("uV",)),
    StreamInfo("stim", "Markers", "b", 1, 0.0, "string"),
    StreamInfo("codes", "stimulation", "c", 1, 0.0, "int32"),
    StreamInfo("obci", "EEG", "openbcigui", 8, 250.0, "float32"),
)


def test_streams_are_sorted_into_eeg_and_markers() -> None:
    model = SourcesModel(FakeFactory(streams=STREAMS))
    model.refresh()
    assert model.searching
    model.close()
    assert model.poll()
    assert [s.name for s in model.eeg_streams] == ["cap", "obci"]
    assert sorted(s.name for s in model.marker_streams) == ["codes", "stim"]
    assert not SourceChoice(SourceKind.LIVE, stream=STREAMS[0]).needs_montage
    assert SourceChoice(SourceKind.LIVE, stream=STREAMS[3]).needs_montage
    given_all = SourceChoice(
        SourceKind.LIVE, stream=STREAMS[3], ch_names=tuple("ABCDEFGH"), unit="microvolts"
    )
    assert not given_all.needs_montage


def test_twins_of_one_source_id_are_told_apart() -> None:
    twins = (
        StreamInfo("a", "EEG", "openbcigui", 8, 250.0, "float32", uid="u1"),
        StreamInfo("b", "EEG", "openbcigui", 8, 250.0, "float32", uid="u2"),
        StreamInfo("c", "EEG", "cap", 8, 250.0, "float32", uid="u3"),
    )
    model = SourcesModel(FakeFactory(streams=twins))
    model.refresh()
    model.close()
    model.poll()
    assert [model.key_of(s) for s in twins] == ["u1", "u2", "cap"]


def test_a_failed_search_is_a_sentence() -> None:
    model = SourcesModel(FakeFactory(error="LSL cannot open a socket: check the firewall."))
    model.refresh()
    model.close()
    model.poll()
    assert model.error == "LSL cannot open a socket: check the firewall."
    assert not model.searching


# Session


def test_a_session_opens_runs_and_stops() -> None:
    model, factory = opened()
    assert factory.session is not None
    assert model.phase is Phase.RUNNING
    factory.session.now = 12.0
    model.poll()
    assert model.traces.newest > 0
    assert len(model.history) == len(factory.session.results(0)) > 5
    assert not model.open(SourceChoice())  # One at a time.
    assert model.add_marker("1")
    assert [m.label for m in factory.session.manual] == ["1"]
    model.toggle_recording()
    assert not factory.session.recording
    assert model.stop()
    wait_for(model)
    assert model.phase is Phase.STOPPED
    assert not model.add_marker("2")


def test_a_source_that_cannot_be_opened_is_a_sentence_and_another_may_be_tried() -> None:
    factory = FakeFactory(error="No stream named 'cap' in reach: switch the headset on.")
    model = SessionModel(factory, SettingsModel(SessionConfig()))
    model.open(SourceChoice())
    wait_for(model)
    assert model.error == factory.error
    assert model.phase is Phase.FAILED
    factory.error = ""
    model.open(SourceChoice())
    wait_for(model)
    assert (model.phase, model.error) == (Phase.RUNNING, "")


def test_an_unexpected_error_is_a_sentence_too(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeFactory):
        def demo(self, config: SessionConfig) -> FakeSession:
            raise ZeroDivisionError("division by zero")

    model = SessionModel(Broken(), SettingsModel(SessionConfig()))
    model.open(SourceChoice())
    wait_for(model)
    assert "division by zero" in model.error
    assert "Traceback" not in model.error
    assert "ZeroDivisionError" in caplog.text  # The log keeps it.


def test_a_session_that_fails_says_why_once_dismissed_it_stays_quiet() -> None:
    model, factory = opened(FakeSession(fail_at=3.0))
    assert factory.session is not None
    factory.session.now = 4.0
    model.poll()
    assert model.phase is Phase.FAILED
    assert "battery" in model.error


def test_closing_stops_what_runs() -> None:
    model, factory = opened()
    model.close()
    assert factory.session is not None
    assert factory.session.stopped == 1


def test_a_recording_is_opened_with_its_path(tmp_path: Path) -> None:
    factory = FakeFactory()
    model = SessionModel(factory, SettingsModel(SessionConfig()))
    model.open(SourceChoice(SourceKind.REPLAY, path=tmp_path / "a.xdf"))
    wait_for(model)
    assert factory.asked == [("replay", tmp_path / "a.xdf")]


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.duration(59.9), "0:59"),
        (formatting.duration(3723), "1:02:03"),
        (formatting.age(None), "–"),
        (formatting.age(0.0123), "12 ms"),
        (formatting.age(2.34), "2.3 s"),
        (formatting.size(999), "999 B"),
        (formatting.size(182_400_000_000), "182.4 GB"),
        (formatting.hertz(0), "irregular"),
        (formatting.hertz(249.987), "249.99 Hz"),
        (formatting.p_value(3e-12), "p < 0.0001"),
        (formatting.p_value(0.00042), "p = 0.0004"),
        (formatting.p_value(0.0119), "p = 0.012"),
        (formatting.milliseconds(9.97), "10"),
        (formatting.count(1, "gap"), "1 gap"),
        (formatting.ordinal(2), "2nd"),
        (formatting.ordinal(112), "112th"),
        (formatting.label("smiling-face"), "smiling face"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert text == expected


def test_models_need_no_qt() -> None:
    code = (
        "import sys, pkgutil, importlib, app.view_models as v\n"
        "[importlib.import_module(f'app.view_models.{m.name}') "
        "for m in pkgutil.iter_modules(v.__path__)]\n"
        "found = [m for m in ('PySide6', 'torch', 'pylsl', 'mne') if m in sys.modules]\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
