"""Gaps inside an utterance, as three telephones would hear them: without a jitter buffer, with 60 ms, and with 200 ms.

Three playout clocks run over the same arrivals, by numbers alone. Silence between two utterances is no gap: one utterance
ends with a mark, a clear, a pause of more than a second, or where the audio itself is quiet on one side of the silence.
What the simulator's own loop was too late to see in time is not blamed on the far end.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.earpiece import GAP_LIMIT_SAMPLES
from smartflo_bridge.simulator.loudness import SPEECH_LEVEL, level
from smartflo_bridge.simulator.rules import Rule

JITTER_BUFFERS = {0: Rule.GAP_0_MS, 60: Rule.GAP_60_MS, 200: Rule.GAP_200_MS}
"""Sizes in ms: none; a small adaptive one, the usual 3 packets of 20 ms; the most that a phone spends on it."""

TOLERANCE_SECONDS = 0.005
"""Silence that adds up to less than this inside one utterance is not heard, and two clocks may disagree about it."""

SETTLING_SECONDS = 0.05
"""A stall of our own loop is known by then; until then a gap is not blamed on anybody."""

EDGE_BYTES = 80
"""10 ms: what is looked at on both sides of a silence. Shorter than a stop consonant's closure."""


class GapTally(msgspec.Struct):
    """What one clock heard in a call."""

    jitter_buffer_ms: int
    count: int = 0
    total_seconds: float = 0.0
    longest_seconds: float = 0.0


class _Silence(msgspec.Struct, frozen=True):
    noticed_at: float
    at_seconds: float
    seconds: float
    clock: int
    utterance: int


class GapCheck:
    """Listens with three clocks. `play` every payload, `settle` from time to time; `now` is in seconds, never goes back.

    Attributes:
        tallies: what the clocks heard, in the order of `JITTER_BUFFERS`.
        lateness_ms: how far messages came behind the steadiest pace of their utterance, in whole ms: how many.
    """

    def __init__(self) -> None:
        self.tallies = [GapTally(ms) for ms in JITTER_BUFFERS]
        self.lateness_ms: Counter[int] = Counter()
        self._dry_at = [0.0] * len(JITTER_BUFFERS)  # when each clock has played all there is
        self._owed = [0.0] * len(JITTER_BUFFERS)  # silence inside the utterance that no finding has told yet
        self._utterance = 0
        self._ended = True
        self._tail = b""
        self._pace = 0.0
        self._played_seconds = 0.0
        self._silences: list[_Silence] = []

    def end_utterance(self) -> None:
        """A mark: silence behind it is a pause."""
        self._ended = True

    def clear(self, now: float) -> None:
        """All that was buffered is dropped, and with it the utterance ends."""
        self._ended = True
        self._dry_at = [min(dry_at, now) for dry_at in self._dry_at]

    def play(self, ulaw: bytes, now: float) -> None:
        """Take a payload."""
        begins = self._begins(ulaw, now)
        if begins:
            self._utterance += 1
            self._owed = [0.0] * len(self._owed)
        self._note_pace(now, begins=begins)
        seconds = len(ulaw) / SAMPLE_RATE_HZ
        for clock, tally in enumerate(self.tallies):
            dry_at = self._dry_at[clock]
            start = max(dry_at, now + tally.jitter_buffer_ms / 1000 if begins else now)
            if start > dry_at and not begins:
                self._silences.append(_Silence(now, dry_at, start - dry_at, clock, self._utterance))
            self._dry_at[clock] = start + seconds
        self._played_seconds += seconds
        self._tail = ulaw[-EDGE_BYTES:]
        self._ended = False

    def settle(self, now: float, stalled: Callable[[float, float], float]) -> list[tuple[float, Finding]]:
        """Return the gaps that are the far end's fault, each with its time.

        `stalled` says for how long, between two times, our own loop did not run.
        """
        ripe = [silence for silence in self._silences if now - silence.noticed_at >= SETTLING_SECONDS]
        self._silences = self._silences[len(ripe) :]
        return [found for silence in ripe if (found := self._blame(silence, stalled))]

    def _begins(self, ulaw: bytes, now: float) -> bool:
        """Return True if this payload is the first of an utterance: it follows a silence, and not one in mid-speech."""
        silence = now - self._dry_at[0]
        if self._utterance == 0:
            return True
        if silence <= 0:
            return False
        if self._ended or silence > GAP_LIMIT_SAMPLES / SAMPLE_RATE_HZ:
            return True
        return min(level(self._tail), level(ulaw[:EDGE_BYTES])) < SPEECH_LEVEL

    def _note_pace(self, now: float, *, begins: bool) -> None:
        behind = now - self._played_seconds
        self._pace = behind if begins else min(self._pace, behind)
        self.lateness_ms[round(1000 * (behind - self._pace))] += 1

    def _blame(self, silence: _Silence, stalled: Callable[[float, float], float]) -> tuple[float, Finding] | None:
        seconds = silence.seconds - stalled(silence.noticed_at - silence.seconds, silence.noticed_at)
        if seconds <= 0:
            return None
        tally = self.tallies[silence.clock]
        if silence.utterance != self._utterance:
            self._owed[silence.clock] = 0.0
        self._owed[silence.clock] += seconds
        if self._owed[silence.clock] < TOLERANCE_SECONDS:
            return None
        heard, self._owed[silence.clock] = self._owed[silence.clock], 0.0
        tally.count += 1
        tally.total_seconds += heard
        tally.longest_seconds = max(tally.longest_seconds, heard)
        detail = f"{heard * 1000:.0f} ms of silence inside an utterance, behind a jitter buffer of {tally.jitter_buffer_ms} ms"
        return silence.at_seconds, Finding(list(JITTER_BUFFERS.values())[silence.clock], detail)
