"""Shows many simulated calls at once, as one count: rewritten in place on a terminal, a line now and then elsewhere.

It also says how late the simulator's own loop is, so that nobody blames the far end for it.
"""

import click

from smartflo_bridge.cli.call_progress import LiveLine
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.load import Observer
from smartflo_bridge.simulator.progress import Answered, AudioPassed, CallOver, FirstAudio, Progress
from smartflo_bridge.simulator.rules import Violation
from smartflo_bridge.simulator.spread import spread, spread_of_counts

COUNT_SECONDS = 5.0
"""Between two lines, where they are not rewritten in place."""


class LoadDisplay:
    """Counts what happens in all calls; each has an observer of its own."""

    def __init__(self, total: int, probe: LatenessProbe, *, rewrites: bool) -> None:
        self._total = total
        self._probe = probe
        self._rewrites = rewrites
        self._line = LiveLine()
        self._told_at = 0.0
        self._answered = 0
        self._over = 0
        self._broken = 0
        self._first_audio_ms: list[float] = []

    def watch(self, begins_at_seconds: float) -> Observer:
        """Return the observer of a call that begins so long after the first."""
        return lambda progress: self._take(progress, begins_at_seconds + progress.at_seconds)

    def leave(self) -> None:
        """Show the end."""
        self._line.leave()

    def _take(self, progress: Progress, now: float) -> None:
        match progress:
            case Answered():
                self._answered += 1
            case FirstAudio():
                self._first_audio_ms.append(1000 * progress.at_seconds)
            case Violation():
                self._broken += 1
            case CallOver():
                self._over += 1
                if self._over == self._total and self._rewrites:
                    self._line.show(self._text(now), now)
            case AudioPassed():
                self._tell(now)
            case _:
                pass

    def _tell(self, now: float) -> None:
        if self._rewrites and self._line.is_due(now):
            self._line.show(self._text(now), now)
        elif not self._rewrites and now - self._told_at >= COUNT_SECONDS:
            self._told_at = now
            click.echo(self._text(now))

    def _text(self, now: float) -> str:
        first = spread(self._first_audio_ms)
        own = spread_of_counts(self._probe.late_ms)
        parts = [
            f"{now:6.1f} s  {self._total} calls: {self._answered - self._over} up, {self._over} over",
            f"first audio p50 {first.p50:.0f} p95 {first.p95:.0f} ms" if first else "no audio yet",
            f"rules broken {self._broken}",
            f"own lateness p99 {own.p99:.0f} ms" if own else "",
        ]
        return "  ".join(part for part in parts if part)
