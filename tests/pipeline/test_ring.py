"""The ring: contiguous windows, absolute numbers, no torn reads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ShapeError
from pipeline.ring import Ring


def _counted(start: int, stop: int, n_channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    number = np.arange(start, stop)
    data = np.stack([number + 1000.0 * ch for ch in range(n_channels)]).astype(np.float32)
    return data, number / 250.0


@given(
    cuts=st.lists(st.integers(0, 40), max_size=20),
    capacity=st.integers(1, 30),
    window=st.integers(0, 30),
)
def test_any_cut_leaves_the_newest_samples(cuts: list[int], capacity: int, window: int) -> None:
    ring = Ring(2, capacity)
    n = 0
    for cut in cuts:
        ring.append(*_counted(n, n + cut))
        n += cut
    assert ring.n_written == n
    start = max(ring.oldest, n - window)
    found = ring.read(start, n)
    assert found is not None
    np.testing.assert_array_equal(found[0], _counted(start, n)[0])
    np.testing.assert_array_equal(found[1], _counted(start, n)[1])
    assert ring.oldest == max(0, n - capacity)


def test_what_is_gone_or_not_yet_there_is_refused() -> None:
    ring = Ring(1, 10)
    ring.append(*_counted(0, 25, 1))
    assert ring.read(14, 20) is None
    assert ring.read(20, 26) is None
    assert ring.read(15, 25) is not None
    assert ring.latest(100)[0].tolist() == [list(range(15, 25))]


def test_a_reader_keeps_a_copy() -> None:
    ring = Ring(1, 4)
    ring.append(*_counted(0, 4, 1))
    found = ring.read(0, 4)
    assert found is not None
    ring.append(*_counted(4, 8, 1))
    assert found[0].tolist() == [[0, 1, 2, 3]]


def test_wrong_shape_is_one_sentence() -> None:
    with pytest.raises(ShapeError, match="expected \\(2, n_times\\)"):
        Ring(2, 4).append(np.zeros((3, 2), np.float32), np.zeros(2))
    with pytest.raises(ShapeError, match="at least one"):
        Ring(0, 4)


def test_readers_in_other_threads_never_see_a_torn_window() -> None:
    ring = Ring(4, 512)
    stop = threading.Event()
    torn: list[str] = []
    n_read = [0, 0]

    def read(me: int) -> None:
        while not stop.is_set():
            end = ring.n_written
            found = ring.read(max(0, end - 500), end)
            if found is None or found[0].shape[1] < 2:
                continue
            n_read[me] += 1
            if not (np.diff(found[0][0]) == 1).all() or not (np.diff(found[1]) > 0).all():
                torn.append(str(end))

    readers = [threading.Thread(target=read, args=(me,)) for me in range(2)]
    for reader in readers:
        reader.start()
    n = 0
    while (min(n_read) < 50 and n < 4_000_000) or n < 20_000:
        ring.append(*_counted(n, n + 37, 4))
        n += 37
    stop.set()
    for reader in readers:
        reader.join()
    assert not torn
    assert min(n_read) > 0
