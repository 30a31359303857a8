"""When a service that was lost, or not reached, is tried again: within a budget, with growing pauses. Pure."""

from smartflo_bridge.agents.far_end import DialError

PAUSES_SECONDS = (0.2, 0.5, 1.0)
"""Before the second, third and fourth try. Reliability, section 4, fault 17."""

JITTER = 0.25
"""So much longer or shorter: calls that lost their service together do not all come back together."""

MAX_RETRY_AFTER_SECONDS = 2.0
"""What a service may ask for: nobody waits longer at the telephone."""

STEADY_SECONDS = 30.0
"""A connection that lasted so long was a good one: what went wrong before it is forgotten."""


class Retries:
    """The tries of one call.

    Args:
        budget_seconds: from the loss of the service to a new one; the attempt under way at its end is given up.
    """

    def __init__(self, budget_seconds: float) -> None:
        self._budget = budget_seconds
        self._began = 0.0
        self._count = self._losses = 0

    @property
    def are_over(self) -> bool:
        """True if the service is lost again and again, however soon it comes back."""
        return self._losses > len(PAUSES_SECONDS)

    def begin(self, now: float) -> None:
        """Note that the service is needed now: the budget begins."""
        self._began = now

    def lose(self, lived_seconds: float) -> None:
        """Note that a service was lost that had been there for so long."""
        if lived_seconds >= STEADY_SECONDS:
            self._count = self._losses = 0
        self._losses += 1

    def left_seconds(self, now: float) -> float:
        """Return what is left of the budget."""
        return max(0.0, self._began + self._budget - now)

    def pause_seconds(self, failure: DialError, now: float, chance: float) -> float | None:
        """Return how long to wait before the next try, None if there is to be none. `chance` is from 0 to 1."""
        if not failure.may_retry or self._count >= len(PAUSES_SECONDS):
            return None
        pause = PAUSES_SECONDS[self._count] * (1 + JITTER * (2 * chance - 1))
        pause = max(pause, min(failure.retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
        self._count += 1
        return pause if pause < self.left_seconds(now) else None
