"""Which calls a soak is made of: how each ends, how long it lasts, how it speaks and who answers. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count
from random import Random

from soaking.sounds import MAX_CALLS


class Kind(Enum):
    """How a call ends. The words are those of the table."""

    STOP = "a clean stop"
    FIN = "FIN without a close"
    RST = "RST"
    AGENT_BACK = "its agent resets, and is back"
    AGENT_GONE = "its agent resets, and stays away"
    BAD_INPUT = "too much bad input"
    STOPPED_READER = "it stops reading"
    BLACK_HOLE = "black hole"


SHARES = {
    Kind.STOP: 140,
    Kind.FIN: 20,
    Kind.RST: 20,
    Kind.AGENT_BACK: 5,
    Kind.AGENT_GONE: 5,
    Kind.BAD_INPUT: 6,
    Kind.STOPPED_READER: 2,
    Kind.BLACK_HOLE: 2,
}
"""Of 200 calls: section 7 of the design of reliability, with half of the lost agents back in time."""

AGENT_KINDS = (Kind.AGENT_BACK, Kind.AGENT_GONE)
BRIDGED_PERCENT = 80
SHORT_CHUNK_PERCENT = 20
"""Calls that speak every 20 ms; the others as Smartflo does, every 100."""
FOR_EVER_SECONDS = 86_400.0
LEAST_SECONDS = 5.0
LEAST_AGENT_SECONDS = 16.0
"""A call that loses its agent needs time for that, and for what was delayed to be heard."""
SKEW = 1.95
"""Of the lengths: many are short. They are LEAST + (LONGEST - LEAST) x u^SKEW, so the mean is at 1/(SKEW + 1) of the range."""


@dataclass(frozen=True)
class Plan:
    """One call. `seconds` is when its end begins, after its start."""

    number: int
    kind: Kind
    is_bridged: bool
    chunk_frames: int
    seconds: float


@dataclass(frozen=True)
class Load:
    """How many calls there are at any time, and how many begin a second, on average.

    Attributes:
        steady_frames: if not 0, all calls are bridged, last as long as the soak, and speak so many frames of 20 ms at a time.
    """

    calls: int
    per_second: float
    steady_frames: int = 0

    @property
    def longest_seconds(self) -> float:
        """The longest call: with it, `calls` that last as long as they do end as often as `per_second` begin."""
        return LEAST_SECONDS + (self.calls / self.per_second - LEAST_SECONDS) * (SKEW + 1)


CI = Load(calls=100, per_second=5.0)
"""Of three minutes: lengths 5 to 49 s."""
HOUR = Load(calls=210, per_second=2.0)
"""70 % of the 300 calls of goal G1: lengths 5 to 300 s."""


STEADY = {5: Load(calls=300, per_second=0.0, steady_frames=5), 1: Load(calls=100, per_second=0.0, steady_frames=1)}
"""Goals G1 and G2: ten minutes at the cadence of Smartflo, and of platforms that send every 20 ms."""


def steady_plans(chunk_frames: int) -> Iterator[Plan]:
    """Yield calls to an agent that stop when they are told to."""
    for number in count():
        yield Plan(number, Kind.STOP, is_bridged=True, chunk_frames=chunk_frames, seconds=FOR_EVER_SECONDS)


def plans(longest_seconds: float, seed: int) -> Iterator[Plan]:
    """Yield calls without end; in every 200, each kind has its share, in an order by chance."""
    chance = Random(seed)  # noqa: S311 - not a secret
    number = 0
    while True:
        kinds = [kind for kind, count in SHARES.items() for _ in range(count)]
        chance.shuffle(kinds)
        for kind in kinds:
            is_agents = kind in AGENT_KINDS
            seconds = LEAST_SECONDS + (longest_seconds - LEAST_SECONDS) * chance.random() ** SKEW
            yield Plan(
                number=number % MAX_CALLS,
                kind=kind,
                is_bridged=chance.randrange(100) < BRIDGED_PERCENT or is_agents,
                chunk_frames=1 if chance.randrange(100) < SHORT_CHUNK_PERCENT else 5,
                seconds=max(seconds, LEAST_AGENT_SECONDS) if is_agents else seconds,
            )
            number += 1
