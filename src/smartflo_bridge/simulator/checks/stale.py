"""Audio after a clear that belongs to the interrupted utterance. Pure.

By its watermark where the far end carries one (see `simulator.watermark`). Otherwise by continuity: a sender that was not
stopped goes on where it was, in mid-speech, within a moment. Then the 10 ms around the join repeat a stretch of the voice
a pitch period or so before it, which a new utterance does not.
"""

import audioop

from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.loudness import SPEECH_LEVEL, level
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.watermark import WatermarkReader

WINDOW_SECONDS = 0.5
"""So long after a clear what continues is the old utterance. Somebody who resumes it on purpose waits longer."""

SIMILARITY = 0.9
"""Correlation of the join with an earlier stretch: by `scripts/bench/referee`, 62 % of what goes on reaches it, 0.6 % of what begins."""

_BEFORE = 30  # samples of the join that are before the clear
_AFTER = 50
_SHORTEST_PERIOD = 20  # samples: 400 Hz
_LONGEST_PERIOD = 320  # 25 Hz, or several periods of any voice
_TAIL_BYTES = _BEFORE + _LONGEST_PERIOD
_EDGE_BYTES = 40


class StaleCheck:
    """Judges payloads after a clear. Each is fed to `hear` in the order of arrival."""

    def __init__(self, *, reads_watermarks: bool) -> None:
        self.watermarks_seen = 0
        self._reader = WatermarkReader() if reads_watermarks else None
        self._tail = b""
        self._utterance = -1  # the newest watermark so far
        self._interrupted = -1  # the newest one when the far end cleared
        self._cleared_at: float | None = None

    def clear(self, now: float) -> None:
        """The far end interrupted itself."""
        self._cleared_at = now
        self._interrupted = self._utterance

    def hear(self, ulaw: bytes, now: float) -> list[Finding]:
        """Take a payload."""
        cleared_at, self._cleared_at = self._cleared_at, None
        numbers = self._reader.read(ulaw) if self._reader else []
        self.watermarks_seen += len(numbers)
        self._utterance = max([self._utterance, *numbers])
        findings: list[Finding] = []
        old = [number for number in numbers if number <= self._interrupted]
        if old:
            findings.append(Finding(Rule.STALE_AUDIO, f"audio of utterance {old[0]}, which was cleared (watermark)"))
        elif not self.watermarks_seen and cleared_at is not None and now - cleared_at <= WINDOW_SECONDS:
            similarity = continuity(self._tail, ulaw)
            if similarity >= SIMILARITY:
                text = f"goes on where the interrupted utterance broke off (similarity {similarity:.2f})"
                findings.append(Finding(Rule.STALE_AUDIO, text))
        self._tail = (self._tail + ulaw)[-_TAIL_BYTES:]
        return findings


def continuity(tail: bytes, head: bytes) -> float:
    """Return how well mu-law `head` continues `tail`, from 0 to 1; 0 too where either is quiet or short at the join."""
    if len(tail) < _TAIL_BYTES or len(head) < _AFTER:
        return 0.0
    if min(level(tail[-_EDGE_BYTES * 2 :]), level(head[:_EDGE_BYTES])) < SPEECH_LEVEL:
        return 0.0
    joined = tail[-_TAIL_BYTES:] + head[:_AFTER]
    length = _BEFORE + _AFTER
    join = ulaw_to_pcm(joined[-length:])
    earlier = ulaw_to_pcm(joined[: _LONGEST_PERIOD - _SHORTEST_PERIOD + length])
    at, _ = audioop.findfit(earlier, join)
    stretch = earlier[2 * at : 2 * (at + length)]
    if not audioop.rms(stretch, 2) or audioop.findfactor(stretch, join) <= 0:
        return 0.0
    return float((audioop.findfactor(stretch, join) * audioop.findfactor(join, stretch)) ** 0.5)
