"""How punctual a soak is, how long the echo of speech takes, and what a steady load is to reach. Pure."""

from collections import Counter

MOST_BUSY = 0.8
"""Of a core. Goals G1 and G2, like the next two."""
MOST_P99_MS = 20
MOST_P999_MS = 50

LATE_SECONDS = 0.02
"""One frame: a chunk of the generator's that is so late is no longer at its cadence."""


class Pulse:
    """How punctual the generator itself is.

    Attributes:
        chunks: sent by all calls.
        late: of these, those that left more than 20 ms late.
        worst_seconds: the latest of all.
    """

    def __init__(self) -> None:
        self.chunks = self.late = 0
        self.worst_seconds = 0.0

    def note(self, seconds: float) -> None:
        """Note by how much a chunk left late."""
        self.chunks += 1
        self.late += seconds > LATE_SECONDS
        self.worst_seconds = max(self.worst_seconds, seconds)


class Latency:
    """How long after a chunk of speech was sent the last of its echo was there, in whole milliseconds.

    It has been to the bridge, to the agent, back and back; all waiting of callers and agent for each other is in it too.

    Attributes:
        chunks: so many.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self._counts: Counter[int] = Counter()

    def note(self, seconds: float) -> None:
        """Note one chunk's."""
        self.chunks += 1
        self._counts[round(seconds * 1000)] += 1

    def quantile_ms(self, share: float) -> int:
        """Return what this share of all chunks took at most; 0 of none."""
        seen = 0
        for ms in sorted(self._counts):
            seen += self._counts[ms]
            if seen >= share * self.chunks:
                return ms
        return 0


def goal_faults(busy: float, echo: Latency) -> list[str]:
    """Return what a steady load did not reach.

    Args:
        busy: the daemon, as a share of a core.
        echo: of its calls.
    """
    faults = []
    if busy > MOST_BUSY:
        faults.append(f"it took {busy:.0%} of a core, more than {MOST_BUSY:.0%}")
    for share, most in ((0.99, MOST_P99_MS), (0.999, MOST_P999_MS)):
        if (ms := echo.quantile_ms(share)) > most:
            faults.append(f"{share:.1%} of all echoes took up to {ms} ms, more than {most}")
    if not echo.chunks:
        faults.append("no echo was heard")
    return faults
