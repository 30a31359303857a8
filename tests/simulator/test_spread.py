"""How values are spread: the two ways of counting agree."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.simulator.spread import Spread, spread, spread_of_counts


@given(st.lists(st.integers(0, 50), min_size=1))
def test_counted_values_are_spread_as_listed_ones(values: list[int]) -> None:
    """And every percentile is one of them."""
    assert spread_of_counts(Counter(values)) == spread([float(value) for value in values])


def test_a_hundred_values() -> None:
    """The middle, and how far the worst are from it."""
    assert spread([float(value) for value in range(1, 101)]) == Spread(51, 96, 100, 100, 100)


def test_nothing_is_spread_nowhere() -> None:
    """No value, no spread."""
    assert spread([]) is spread_of_counts({}) is None
