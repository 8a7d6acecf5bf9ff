"""What goes wrong with a headset, one fault at a time, and what must come of it.

The names R1 to R31 are rows of the project's table of faults.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from app.runtime.summary import StreamFigures, rate_warning, warnings_of
from configs import SessionConfig
from configs.models import EpochsConfig
from devices.errors import SourceError
from devices.hostile import (
    Burst,
    ClockJump,
    Death,
    Drift,
    Duplicate,
    Fault,
    Flat,
    Gap,
    HostileSettings,
    HostileSource,
    Jitter,
    LateMarkers,
    LineNoise,
    Loss,
    MalformedMarkers,
    MarkerStorm,
    NotFinite,
    Pop,
    Railed,
    RandomLoss,
    Reordered,
    ShuffledMarkers,
    TrueMarker,
    Witness,
    random_faults,
    untouched,
)
from devices.hostile.samples import content
from pipeline.clock import OffsetTracker
from pipeline.clock_jumps import ClockJumps
from pipeline.live import LivePath
from pipeline.signal_quality import Grade
from pipeline.values import (
    ClockOffset,
    Epoch,
    Outcome,
    Packet,
    SourceItem,
    StateChange,
    StreamRole,
    StreamState,
    Verdict,
)

HALF = 0.5 + 0.1  # half a sample by definition, and a probe's error
PLAIN = HostileSettings(duration=60.0, chunk=20, marker_interval=0.7, clock_offset=-4321.0)


@dataclass
class Played:
    source: HostileSource
    path: LivePath
    witness: Witness
    verdicts: list[Verdict] = field(default_factory=list)
    markers: list[TrueMarker] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    quality: list[dict[str, tuple[Grade, str]]] = field(default_factory=list)

    @property
    def epochs(self) -> list[Epoch]:
        return [v.epoch for v in self.verdicts if v.epoch is not None]

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(v.outcome for v in self.verdicts)

    def between(self, low: float, high: float) -> list[Verdict]:
        """Verdicts of markers with onsets in this stretch of stream time, s."""
        return [v for v in self.verdicts if low <= v.marker.t_onset - 1000.0 < high]

    def worst_error(self) -> float:
        return max(abs(self.witness.onset_error(epoch)) for epoch in self.epochs)


def play(
    *faults: Fault,
    settings: HostileSettings = PLAIN,
    counter: bool = False,
    config: SessionConfig | None = None,
    buffer: float = 60.0,
) -> Played:
    """Play to the end; what holds after every fault is checked here."""
    source = HostileSource(settings, faults)
    config = config or untouched(source, trusts_counter=counter, buffer=buffer)
    path = LivePath(config, source.streams)
    played = Played(source, path, Witness(source, path))
    while items := source.read(0.0):
        for item in items:
            played.verdicts += path.feed(item)
            if isinstance(item, StateChange) and item.role is StreamRole.EEG:
                played.states.append(item)
        played.markers += source.take_true_markers()
        if len(path.info.ch_names) == 5:
            played.witness.look()
        newest = {q.ch_name: (q.grade, q.reason) for q in path.signal_quality.newest}
        if not played.quality or played.quality[-1] != newest:
            played.quality.append(newest)
    played.verdicts += path.finish()
    # No sample under a wrong label or number, none back in time; every sample and every marker
    # is accounted for, once.
    assert (played.witness.n_wrong, played.witness.n_backward) == (0, 0)
    assert path.n_received == source.n_delivered == path.raw_ring.n_written + path.n_duplicates
    assert sorted(v.marker.index for v in played.verdicts) == list(range(len(played.markers)))
    return played


def test_it_is_a_source_that_ends_and_repeats_itself() -> None:
    source, again = (HostileSource(replace(PLAIN, duration=8.0), [Jitter(2, 3)]) for _ in "ab")
    left, right = _everything(source), _everything(again)
    assert [repr(item) for item in left] == [repr(item) for item in right]
    assert [i.role for i in left if isinstance(i, StateChange)] == [*StreamRole][:2]
    source.close()
    assert source.read(1e9) == []


def _has_ended(items: list[SourceItem]) -> bool:
    return any(isinstance(i, StateChange) and i.state is StreamState.ENDED for i in items)


def _everything(source: HostileSource) -> list[SourceItem]:
    items: list[SourceItem] = []
    while new := source.read(0.0):
        items += new
    return items


def test_contents_tell_label_and_number() -> None:
    numbers = np.arange(2000)
    values = np.stack([content(name, numbers) for name in ("C3", "C4", "Cz")])
    assert (np.diff(values, axis=1) != 0).mean() > 0.999
    assert (values[0] != values[1]).mean() > 0.999
    assert np.abs(values).max() <= 16
    assert np.abs(np.corrcoef(values)[np.triu_indices(3, 1)]).max() < 0.1


def test_without_faults_every_marker_becomes_an_exact_epoch() -> None:
    played = play()
    assert (played.path.n_lost, played.path.n_gaps, played.path.n_strays) == (0, 0, 0)
    assert set(played.outcomes) <= {Outcome.DECODED, Outcome.NO_DATA}
    assert played.outcomes[Outcome.NO_DATA] <= 2  # the last ones: the stream ended
    assert played.worst_error() <= HALF
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)


def test_r1_r2_death_marks_a_gap_and_the_return_settles_first() -> None:
    config = SessionConfig(buffer=60.0, epochs=EpochsConfig(reject_uv={}))
    played = play(Death(20.0, 4.0), config=config)
    states = [(c.state, round(c.at - 1020.0, 2)) for c in played.states]
    assert states[:3] == [
        (StreamState.STALLED, 1.0),
        (StreamState.LOST, 1.5),
        (StreamState.RETURNED, 4.0),
    ]
    assert [b.reason for b in played.path.breaks] == ["The stream returned after 4.0 s."]
    assert played.path.n_lost == played.source.n_lost == 1000
    assert {v.outcome for v in played.between(20.0, 24.0)} == {Outcome.GAP}
    settling = played.path.filter.settling_time
    assert 0.5 < settling < 5.0
    early = played.between(24.3, 24.0 + settling)
    assert {v.outcome for v in early} == {Outcome.SETTLING}
    late = played.between(24.3 + settling, 55.0)
    assert {v.outcome for v in late} == {Outcome.DECODED}


def test_r3_other_order_is_remapped_by_label() -> None:
    played = play(Death(10.0, 3.0, order=(2, 0, 3, 1)), Death(30.0, 3.0, order=(3, 2, 1, 0)))
    assert played.witness.n_seen > 4 * 12_000
    reasons = [b.reason for b in played.path.breaks]
    assert len(reasons) == 2
    assert all("remapped by label" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (Death(10.0, 3.0, sfreq=500.0), "rate was 250 Hz and is 500 Hz"),
        (Death(10.0, 3.0, ch_names=("C3", "C4", "O1", "Oz")), "labels were"),
    ],
)
def test_r3_any_other_change_stops_and_says_so(death: Death, words: str) -> None:
    source = HostileSource(PLAIN, [death])
    items: list[SourceItem] = []
    while not _has_ended(items):
        items += source.read(0.0)
    with pytest.raises(SourceError, match=words):
        source.read(0.0)
    last = items[-1]
    assert isinstance(last, StateChange)
    assert (last.state, words in last.reason) == (StreamState.ENDED, True)
    stamps = [i.received_at for i in items if isinstance(i, Packet) and i.role is StreamRole.EEG]
    assert max(stamps) < 1010.1


@pytest.mark.parametrize("counter", [False, True])
@pytest.mark.parametrize("shift", [5.0, -5.0, 0.9, -0.3])
def test_r5_a_jump_of_the_clock_costs_epochs_but_never_moves_one(
    shift: float, counter: bool
) -> None:
    played = play(ClockJump(21.0, shift), counter=counter)
    assert played.worst_error() <= HALF
    assert played.path.n_lost == 0
    assert played.outcomes[Outcome.GAP] >= 1
    # The next probe tells by how much: from then on all is well.
    assert {v.outcome for v in played.between(26.0, 58.0)} == {Outcome.DECODED}


@pytest.mark.parametrize("counter", [False, True])
@pytest.mark.parametrize("shift", [-900.0, -2.0, 3.0, 5000.0])
def test_r5_a_source_that_returns_with_another_clock(shift: float, counter: bool) -> None:
    played = play(Death(20.0, 4.0, clock_shift=shift), counter=counter)
    assert played.worst_error() <= HALF
    assert played.path.n_lost == played.source.n_lost == 1000
    assert {v.outcome for v in played.between(24.3, 58.0)} == {Outcome.DECODED}


def _play_stray(
    shift: float,
    *,
    probes: str = "none",
    both: bool = False,
    follow_arrival: bool = True,
) -> tuple[LivePath, list[Verdict]]:
    """From 20 s on the stamps are `shift` s off, of samples alone or of markers, too."""
    source = HostileSource(replace(PLAIN, clock_offset=0.0 if probes == "none" else -4321.0))
    config = untouched(source)
    chosen = config.source.model_copy(update={"follow_arrival": follow_arrival})
    path = LivePath(config.model_copy(update={"source": chosen}), source.streams)
    verdicts: list[Verdict] = []
    while items := source.read(0.0):
        is_off = source.now > 1020.0
        for item in items:
            if isinstance(item, ClockOffset) and item.role is StreamRole.EEG:
                if probes == "none" or (probes == "before" and is_off):
                    continue
            elif isinstance(item, Packet) and is_off and (both or item.role is StreamRole.EEG):
                item = replace(item, timestamps=item.timestamps + shift)  # noqa: PLW2901
            verdicts += path.feed(item)
    return path, verdicts + path.finish()


@pytest.mark.parametrize(
    ("shift", "probes", "both"),
    [
        (-3600.0, "none", False),
        (-3600.0, "none", True),
        (3600.0, "before", False),
        (3600.0, "unmoved", True),
        (-20.0, "unmoved", False),
    ],
)
def test_stamps_that_jump_unexplained_go_by_their_arrival(
    shift: float, probes: str, both: bool
) -> None:
    """No probe, none any more, or probes that see nothing: markers decode again, in their place."""
    path, verdicts = _play_stray(shift, probes=probes, both=both)
    assert [b.reason for b in path.breaks][1:] == [
        f"the sender's clock moved by {shift:+.3f} s, as samples arrive"
    ]
    by_time = sorted((v.marker.t_onset, v) for v in verdicts if math.isfinite(v.marker.t_onset))
    after = [v.outcome for t, v in by_time if 1035.0 < t < 1058.0]
    assert len(after) >= 30
    assert set(after) == {Outcome.DECODED}
    assert Outcome.FUTURE not in {v.outcome for v in verdicts}
    # Within the doubt nothing is decoded: it may lie anywhere.
    between = {v.outcome for t, v in by_time if 1020.0 < t < 1032.0}
    assert between <= {Outcome.GAP, Outcome.NO_DATA, Outcome.SETTLING}
    (note,) = [n for n in path.take_news() if "jumped" in n]
    assert f"jumped by {shift:+.1f} s" in note


def test_r5_stamps_that_jump_while_the_clock_did_not_are_believed_in_the_end() -> None:
    """As recorded before arrivals counted: three probes that see nothing confirm the stamps."""
    path, _ = _play_stray(-5.0, probes="unmoved", follow_arrival=False)
    assert [b.reason.split(" (")[0] for b in path.breaks] == [
        "stamps jumped back",
        "the clock's offset is confirmed after a jump of the stamps",
    ]


def test_a_probe_that_comes_late_is_believed() -> None:
    """The clock did jump, arrivals found by how much, then a probe says so: nothing moves."""
    jumps = ClockJumps(clock := OffsetTracker(), by_arrival=True)
    jumps.probe(100.0, 5.0)
    for at in range(20):
        jumps.note(100.0 + at, 100.02 + at, is_doubtful=False)
    jumps.begin(-3600.0)
    for at in range(20, 40):
        jumps.note(-3500.0 + at, 100.02 + at, is_doubtful=True)
        jumps.settle(100.02 + at)
    assert clock.offset == pytest.approx(3605.0)
    assert jumps.probe(140.0, 3605.001) == ""
    assert jumps.probe(145.0, 5.0) == ""  # one wild probe
    assert clock.offset == pytest.approx(3605.001)


@pytest.mark.parametrize("shift", [-900.0, 5000.0])
def test_a_source_that_returns_with_another_clock_and_no_probe(shift: float) -> None:
    source = HostileSource(replace(PLAIN, clock_offset=0.0), [Death(20.0, 4.0, clock_shift=shift)])
    path = LivePath(untouched(source), source.streams)
    verdicts: list[Verdict] = []
    while items := source.read(0.0):
        for item in items:
            if not (isinstance(item, ClockOffset) and item.role is StreamRole.EEG):
                verdicts += path.feed(item)
    after = [v.outcome for v in verdicts if 1040.0 < v.marker.t_onset < 1058.0]
    assert len(after) >= 20
    assert set(after) == {Outcome.DECODED}


def test_r29_a_computer_that_slept_goes_on_where_it_wakes() -> None:
    """Half an hour without a sample, then the same stream: one gap, counted, and epochs again."""
    asleep = 1800.0
    played = play(Gap(20.0, asleep), settings=replace(PLAIN, duration=PLAIN.duration + asleep))
    assert played.path.n_gaps == 1
    assert played.path.n_lost == played.source.n_lost == round(asleep * 250)
    assert played.worst_error() <= HALF
    end = 1000.0 + PLAIN.duration + asleep
    awake = [v for v in played.verdicts if v.marker.t_onset > end - 15]
    assert {v.outcome for v in awake[:-1]} == {Outcome.DECODED}


@pytest.mark.parametrize("n_lost", [1, 2, 7, 250, 2500])
@pytest.mark.parametrize("counter", [False, True])
def test_r6_loss_is_exact_and_what_follows_is_in_place(n_lost: int, counter: bool) -> None:
    played = play(Loss(20.0, n_lost), counter=counter)
    assert played.path.n_lost == played.source.n_lost == n_lost
    assert played.path.n_gaps == 1
    assert played.worst_error() <= HALF
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)


def test_r6_random_loss_under_jitter_with_a_counter() -> None:
    """Goal E4: 1 % random loss, 5 ms jitter and a gap of 1 s."""
    played = play(RandomLoss(5, 50, 0.01), Jitter(5, 50, 0.005), Gap(30, 1.0), counter=True)
    assert played.path.n_lost == played.source.n_lost > 300
    assert played.worst_error() <= HALF + 0.15
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)


def test_r6_what_random_loss_does_without_a_counter_is_bounded_and_said() -> None:
    """Goal E4 without a counting channel: what can be done, and what cannot.

    A gap of some samples stands out. Of single losses under 5 ms of jitter no stamp tells: the
    line learns the rate that is left, and times are off by some samples. That much is said.
    """
    played = play(RandomLoss(5, 50, 0.01), Jitter(5, 50, 0.005), Gap(30, 1.0))
    path = played.path
    assert 250 <= path.n_lost < played.source.n_lost
    assert 1.0 < played.worst_error() <= 10.0
    streams = StreamFigures(
        sfreq=path.info.sfreq,
        effective_sfreq=path.effective_sfreq,
        has_counter=path.has_counter,
    )
    assert "loses samples one by one" in rate_warning(streams)
    assert "one by one" not in rate_warning(replace(streams, has_counter=True))
    assert rate_warning(replace(streams, effective_sfreq=250.1)) == ""


@pytest.mark.parametrize("counter", [False, True])
def test_r7_doubled_packets_are_dropped_and_counted(counter: bool) -> None:
    played = play(Duplicate(10.0), Duplicate(20.0), Jitter(19, 3, 0.002), counter=counter)
    assert played.path.n_duplicates == played.source.n_doubled == 40
    assert (played.path.n_lost, played.path.n_gaps) == (0, 0)
    assert played.worst_error() <= HALF + 0.15


def test_r7_packets_out_of_order_are_put_back_by_their_stamps() -> None:
    played = play(Reordered(10.0), Reordered(30.0), Jitter(29.0, 3.0, 0.001))
    assert (played.path.n_duplicates, played.path.n_lost, played.path.n_gaps) == (0, 0, 0)
    assert played.worst_error() <= HALF + 0.1
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)
    assert {v.outcome for v in played.between(1, 58)} == {Outcome.DECODED}


def test_r7_with_a_counter_what_comes_too_late_is_lost_and_counted() -> None:
    played = play(Reordered(10.0), Reordered(30.0), counter=True)
    assert played.path.n_duplicates == played.path.n_lost == 40
    assert played.worst_error() <= HALF
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)
    assert {v.outcome for v in played.between(32, 58)} == {Outcome.DECODED}


@pytest.mark.parametrize("true_sfreq", [247.0, 253.5])
def test_r8_a_wrong_nominal_rate_is_learnt_said_and_costs_no_alignment(true_sfreq: float) -> None:
    played = play(settings=replace(PLAIN, true_sfreq=true_sfreq))
    path = played.path
    assert path.effective_sfreq == pytest.approx(true_sfreq, rel=1e-3)
    assert (path.n_gaps, path.n_lost) == (0, 0)
    assert played.worst_error() <= 1.0  # while the rate is being learnt
    late = [epoch for epoch in played.epochs if epoch.t_onset > 1005.0]
    assert max(abs(played.witness.onset_error(epoch)) for epoch in late) <= HALF
    figures = StreamFigures(sfreq=250.0, effective_sfreq=path.effective_sfreq)
    assert any(
        f"{path.effective_sfreq:.2f}" in words for words in warnings_of(figures, None, path.config)
    )


def test_r8_a_clock_that_drifts_is_followed() -> None:
    played = play(Drift(5.0, 50.0, ppm=80.0))
    assert (played.path.n_gaps, played.path.n_lost) == (0, 0)
    assert played.worst_error() <= HALF + 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_r9_what_is_not_finite_costs_only_its_epochs(value: float) -> None:
    config = SessionConfig(buffer=60.0)
    played = play(NotFinite(20.0, "C4", 3, value), config=config)
    assert {v.outcome for v in played.between(19.3, 20.1)} == {Outcome.ARTIFACT}
    assert {v.outcome for v in played.between(20.5, 58.0)} == {Outcome.DECODED}
    assert all(np.isfinite(epoch.data).all() for epoch in played.epochs)
    assert played.path.n_gaps == 0


@pytest.mark.parametrize(
    ("fault", "grade", "word"),
    [
        (Flat(20.0, 5.0, "O1"), Grade.BAD, "flat"),
        (Railed(20.0, 5.0, "O1"), Grade.BAD, "railed"),
        (LineNoise(20.0, 5.0, "O1"), Grade.BAD, "line noise"),
        (LineNoise(20.0, 5.0, "O1", freq=60.0), Grade.BAD, "line noise"),
        (Pop(20.5, "O1"), Grade.DOUBTFUL, "pops"),
    ],
)
def test_r10_a_bad_electrode_is_named_within_two_seconds_and_epochs_know(
    fault: Fault, grade: Grade, word: str
) -> None:
    played = play(fault)
    words = [seen for seen in played.quality if seen.get("O1", (Grade.GOOD, ""))[0] is grade]
    assert any(seen["O1"][1].startswith(word) for seen in words)
    assert {seen[name][0] for seen in words for name in ("C3", "C4", "O2")} == {Grade.GOOD}
    assert played.quality[-1]["O1"][0] is Grade.GOOD
    if grade is Grade.BAD:
        inside = [v.epoch for v in played.between(21.5, 23.5) if v.epoch]
        assert inside
        assert {epoch.quality["n_bad_channels"] for epoch in inside} == {1.0}
    before = [v.epoch for v in played.between(5, 18) if v.epoch]
    assert {epoch.quality["n_bad_channels"] for epoch in before} == {0.0}


def test_r11_a_burst_after_a_stall_is_used_whole() -> None:
    settings = replace(PLAIN, sfreq=1100.0, chunk=100)
    played = play(Burst(20.0, 9.5), settings=settings)  # more than 10 000 samples in one packet
    assert (played.path.n_lost, played.path.n_gaps, played.path.n_duplicates) == (0, 0, 0)
    assert StreamState.STALLED in [change.state for change in played.states]
    assert {v.outcome for v in played.between(1, 58)} == {Outcome.DECODED}
    assert played.worst_error() <= HALF + 0.2  # a probe's error is 0.1 samples here


@pytest.mark.parametrize("chunk", [3, 500])
def test_r12_any_packet_length_gives_the_same_epochs(chunk: int) -> None:
    faults = (Gap(10.0, 1.0), Loss(25.0, 3), NotFinite(30.0, "C3", 5))
    config = SessionConfig(buffer=60.0)
    left = play(*faults, config=config)
    right = play(*faults, config=config, settings=replace(PLAIN, chunk=chunk))
    assert _by_onset(left) == _by_onset(right)


def _by_onset(played: Played) -> list[tuple[float, Outcome, bytes]]:
    return sorted(
        (v.marker.t_onset, v.outcome, v.epoch.data.tobytes() if v.epoch else b"")
        for v in played.between(0, 55)
    )


def test_r13_every_marker_ends_in_exactly_one_way() -> None:
    played = play(
        MalformedMarkers(20.0, ("never",), 500.0),
        MalformedMarkers(20.0, ("soon",), 4.0),
        MalformedMarkers(20.0, ("before",), -500.0),
        MalformedMarkers(50.0, ("gone",), -45.0),
        MalformedMarkers(50.0, ("end",), 9.99),
        MalformedMarkers(20.0, ("no stamp",), np.nan),
        buffer=30.0,
    )
    ends = {v.marker.label: v.outcome for v in played.verdicts}
    del ends["face"], ends["house"]
    assert ends == {
        "never": Outcome.FUTURE,
        "soon": Outcome.DECODED,
        "before": Outcome.NO_DATA,
        "gone": Outcome.LATE,
        "end": Outcome.NO_DATA,
        "no stamp": Outcome.INVALID,
    }
    assert all(v.reason for v in played.verdicts if v.outcome is not Outcome.DECODED)


def test_r14_late_and_shuffled_markers_get_one_epoch_each() -> None:
    settings = replace(PLAIN, marker_interval=0.1)
    plain = play(settings=settings)
    played = play(LateMarkers(10, 5, 20.0), ShuffledMarkers(30, 5), settings=settings)
    assert [m.t_onset for m in played.markers] != sorted(m.t_onset for m in played.markers)
    assert _by_onset(played) == _by_onset(plain)


def test_r14_a_thousand_markers_a_second() -> None:
    played = play(MarkerStorm(20.0, 2.0, 1000.0))
    storm = [v for v in played.verdicts if v.marker.label == "storm"]
    assert len(storm) == 2000
    assert {v.outcome for v in storm} == {Outcome.DECODED}
    assert len({v.marker.t_onset for v in storm}) == 2000
    assert played.worst_error() <= HALF


def test_r15_any_text_is_taken_or_refused_with_a_reason() -> None:
    played = play(MalformedMarkers(20.0))
    found = {v.marker.label[:8]: v for v in played.between(20.0, 20.0001)}
    assert found[""].outcome is Outcome.INVALID
    assert found["xxxxxxxx"].outcome is Outcome.INVALID
    assert "70000 bytes" in found["xxxxxxxx"].reason
    for label in ("{", "Gesicht-", "face"):
        assert found[label].outcome is Outcome.DECODED


def test_r17_some_of_several_epochs_are_rejected_and_the_others_are_right() -> None:
    source = HostileSource(PLAIN)
    config = untouched(source)
    epochs = EpochsConfig(baseline=None, reject_uv={"eeg": 100.0})
    faults = [Pop(15.0, "C3"), Pop(25.0, "O2")]
    played = play(*faults, config=config.model_copy(update={"epochs": epochs}))
    rejected = [v for v in played.verdicts if v.outcome is Outcome.ARTIFACT]
    assert {v.reason.split()[0] for v in rejected} == {"C3", "O2"}
    kept = [v.epoch for v in played.verdicts if v.outcome is Outcome.DECODED and v.epoch]
    assert len(kept) > 70
    assert max(abs(played.witness.onset_error(epoch)) for epoch in kept) <= HALF


def test_ten_minutes_of_everything() -> None:
    seed = 1
    settings = HostileSettings(
        duration=600.0, chunk=40, seed=seed, clock_offset=77.7, marker_interval=0.8
    )
    faults = random_faults(seed=seed, duration=600.0, ch_names=settings.ch_names, every=4.0)
    assert len({type(fault) for fault in faults}) > 12
    played = play(*faults, settings=settings, counter=True)
    path, source = played.path, played.source
    assert played.outcomes[Outcome.DECODED] > 0.6 * len(played.markers)
    assert played.worst_error() <= 0.75
    assert all(played.witness.is_whole(epoch) for epoch in played.epochs)
    # What came too late is lost and, once it is there, a duplicate: both counts are exact.
    n_too_late = path.n_duplicates - source.n_doubled
    assert n_too_late >= 0
    assert path.n_lost - n_too_late == source.n_lost
