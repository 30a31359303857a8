"""How values are spread: percentiles, of a list or of a count by value. Pure."""

import bisect
import itertools
from collections.abc import Mapping, Sequence

import msgspec

PERCENTS = (50, 95, 99)


class Spread(msgspec.Struct, frozen=True):
    """Percentiles, the largest, and how many values there are."""

    p50: float
    p95: float
    p99: float
    max: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Return how values are spread; None if there are none. A percentile is one of the values: the nearest rank above."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in PERCENTS)
    return Spread(p50, p95, p99, ordered[-1], len(ordered))


def spread_of_counts(counts: Mapping[int, int]) -> Spread | None:
    """Do the same where equal values are counted."""
    total = sum(counts.values())
    if not total:
        return None
    ordered = sorted(counts)
    seen = list(itertools.accumulate(counts[value] for value in ordered))
    p50, p95, p99 = (ordered[bisect.bisect_right(seen, min(total - 1, total * percent // 100))] for percent in PERCENTS)
    return Spread(p50, p95, p99, ordered[-1], total)
