"""Virtual people of predicted responses: their table, and what of it a headset streams."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from app.report.findings import find
from app.report.record import SessionRecord
from devices.errors import FileError
from devices.lsl.metadata import from_pylsl
from devices.virtual.boards import custom_board
from devices.virtual.headset import HeadsetSettings, VirtualHeadset, outlet_info
from devices.virtual.options import add_options, settings_from
from devices.virtual.predicted import read_predicted
from pipeline.errors import ConfigurationError
from pipeline.virtual_brain.predicted import PREDICTED, PredictedPerson

NAMES = ("Oz", "O1", "O2", "Pz", "TP9")
TIMES = np.arange(0.0, 0.8, 0.01)


def table(path: Path, *, n_repetitions: int = 0, size: float = 20.0, **changed: object) -> Path:
    """Three pictures, each a bump at a channel and time of its own, on a bump that all share."""
    bump = np.exp(-(((TIMES - 0.15) / 0.03) ** 2))
    data = np.tile(0.3 * bump, (3, len(NAMES), 1))
    for k in range(3):
        data[k, k] += np.exp(-(((TIMES - 0.3 - 0.1 * k) / 0.03) ** 2))
    if n_repetitions:
        gain = np.arange(1, n_repetitions + 1)[:, None, None] / n_repetitions
        data = data[:, None] * gain
    arrays: dict[str, object] = {
        "responses": size * data,
        "ch_names": np.array(NAMES),
        "times": TIMES,
        "labels": np.array(["cat", "dog", "tree"]),
    }
    kept = {k: v for k, v in (arrays | changed).items() if v is not None}
    np.savez(path, **kept)  # type: ignore[arg-type]
    return path


def settings(path: Path, montage: str = "Oz,O1,O2", **kwargs: object) -> HeadsetSettings:
    return HeadsetSettings(board=custom_board(montage), responses=path, **kwargs)  # type: ignore[arg-type]


def test_a_headset_streams_what_was_predicted(tmp_path: Path) -> None:
    """The same noise with and without: the difference is the response, against the average."""
    path = table(tmp_path / "p.npz")
    found = []
    for shown in (False, True):
        headset = VirtualHeadset(settings(path), {})
        if shown:
            headset.answer("dog", 1.004)
        found.append(np.concatenate([headset.next_chunk() for _ in range(100)]))
    difference = found[1] - found[0]
    rate = 250.0
    assert not difference[: int(1.004 * rate)].any()
    peak = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    assert peak[1] == 1
    assert peak[0] / rate == pytest.approx(1.004 + 0.4, abs=2 / rate)
    # A bump of 20 at one of three channels, against their mean.
    assert difference[peak] == pytest.approx(20 * 2 / 3, rel=0.02)
    np.testing.assert_allclose(difference.sum(axis=1), 0, atol=1e-4)


def test_repetitions_are_drawn_and_snr_keeps_what_is_shared(tmp_path: Path) -> None:
    predicted = read_predicted(table(tmp_path / "p.npz", n_repetitions=4))
    assert predicted.data.shape == (3, 4, 5, 80)
    rng = np.random.default_rng(0)
    own = PredictedPerson(predicted, ch_names=("Oz", "Pz"), reference=("A9",))
    sizes = {round(float(own.response("cat", TIMES, rng)[0].max()), 2) for _ in range(40)}
    assert len(sizes) == 4
    nothing = PredictedPerson(predicted, ch_names=("Oz", "Pz"), reference=("A9",), snr=0.0)
    alike = [nothing.response(label, TIMES, rng) for label in ("cat", "dog", "nothing known")]
    np.testing.assert_allclose(alike[0], alike[1])
    np.testing.assert_allclose(alike[0], alike[2])
    assert alike[0].max() > 3
    outside = own.response("cat", np.array([-0.5, 2.0]), rng)
    assert not outside.any()


def test_channels_and_reference(tmp_path: Path) -> None:
    predicted = read_predicted(table(tmp_path / "p.npz"))
    person = PredictedPerson(predicted, ch_names=("oz", "Fp1"), reference=("TP9",))
    assert person.missing == ("Fp1",)
    found = person.response("cat", TIMES, np.random.default_rng(0))
    assert found[0].max() == pytest.approx(20, rel=0.01)  # what TP9 shares is taken away
    assert abs(found[0, 15]) < 0.1
    assert not found[1].any()
    with pytest.raises(ConfigurationError, match="none of the channels Fp1, Fp2 is among"):
        VirtualHeadset(settings(tmp_path / "p.npz", "Fp1,Fp2"), {})


def test_its_stream_and_its_report_say_so(tmp_path: Path) -> None:
    path = table(tmp_path / "p.npz")
    info = from_pylsl(outlet_info(settings(path)))
    assert info.is_simulated
    assert PREDICTED in info.manufacturer
    streams = {"eeg": {"simulated": True, "manufacturer": info.manufacturer}}
    record = SessionRecord(tmp_path, {}, {"streams": streams}, (), 0)
    said = " ".join(finding.text for finding in find(record))
    assert "whose code no decoder of ours was trained on" in said
    assert "by the code that the shipped decoder" not in said
    parser = argparse.ArgumentParser()
    add_options(parser)
    words = ["--responses", str(path), "--responses-scale", "0.5", "--montage", "Oz,O1"]
    made = settings_from(parser.parse_args(words))
    assert (made.responses, made.responses_scale) == (path, 0.5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": None}, "lacks labels, expected responses, ch_names, times, labels"),
        ({"labels": np.array(["cat", "dog"])}, r"shape \(3, 1, 5, 80\), expected .* of 2 labels"),
        ({"responses": np.full((3, 5, 80), np.nan)}, "values that are no finite numbers"),
        ({"responses": np.full((3, 5, 80), "a")}, "values that are no finite numbers"),
        ({"times": 1000 * TIMES}, "in seconds from onset"),
        ({"size": 1e6}, "up to 1e.06 microvolts, .*--responses-scale"),
        ({"size": 2e-5}, "up to 2e-05 microvolts, expected 0.01 to 1000"),
        ({"times": np.array(["a"] * len(TIMES))}, "values that are no finite numbers"),
        ({"times": TIMES + 0j}, "values that are no finite numbers"),
        ({"labels": np.array([b"cat", b"dog", b"tree"])}, "labels of shape .*expected text"),
        ({"labels": np.array([["cat"], ["dog"], ["tree"]])}, r"shape \(3, 1\) .*one dimension"),
        ({"labels": np.array(["cat", "dog", "cat"])}, "labels of which two are the same"),
        ({"ch_names": np.array(["Oz", "OZ", "O2", "Pz", "TP9"])}, "ch_names of which two"),
        ({"responses": np.array([{"a": 1}])}, "Python objects"),
    ],
)
def test_what_is_no_table_is_refused(changed: dict[str, object], said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "p.npz", **changed)  # type: ignore[arg-type]
    with pytest.raises(FileError, match=said):
        read_predicted(path)
