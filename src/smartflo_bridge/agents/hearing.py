"""The caller's audio on its way to the service: kept while there is no connection, dropped when it is old.

It belongs to the call, not to a connection: what is said while the service is dialled again is heard by the new one.
"""

from collections.abc import Callable

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.speech import SpeechDetector

KEPT_SECONDS = 2.0
"""The oldest audio beyond is dropped, and counted: stale speech is worthless to a recogniser. Reliability, section 8."""


class Hearing:
    """What one caller says, in mu-law.

    Attributes:
        on_audio: called when there is something to take.
        taken_bytes, dropped_bytes: what became of it; the rest is still kept.
        is_speech: the caller speaks, as we hear it.
    """

    def __init__(self) -> None:
        self.on_audio: Callable[[], None] = _nobody
        self.taken_bytes = 0
        self.dropped_bytes = 0
        self._kept: list[bytes] = []  # nearly always empty: a deque would take 760 bytes all the same
        self._kept_bytes = 0
        self._detector = SpeechDetector()

    @property
    def is_speech(self) -> bool:
        """True while the caller speaks, as far as is known."""
        return self._detector.is_speech

    def hear(self, ulaw: bytes) -> list[bool]:
        """Keep audio; return the edges of speech that it decides: True for a beginning."""
        self._kept.append(ulaw)
        self._kept_bytes += len(ulaw)
        while self._kept_bytes > KEPT_SECONDS * SAMPLE_RATE_HZ:
            self.dropped_bytes += self._let_go()
        self.on_audio()
        return [edge.is_speech for edge in self._detector.feed(ulaw)]

    def take(self) -> bytes:
        """Return the oldest audio; nothing if there is none."""
        if not self._kept:
            return b""
        ulaw = self._kept[0]
        self.taken_bytes += self._let_go()
        return ulaw

    def _let_go(self) -> int:
        size = len(self._kept.pop(0))
        self._kept_bytes -= size
        return size


def _nobody() -> None:
    """There is no connection yet."""
