"""The lead over time: how much of our audio the platform held and had not played yet, reduced to columns of a picture."""

from collections.abc import Iterator

import msgspec

from smartflo_bridge.captures.story import Story
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ


class Column(msgspec.Struct):
    """What one column spans, in seconds: the least and the most lead, and the worst lateness of a message sent in it."""

    low: float
    high: float
    late: float = 0.0


class _Step(msgspec.Struct, frozen=True):
    """The lead jumps at a moment; it then falls with time, to 0 at the lowest."""

    at: float
    before: float
    after: float
    late: float


def lead_columns(story: Story, columns: int) -> list[Column]:
    """Return so many columns, of equal length, over the whole call."""
    width = max(story.seconds, 0.001) / columns
    found: list[Column | None] = [None] * columns
    last = _Step(0.0, 0.0, 0.0, 0.0)
    for step in (*_steps(story), _Step(story.seconds, 0.0, 0.0, 0.0)):
        first, here = int(last.at / width), min(int(step.at / width), columns - 1)
        for index in range(first, here + 1):
            begin, end = max(index * width, last.at), min((index + 1) * width, step.at)
            _note(found, index, max(last.after - (begin - last.at), 0.0), max(last.after - (end - last.at), 0.0))
        _note(found, here, step.before, step.after, step.late)
        last = step
    return [column or Column(0.0, 0.0) for column in found]


def _steps(story: Story) -> Iterator[_Step]:
    sent = [
        _Step(
            one.at_ns / 1e9,
            one.lead_before / SAMPLE_RATE_HZ,
            (one.lead_before + one.size) / SAMPLE_RATE_HZ,
            one.late_ns / 1e9,
        )
        for one in story.sendings
    ]
    cleared = [_Step(one.at_ns / 1e9, one.unheard / SAMPLE_RATE_HZ, 0.0, 0.0) for one in story.clears]
    yield from sorted((*sent, *cleared), key=lambda step: step.at)


def _note(found: list[Column | None], index: int, one: float, other: float, late: float = 0.0) -> None:
    column = found[index]
    if column is None:
        column = found[index] = Column(min(one, other), max(one, other))
    column.low, column.high = min(column.low, one, other), max(column.high, one, other)
    column.late = max(column.late, late)
