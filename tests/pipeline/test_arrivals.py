"""Times that agree with the machine's clock, and times that jumped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrivals import Arrivals


def play(*ages_by_arrival: tuple[float, float]) -> list[bool]:
    """Whether the times agree after each packet of `(arrival, age)`, s."""
    arrivals, found = Arrivals(), []
    for arrived, age in ages_by_arrival:
        arrivals.note(arrived - age, arrived)
        found.append(arrivals.agree)
    return found


def test_before_the_first_sample_nothing_agrees() -> None:
    assert not Arrivals().agree


@given(
    st.lists(st.floats(0.0, 0.03), min_size=2, max_size=50),
    st.floats(3.0, 7200.0),
    st.sampled_from([-1, 1]),
)
def test_a_jump_either_way_is_one_until_the_clock_is_back(
    jitter: list[float], size: float, sign: int
) -> None:
    steady = [(float(n), 0.01 + wobble) for n, wobble in enumerate(jitter)]
    n = len(steady)
    jumped = [(n + at, age + sign * size) for at, age in steady]
    back = [(2 * n + at, age) for at, age in steady]
    found = play(*steady, *jumped, *back)
    assert found[:n] == [True] * n
    assert not any(found[n : 2 * n])
    # A clock that is set forward runs on from there; one that is set back shows once more.
    assert found[2 * n + 1 :] == [True] * (n - 1)


@given(st.floats(0.1, 35.0), st.floats(1.0, 30.0))
def test_a_stall_and_the_burst_after_it_are_no_jump(stall: float, length: float) -> None:
    ages = [(0.04 * n, 0.02) for n in range(50)]
    burst = [(2.0 + stall, stall - 0.02 * k * stall) for k in range(1, 50)]
    after = [(2.1 + stall + 0.04 * n, 0.02) for n in range(int(length))]
    assert all(play(*ages, *burst, *after))


@pytest.mark.parametrize("age", [-1.7e9, -5.0, 61.0, 1.7e9])
def test_stamps_of_another_clock_never_agree(age: float) -> None:
    assert not any(play(*((0.04 * n, age) for n in range(100))))
