"""When the log is told that an agent is away: when its service is down, every call of it would say so. Pure."""

TELL_SECONDS = 10.0
"""Between two lines: as with refused connections, the log is not to be the next thing that fills."""


class Notices:
    """Those of one agent, for all its calls."""

    def __init__(self) -> None:
        self._count = 0
        self._told_at: float | None = None

    def add(self, now: float) -> int | None:
        """Note that it is away once more; return how often so far if the log is to be told, else None."""
        self._count += 1
        if self._told_at is not None and now - self._told_at < TELL_SECONDS:
            return None
        self._told_at = now
        return self._count
