"""The reader of NumPy's object files: what Python writes it reads, what is no data it refuses."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.things_eeg2 import tables
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.tables import read_table

PROTOCOLS = (2, 3, 4, 5)
SAMPLES = {
    "floats": np.linspace(-1, 1, 24).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">i4"),
    "bytes": np.arange(250, dtype=np.uint8),
    "names": np.array(["Fp1", "O2", "стим"]),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 63, 250), np.float32),
    "one": np.float64(1000.0),
    "complex": np.array([1 + 2j]),
}
"""What a table may hold beside lists, numbers and texts."""


def _read(content: object, folder: Path, *, protocol: int = 4) -> dict[str, Any]:
    path = folder / "table.npy"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return read_table(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kind_of_array_comes_back(protocol: int, tmp_path: Path) -> None:
    made = _read(SAMPLES, tmp_path, protocol=protocol)
    assert list(made) == list(SAMPLES)
    for name, expected in SAMPLES.items():
        assert made[name].dtype == np.asarray(expected).dtype, name
        np.testing.assert_array_equal(made[name], expected)


def test_what_numpy_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "raw_eeg_training.npy"
    np.save(path, SAMPLES, allow_pickle=True)
    np.testing.assert_array_equal(read_table(path)["columns"], SAMPLES["columns"])


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    made = _read({"eeg": np.ones((63, 1000))}, tmp_path)["eeg"]
    assert not made.flags.owndata
    assert not made.flags.writeable


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.dictionaries(st.text(), PLAIN), protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_come_back_as_they_were(
    content: dict[str, object], protocol: int, tmp_path: Path
) -> None:
    assert _read(content, tmp_path, protocol=protocol) == content


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS))
def test_a_damaged_file_is_data_or_one_sentence(
    data: st.DataObject, protocol: int, tmp_path: Path
) -> None:
    whole = bytearray(pickle.dumps({"a": SAMPLES["floats"], "n": ["x", 1]}, protocol=protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "table.npy"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        answer = type(read_table(path)).__name__
    except ThingsError as error:
        answer = str(error)
    assert "\n" not in answer


def test_a_small_file_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested: list[Any] = []
    for _ in range(100):
        nested = [nested, nested]
    doubled: list[Any] = ["x"]
    for _ in range(30):  # a thousand million values, were they made one by one
        doubled = [doubled, doubled]
    circle: list[Any] = []
    circle.append(circle)
    assert len(_read({"a": doubled}, tmp_path)["a"]) == 2
    for content, reason in ((nested, "nested too deep"), (circle, "holds itself")):
        with pytest.raises(ThingsError, match=reason):
            _read({"a": content}, tmp_path)
    monkeypatch.setattr(tables, "MAX_VALUES", 500)
    with pytest.raises(ThingsError, match="more than 500 values"):
        _read({"a": list(range(600))}, tmp_path)
    shared = np.empty(100, dtype=object)
    with pytest.raises(ThingsError, match="more than 500 values"):
        _read({str(i): shared.copy() for i in range(10)}, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n(U\x04echotR.", "names os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "names builtins.eval"),
        (b"}(\x8c\x01ai\n.", "instruction"),
        (b"\x8e" + struct.pack("<Q", 2**60), "within a value"),
        (b"h\x07.", "damaged"),
        (b"e.", "damaged"),
        (b"", "damaged"),
        (b"\x80\x04cnumpy\nndarray\n.", "name of an array's part"),
        (b"\x80\x04cnumpy\nndarray\n)R.", "makes a ndarray"),
        (b"\x80\x04}cnumpy\nndarray\nK\x01s.", "a key is a"),
    ],
)
def test_what_is_no_data_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    path.write_bytes(content)
    with pytest.raises(ThingsError, match=reason):
        read_table(path)


def test_records_and_plain_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ThingsError, match="an array is of"):
        _read({"a": np.zeros(2, [("x", "f4")])}, tmp_path)
    with pytest.raises(ThingsError, match="an array is of"):
        _read({"a": np.array(["2020-01-01"], "datetime64[D]")}, tmp_path)
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(ThingsError, match="plain array of float64"):
        read_table(tmp_path / "plain.npy")
