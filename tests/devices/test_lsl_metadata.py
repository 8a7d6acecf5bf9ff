"""What streams say of themselves, including what they get wrong."""

from __future__ import annotations

from dataclasses import replace

import pylsl
import pytest

from devices.errors import StreamChangedError
from devices.lsl import metadata
from devices.lsl.changes import channel_order, same_source
from devices.lsl.metadata import canonical_unit, eeg_info, from_pylsl, to_pylsl


def bare(n_channels: int = 4, stream_type: str = "EEG") -> pylsl.StreamInfo:
    return pylsl.StreamInfo("amp", stream_type, n_channels, 250, "float32", "amp-1")


@pytest.fixture
def info():
    return eeg_info(
        name="amp",
        source_id="amp-1",
        ch_names=("Fp1", "Cz", "EOG"),
        ch_types=("eeg", "eeg", "eog"),
        sfreq=250,
        manufacturer="Acme",
        desc={"cap": [{"name": ["EasyCap"]}], "note": ["a", "b"]},
    )


def test_round_trip_keeps_everything_a_reader_needs(info):
    back = from_pylsl(to_pylsl(info))
    for field in ("name", "type", "source_id", "n_channels", "sfreq", "channel_format"):
        assert getattr(back, field) == getattr(info, field)
    assert back.ch_names == ("Fp1", "Cz", "EOG")
    assert back.ch_units == ("microvolts",) * 3
    assert back.ch_types == ("eeg", "eeg", "eog")
    assert back.manufacturer == "Acme"
    assert back.desc["cap"] == [{"name": ["EasyCap"]}]
    assert back.desc["note"] == ["a", "b"]


def test_a_description_that_was_read_can_be_published_again(info):
    first = from_pylsl(to_pylsl(info))
    with_position = {
        **first.desc,
        "channels": [
            {"channel": [{"label": ["x"], "location": [{"X": [str(k)]}]} for k in range(3)]}
        ],
    }
    again = from_pylsl(to_pylsl(replace(first, desc=with_position)))
    assert again.ch_names == first.ch_names
    channel = again.desc["channels"][0]["channel"][1]
    assert channel["location"] == [{"X": ["1"]}]
    assert channel["label"] == ["Cz"]


def test_a_stream_that_says_nothing_has_no_labels_units_or_types():
    read = from_pylsl(bare())
    assert (read.ch_names, read.ch_units, read.ch_types, read.desc) == ((), (), (), {})


@pytest.mark.parametrize("n_labels", [1, 3, 5, 200])
def test_labels_that_do_not_match_the_channels_are_not_guessed_at(n_labels):
    native = bare(4)
    channels = native.desc().append_child("channels")
    for k in range(n_labels):
        channel = channels.append_child("channel")
        channel.append_child_value("label", f"L{k}")
        channel.append_child_value("unit", "microvolts")
    read = from_pylsl(native)
    assert read.ch_names == ()
    assert read.ch_units == ()


def test_a_label_that_is_missing_makes_all_of_them_missing():
    native = bare(2)
    channels = native.desc().append_child("channels")
    channels.append_child("channel").append_child_value("label", "C3")
    channels.append_child("channel").append_child_value("unit", "microvolts")
    read = from_pylsl(native)
    assert read.ch_names == ()
    assert read.ch_units == ("", "microvolts")


@pytest.mark.parametrize("text", ["µV über", "<&>\"'", "a\x01b", "  C3\n"])
def test_odd_text_survives_or_is_trimmed(text):
    native = bare(1)
    channel = native.desc().append_child("channels").append_child("channel")
    channel.append_child_value("label", text)
    assert from_pylsl(native).ch_names == (text.strip(),)


def test_a_huge_description_is_read_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(metadata, "MAX_NODES", 50)
    native = bare(4)
    for k in range(500):
        native.desc().append_child_value("junk", str(k))
    assert len(from_pylsl(native).desc["junk"]) <= 50


def test_a_deep_description_does_not_exhaust_the_stack():
    native = bare(1)
    node = native.desc()
    for _ in range(3000):
        node = node.append_child("deeper")
    depth, tree = 0, from_pylsl(native).desc
    while tree:
        depth, tree = depth + 1, tree["deeper"][0]
    assert depth == metadata.MAX_DEPTH


@pytest.mark.parametrize(
    ("word", "ch_type", "expected"),
    [
        ("microvolts", "eeg", "microvolts"),
        ("uV", "eeg", "microvolts"),
        ("µV", "eeg", "microvolts"),
        ("-6", "eeg", "microvolts"),
        ("0", "eeg", "volts"),
        ("V", "eog", "volts"),
        ("mV", "", "millivolts"),
        ("nanovolts", "eeg", "nanovolts"),
        ("0", "stim", "none"),
        ("-6", "mag", "-6"),
        ("furlongs", "eeg", "furlongs"),
    ],
)
def test_units_get_one_word(word, ch_type, expected):
    assert canonical_unit(word, ch_type) == expected


def test_the_same_channels_in_another_order_are_put_back(info):
    swapped = replace(
        info,
        uid="new",
        ch_names=("EOG", "Fp1", "Cz"),
        ch_types=("eog", "eeg", "eeg"),
    )
    order = channel_order(info, swapped)
    assert order is not None
    assert tuple(swapped.ch_names[k] for k in order) == info.ch_names


def test_an_unchanged_stream_needs_no_remapping(info):
    assert channel_order(info, replace(info, uid="new", hostname="other")) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sfreq": 500.0}, "500 Hz"),
        ({"channel_format": "double64"}, "double64"),
        ({"ch_names": ("Fp1", "Cz", "Oz")}, "Oz"),
        ({"ch_names": ()}, "not given"),
        ({"ch_units": ("volts",) * 3}, "volts"),
        ({"ch_units": ("microvolts", "volts", "microvolts")}, "volts"),
        ({"ch_types": ("eeg", "eeg", "emg")}, "emg"),
        ({"n_channels": 4, "ch_names": ("Fp1", "Cz", "EOG", "Oz")}, "channel count was 3 and is 4"),
    ],
)
def test_any_other_change_is_named_and_refused(info, change, word):
    with pytest.raises(StreamChangedError, match="came back changed") as caught:
        channel_order(info, replace(info, **change))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_twice_the_same_label_is_never_remapped(info):
    before = replace(info, ch_names=("A", "A", "B"))
    with pytest.raises(StreamChangedError):
        channel_order(before, replace(before, ch_names=("B", "A", "A")))


def test_a_stream_without_source_id_is_known_by_name_and_host(info):
    anonymous = replace(info, source_id="", hostname="here")
    match = same_source(anonymous)
    assert match(replace(anonymous, uid="new"))
    assert not match(replace(anonymous, hostname="there"))
    assert not match(replace(anonymous, type="Markers"))
