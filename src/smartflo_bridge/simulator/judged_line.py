"""The line with all who listen to it: the referee, and the script of a scenario. Pure; the caller feeds it.

Each message and each moment goes to the line first; what the line makes of it goes to the others. What comes back is what
is to be told, with violations in the place of bare faults.
"""

from collections.abc import Callable

from smartflo_bridge.simulator.arrivals import arrival_of
from smartflo_bridge.simulator.checks.closing import Closing
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.observed import Closed
from smartflo_bridge.simulator.plan import Action, Ending
from smartflo_bridge.simulator.progress import FaultSeen, Heard, LineProgress
from smartflo_bridge.simulator.referee import Referee
from smartflo_bridge.simulator.rules import Violation
from smartflo_bridge.simulator.script import ASKING_SECONDS, Script

Told = Heard | Violation
Stalled = Callable[[float, float], float]


class JudgedLine:
    """Line, referee and script of one call."""

    def __init__(self, line: Line, referee: Referee, script: Script | None) -> None:
        self.line = line
        self.referee = referee
        self.script = script
        self._asks_at = 0.0

    @property
    def deadline(self) -> float:
        """When `advance` is wanted next."""
        mark = self.line.deadline
        asks_at = self._asks_at if self.script and not self.script.is_over else float("inf")
        return asks_at if mark is None else min(mark, asks_at)

    def hear_early(self, message: str | bytes) -> list[Told]:
        """Take what came before `start`."""
        arrival = arrival_of(message)
        return [*self.referee.hear(arrival, self.line.take_early(arrival, 0.0), 0.0)]

    def hear(self, message: str | bytes, now: float) -> list[Told]:
        """Take a message of the far end."""
        arrival = arrival_of(message)
        progress = self.line.take(arrival, now)
        violations = self.referee.hear(arrival, progress, now, self.line.buffered_bytes)
        if self.script:
            self.script.observed.watch(progress)
        return [*_heard(progress), *violations]

    def advance(self, now: float, stalled: Stalled) -> tuple[list[Told], list[Action]]:
        """Let time pass; return what is to be told, and what the script wants done."""
        progress = self.line.advance(now)
        violations = self.referee.advance(progress, now, stalled)
        actions: list[Action] = []
        if self.script:
            self._asks_at = now + ASKING_SECONDS
            self.script.observed.watch(progress)
            self.script.observed.listen(self.line.heard(self.script.observed.heard_seconds, now))
            actions = self.script.advance(now)
        return [*_heard(progress), *violations], actions

    def stop(self, now: float) -> list[Told]:
        """End the stream."""
        progress = self.line.stop(now)
        self.referee.advance(progress, now, lambda _, __: 0.0)
        self.referee.stop()
        return [*_heard(progress)]

    def finish(self, closing: Closing, stalled: Stalled) -> list[Told]:
        """Judge the call as a whole."""
        if self.script:
            self.script.end(closing.at_seconds, closed_by(closing))
        return [*self.referee.finish(closing, stalled)]


def _heard(progress: list[LineProgress]) -> list[Heard]:
    return [one for one in progress if not isinstance(one, FaultSeen)]


def closed_by(closing: Closing) -> Closed | None:
    """Return how the far end closed, for the expectations of a scenario; None: it did not, of its own accord."""
    if closing.ending in {None, Ending.CLOSE, Ending.DROP}:
        return Closed(closing.at_seconds, closing.code, closing.reason)
    if closing.closed_after_seconds is None:
        return None
    return Closed(closing.at_seconds + closing.closed_after_seconds, closing.code, closing.reason)
