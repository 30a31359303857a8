"""Two replays of one caller, side by side: what was said to them when the call was captured, and what is said now.

Pure: both sides are records, and both are measured with the same rules, so what the rules overlook they overlook twice.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

import msgspec

from smartflo_bridge.captures.format import Record
from smartflo_bridge.captures.said import said_in
from smartflo_bridge.captures.script import started_in
from smartflo_bridge.captures.turns import turns_of
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.ledger import Turn
from smartflo_bridge.simulator.earpiece import Gap
from smartflo_bridge.simulator.line import Line

GOOD_CODES = (1000, 1001, 1005)
"""Close codes that say no more than that the call is over. Protocol, section 2."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller met. Times count from the connection.

    Attributes:
        counts: our messages, by event.
        audio_seconds: how much of us was sent.
        first_audio_seconds: from the `start` to our first audio; None if none came.
        gaps: silences inside an utterance.
        largest_lead_ms: the most audio that was ever sent ahead of what the caller heard.
        turns: one for each time that the caller fell silent; None where they were not answered.
        close_code: ours; None if we did not close.
        seconds: to the last message either way.
    """

    counts: Counter[str]
    audio_seconds: float
    first_audio_seconds: float | None
    gaps: tuple[Gap, ...]
    largest_lead_ms: int
    turns: tuple[Turn | None, ...]
    close_code: int | None
    seconds: float

    @property
    def gap_seconds(self) -> float:
        """The longest gap; 0 without one."""
        return max((gap.seconds for gap in self.gaps), default=0.0)


class TurnPair(msgspec.Struct, frozen=True):
    """What came of one silence of the caller, then and now; None where it was not answered, or the call was over before."""

    before: Turn | None
    after: Turn | None

    @property
    def growth_seconds(self) -> float | None:
        """How much longer the caller waits now; None if it was not answered both times."""
        return self.after.seconds - self.before.seconds if self.before and self.after else None

    @property
    def is_lost(self) -> bool:
        """True if it was answered, and is not any more."""
        return self.before is not None and self.after is None


class Comparison(msgspec.Struct, frozen=True):
    """A call, then and now."""

    before: Side
    after: Side

    @property
    def turns(self) -> list[TurnPair]:
        """The caller's turns: the same caller has the same ones."""
        return [TurnPair(before, after) for before, after in zip_longest(self.before.turns, self.after.turns)]

    def beyond(self, budget_seconds: float) -> list[str]:
        """Say in what the call of now is worse than a budget allows: each turn and the first audio may be so much later."""
        found: list[str] = []
        for number, pair in enumerate(self.turns, 1):
            growth = pair.growth_seconds
            if pair.is_lost:
                found.append(f"turn {number} is not answered any more")
            elif growth is not None and growth > budget_seconds:
                found.append(f"turn {number} is answered {growth * 1000:.0f} ms later")
        before, after = self.before.first_audio_seconds, self.after.first_audio_seconds
        if before is not None and after is None:
            found.append("no audio comes any more")
        elif before is not None and after is not None and after - before > budget_seconds:
            found.append(f"the first audio comes {(after - before) * 1000:.0f} ms later")
        if self.before.close_code in GOOD_CODES and self.after.close_code not in (*GOOD_CODES, None):
            found.append(f"the call ends with close code {self.after.close_code}")
        return found


def side_of(records: Sequence[Record], close_code: int | None, *, speed: float = 1.0) -> Side:
    """Measure what a caller met; `speed` is that of the caller."""
    start = next(((record.t, sid) for record in records if (sid := started_in(record)) is not None), None)
    started_ns, stream_sid = start or (0, "")
    line = Line(stream_sid)
    counts: Counter[str] = Counter()
    first_ns: int | None = None
    sent_bytes = 0
    for record in records:
        text = record.wire
        if record.dir != "out" or text is None:
            continue
        said = said_in(text)
        counts[said.event] += 1
        sent_bytes += len(said.ulaw)
        if said.ulaw and first_ns is None:
            first_ns = record.t
        line.handle(text, record.t / 1e9)
    return Side(
        counts=counts,
        audio_seconds=sent_bytes / SAMPLE_RATE_HZ,
        first_audio_seconds=None if first_ns is None else (first_ns - started_ns) / 1e9,
        gaps=tuple(line.gaps),
        largest_lead_ms=line.counts.largest_lead_ms,
        turns=turns_of(records, speed),
        close_code=close_code,
        seconds=max((record.t for record in records if record.dir in ("in", "out")), default=0) / 1e9,
    )
