"""What is told of a simulated call while it runs: to whoever watches it, and to its report. Pure."""

from collections.abc import Callable, Sequence

from smartflo_bridge.simulator.progress import AudioPassed, Progress

HISTORY_LIMIT = 20_000
"""Entries of a report's history: hours of marks and keys; a bridge that breaks a rule with every message fills it."""


class Journal:
    """Passes everything on, and keeps all but the audio."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self.history: list[Progress] = []
        self._on_progress = on_progress

    @property
    def wants_audio(self) -> bool:
        """True if somebody watches: audio is told, and not kept."""
        return self._on_progress is not None

    def tell(self, progress: Progress) -> None:
        """Take one thing that happened."""
        if not isinstance(progress, AudioPassed) and len(self.history) < HISTORY_LIMIT:
            self.history.append(progress)
        if self._on_progress:
            self._on_progress(progress)

    def tell_all(self, told: Sequence[Progress]) -> None:
        """Take several, in order."""
        for one in told:
            self.tell(one)
