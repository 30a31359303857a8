"""The table P1-P20: what each figure must be, what it should be, and the verdict on what was measured."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a figure stands to its two limits."""

    AIM = "aim"
    MUST = "must"
    MISSED = "missed"
    OPEN = "not measured"


@dataclass(frozen=True)
class Limit:
    """What one number must be and should be; lower is better unless `is_more_better`."""

    must: float
    aim: float
    is_more_better: bool = False

    def judge(self, value: float) -> Verdict:
        """Return the verdict on a value. NaN and infinity miss."""
        if not math.isfinite(value):
            return Verdict.MISSED
        sign = -1 if self.is_more_better else 1
        if sign * value <= sign * self.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * value <= sign * self.must else Verdict.MISSED


@dataclass(frozen=True)
class Figure:
    """A row of the table: `limits` are of its values, in their order."""

    number: str
    text: str
    must: str
    aim: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Outcome:
    """What was measured of a figure: in words, the values that `limits` judge, and what is to be known about it."""

    measured: str
    values: tuple[float, ...] = ()
    note: str = ""

    def verdict(self, figure: Figure) -> Verdict:
        """Return the worst verdict on its values."""
        if not self.values:
            return Verdict.OPEN
        order = (Verdict.AIM, Verdict.MUST, Verdict.MISSED)
        judged = [limit.judge(value) for limit, value in zip(figure.limits, self.values, strict=True)]
        return max(judged, key=order.index)


def more(must: float, aim: float) -> Limit:
    """Return a limit of what should be high."""
    return Limit(must, aim, is_more_better=True)


FIGURES = [
    Figure("P1", "processor time per 20 ms frame, ratio to the bare echo", "1.00", "0.65", (Limit(1.0, 0.65),)),
    Figure("P2", "the same, to picows", "2.0", "1.3", (Limit(2.0, 1.3),)),
    Figure("P3", "the same, to Node ws", "1.1", "0.75", (Limit(1.1, 0.75),)),
    Figure("P4", "FastAPI / ours", "1.7", "2.7", (more(1.7, 2.7),)),
    Figure("P5", "pipecat / ours, 40 calls each", "5", "8", (more(5, 8),)),
    Figure("P6", "800 B, ratio to the bare echo", "1.2", "0.80", (Limit(1.2, 0.8),)),
    Figure(
        "P7",
        "calls a core, p99 < 5 ms, nothing lost",
        "1.3x plain",
        "2x plain, 750",
        (more(1.3, 2.0), more(0, 750)),
    ),
    Figure("P8", "response at 300 calls, p50 / p99, ms", "0.3 / 5", "0.15 / 2.5", (Limit(0.3, 0.15), Limit(5, 2.5))),
    Figure(
        "P9",
        "pacing at 200 calls: jitter p99, ms; drift in 60 s, frames",
        "4; 0",
        "2, at most 1 late",
        (Limit(4, 2), Limit(0.5, 0.05), Limit(math.inf, 1)),
    ),
    Figure("P10", "RSS idle, MiB; per call, KiB", "45; 32", "36; 24", (Limit(45, 36), Limit(32, 24))),
    Figure("P11", "per frame at 500 calls against 50", "1.15", "1.05", (Limit(1.15, 1.05),)),
    Figure(
        "P12",
        "the last minute against the first: processor time; RSS",
        "1.05; +2 %",
        "flat, all freed in 1 s",
        (Limit(1.05, 1.02), Limit(1.02, 1.005), Limit(0, 0)),
    ),
    Figure(
        "P13",
        "a minute of speech at once: frame cost against a second's; interrupt, ms; packets after it",
        "bounded",
        "1.0x; 1; 1",
        (Limit(2.0, 1.2), Limit(5, 1), Limit(1, 1)),
    ),
    Figure(
        "P14",
        "8 to 16 and 24 kHz and back, 20 ms: us; dB; delay, ms",
        "25; -60",
        "15; -75; 3",
        (Limit(25, 15), Limit(-60, -75), Limit(math.inf, 3)),
    ),
    Figure("P15", "two processes on one port, per frame, against one", "1.15", "1.05", (Limit(1.15, 1.05),)),
    Figure("P16", "calls a core at 100 ms in and out", "1500", "2500", (more(1500, 2500),)),
    Figure("P17", "gaps of 200 calls while 50 new ones come in a second", "0", "0", (Limit(0, 0),)),
    Figure("P18", "interrupt to clear at 200 calls, p99, ms", "5", "2", (Limit(5, 2),)),
    Figure("P19", "a user's handler on its thread, extra us per frame", "12", "6", (Limit(12, 6),)),
    Figure("P20", "exec to READY, s; --version, s", "0.6; 0.25", "0.3; 0.15", (Limit(0.6, 0.3), Limit(0.25, 0.15))),
]
NUMBERS = [figure.number for figure in FIGURES]


def rows(outcomes: dict[str, Outcome]) -> list[tuple[str, ...]]:
    """Return the table: number, text, must, aim, measured, verdict."""
    nothing = Outcome("")
    return [
        (
            figure.number,
            figure.text,
            figure.must,
            figure.aim,
            outcomes.get(figure.number, nothing).measured,
            outcomes.get(figure.number, nothing).verdict(figure),
        )
        for figure in FIGURES
    ]
