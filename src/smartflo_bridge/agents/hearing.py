"""The caller's audio and keys on their way to the service: kept while there is no connection, dropped when there are too many.

It belongs to the call, not to a connection: what is said while the service is dialled again is heard by the new one.
"""

from collections.abc import Callable

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.speech import SpeechDetector

KEPT_SECONDS = 2.0
"""The oldest audio beyond is dropped, and counted: stale speech is worthless to a recogniser. Reliability, section 8."""

MAX_KEYS = 32
"""Kept at once: more than the number of a card has. Beyond, they are dropped, and counted: who presses so many does not dial."""


class Hearing:
    """What one caller says, in mu-law, and the keys that they press.

    Attributes:
        on_news: called when there is something to take.
        taken_bytes, dropped_bytes: what became of it; the rest is still kept.
        keys: that nobody has taken yet, in their order.
        dropped_keys: how many of them were too many.
        is_speech: the caller speaks, as we hear it.
    """

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = _nobody
        self.keys = ""
        self.dropped_keys = 0
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
        self.on_news()
        return [edge.is_speech for edge in self._detector.feed(ulaw)]

    def take(self) -> bytes:
        """Return the oldest audio; nothing if there is none."""
        if not self._kept:
            return b""
        ulaw = self._kept[0]
        self.taken_bytes += self._let_go()
        return ulaw

    def press(self, digit: str) -> None:
        """Keep a key."""
        if len(self.keys) < MAX_KEYS:
            self.keys += digit
        else:
            self.dropped_keys += 1
        self.on_news()

    def take_keys(self) -> str:
        """Return the keys that are kept; none is kept any more."""
        keys, self.keys = self.keys, ""
        return keys

    def _let_go(self) -> int:
        size = len(self._kept.pop(0))
        self._kept_bytes -= size
        return size


def _nobody() -> None:
    """There is no connection yet."""
