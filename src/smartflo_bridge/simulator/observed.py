"""What a scenario may ask about: when the far end spoke, fell silent, cleared, reached a mark, closed. Pure.

The script feeds it as things happen. Speech is known a little after it began, and its end only in hindsight; the times
are those when it happened, not when it was known.
"""

import math
from collections.abc import Sequence

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.speech import SpeechDetector
from smartflo_bridge.simulator.loudness import SPEECH_LEVEL, level
from smartflo_bridge.simulator.progress import Cleared, FirstAudio, LineProgress, MarkEchoed

PAUSE_SECONDS = 0.2
"""Speech whose end is not known yet may be over; after so long without a sound it is not talked over any more."""


class Span(msgspec.Struct):
    """A stretch of speech; `end_seconds` is None while it goes on."""

    start_seconds: float
    end_seconds: float | None = None


class Closed(msgspec.Struct, frozen=True):
    """The connection is gone. `code` is the far end's, None if it said none."""

    at_seconds: float
    code: int | None
    reason: str

    @property
    def words(self) -> str:
        """How it was closed."""
        if self.code is None:
            return "without a close frame"
        return f"with {self.code}{f' ({self.reason})' if self.reason else ''}"


class Observed:
    """The far end's behaviour so far, on the call's axis."""

    def __init__(self) -> None:
        self.first_audio_seconds: float | None = None
        self.spans: list[Span] = []
        self.clears: list[float] = []
        self.marks: list[MarkEchoed] = []
        self.closed: Closed | None = None
        self._detector = SpeechDetector()
        self._heard_bytes = 0
        self._loud_at_seconds = -math.inf

    @property
    def heard_seconds(self) -> float:
        """Up to where `listen` has heard."""
        return self._heard_bytes / SAMPLE_RATE_HZ

    @property
    def speech_since(self) -> float | None:
        """When the speech began that is being heard; None while there is none."""
        is_loud = self.heard_seconds - self._loud_at_seconds < PAUSE_SECONDS
        return self.spans[-1].start_seconds if self.spans and self.spans[-1].end_seconds is None and is_loud else None

    def watch(self, progress: Sequence[LineProgress]) -> None:
        """Take what the line tells."""
        for one in progress:
            match one:
                case FirstAudio(at_seconds=at):
                    self.first_audio_seconds = at
                case Cleared(at_seconds=at):
                    self.clears.append(at)
                case MarkEchoed():
                    self.marks.append(one)
                case _:
                    pass

    def listen(self, ulaw: bytes) -> None:
        """Take what the caller hears, without a hole: silence too."""
        self._heard_bytes += len(ulaw)
        if level(ulaw) >= SPEECH_LEVEL:
            self._loud_at_seconds = self.heard_seconds
        for edge in self._detector.feed(ulaw):
            at = edge.position_bytes / SAMPLE_RATE_HZ
            if edge.is_speech:
                self.spans.append(Span(at))
            else:
                self.spans[-1].end_seconds = at

    def speech_after(self, since: float) -> float | None:
        """Return when the far end first spoke at or after a time; None if it has not."""
        for span in self.spans:
            if (self._loud_at_seconds if span.end_seconds is None else span.end_seconds) > since:
                return max(span.start_seconds, since)
        return None

    def silence_after(self, since: float) -> float | None:
        """Return when the far end was first silent at or after a time; None if it has been speaking since."""
        for span in self.spans:
            if span.start_seconds <= since and (span.end_seconds is None or span.end_seconds > since):
                return span.end_seconds
        return since
