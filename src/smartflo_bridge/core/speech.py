"""Where speech begins and ends in mu-law audio: an energy rule that follows the line's noise and decides in hindsight.

It looks at windows of 10 ms on a grid of its own, so the result does not depend on how the audio is cut. A window is loud
if it stands well above the quietest of the last seconds. Speech begins with a few loud windows and ends with a stretch
without one; where in that stretch it ended is then looked for again, with the noise that followed as the measure, because
the last sounds of a sentence are often no louder than the line. Positions are bytes, which are samples, of the audio fed.

It knows no clock and no call: `turns` uses it, and whoever wants to shade or await speech. The constants come from
`scripts/bench/speech`, which also has the accuracy and the cost, beside a rule without hindsight and WebRTC's detector.
"""

import audioop
import math

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, ulaw_to_pcm

WINDOW_BYTES = SAMPLE_RATE_HZ // 100
"""10 ms of mu-law: fine enough for an end that is known to some 5 ms, long enough for a level that is not all chance."""

MIN_SILENCE_SECONDS = 0.4
"""A shorter silence is a pause. At 0.2 s one recorded prompt in eleven has one inside, at 0.3 s one in forty, at 0.4 s none."""

MIN_SPEECH_WINDOWS = 5
"""So many loud windows (more than the quiet ones between them) are speech; a click on the line has one or two."""

_LOUD_RATIO = 2.5
"""Loud is 8 dB above the quietest window: 5 to 6 dB above the mean of noise. In two minutes of noise it never is; 6 dB is."""

_QUIETEST_LOUD = 64
"""Of 32768, -54 dBFS: nothing below is called loud, however quiet the line."""

_FIRST_FLOOR = 260
"""-42 dBFS: the line's noise until it has been heard, so that neither a noisy line nor a hasty caller is mistaken."""

_LOUDEST_FLOOR = 820
"""-32 dBFS: steadier sound that is louder, a long vowel or a tone, is not taken for noise. 22 dB above an ordinary line."""

_BLOCK_WINDOWS = 50
_BLOCKS = 6
"""The quietest of the last 2.5 to 3 s: nobody speaks for so long without a gap between two sounds."""

_TAIL_WINDOWS = 40
"""Where the end is looked for: the first 0.4 s after the last loud window. A silence that lasts longer adds nothing."""

_END_RATIO = 1.25
"""In power: the noise, as measured over 0.2 s, is uncertain by some 10 %, and must not look like more speech."""

_INAUDIBLE = 10 ** (-35 / 20)
"""Beside the loudest of what was just said. Kept recordings have breath and room that nobody would call speech there."""

_SILENT = 30
"""-61 dBFS: what a line without noise plays after speech, down to mu-law's own steps, is not looked at."""


class SpeechEdge(msgspec.Struct, frozen=True):
    """Speech begins or ends at a position in the audio fed so far. It is known only some time after."""

    is_speech: bool
    position_bytes: int


class SpeechDetector:
    """One direction of one call.

    Args:
        min_silence_seconds: silences that are shorter belong to the speech. An end is known so long after it at least.
    """

    def __init__(self, min_silence_seconds: float = MIN_SILENCE_SECONDS) -> None:
        self._silence_windows = max(2, round(min_silence_seconds * SAMPLE_RATE_HZ / WINDOW_BYTES))
        self._rest = b""
        self._windows = 0
        self._floors = [_FIRST_FLOOR]
        self._floor = math.inf  # of the block that is being heard
        self._block_end = _BLOCK_WINDOWS
        self._threshold = _FIRST_FLOOR * _LOUD_RATIO
        self._is_speech = False
        self._lead = 0  # loud windows, less the quiet ones between them, of what may become speech
        self._start = 0  # the window where that began
        self._loudest = 0
        self._tail: list[int] = []  # levels since the last loud window, while it is speech

    @property
    def is_speech(self) -> bool:
        """True from the report of a beginning to the report of its end."""
        return self._is_speech

    @property
    def position_bytes(self) -> int:
        """How much of the audio has been looked at: all of it, up to the last whole window."""
        return self._windows * WINDOW_BYTES

    def feed(self, ulaw: bytes) -> list[SpeechEdge]:
        """Take the next audio, of any length; return the edges that it decides, in order."""
        if self._rest:
            ulaw = self._rest + ulaw
        whole = len(ulaw) - len(ulaw) % WINDOW_BYTES
        self._rest = ulaw[whole:]
        pcm = ulaw_to_pcm(ulaw)
        edges: list[SpeechEdge] = []
        for at in range(0, 2 * whole, 2 * WINDOW_BYTES):
            level = audioop.rms(pcm[at : at + 2 * WINDOW_BYTES], 2)
            if level < self._floor:
                self._lower(level)
            if self._windows == self._block_end:
                self._begin_block(level)
            self._windows += 1
            if level > self._threshold:
                if not self._is_speech:
                    self._hear_first(level, edges)
                    continue
                if self._tail:
                    self._tail.clear()
                self._loudest = max(self._loudest, level)
            elif self._is_speech or self._lead:
                self._hear_quiet(level, edges)
        return edges

    def _hear_first(self, level: int, edges: list[SpeechEdge]) -> None:
        """Take a loud window of what may become speech, and becomes it with the last of them."""
        if not self._lead:
            self._start = self._windows - 1
            self._loudest = 0
        self._lead += 1
        if self._lead == MIN_SPEECH_WINDOWS:
            self._is_speech = True
            edges.append(SpeechEdge(is_speech=True, position_bytes=self._start * WINDOW_BYTES + WINDOW_BYTES // 2))
        self._loudest = max(self._loudest, level)

    def _hear_quiet(self, level: int, edges: list[SpeechEdge]) -> None:
        if not self._is_speech:
            self._lead -= 1
            return
        self._tail.append(level)
        if len(self._tail) == self._silence_windows:
            edges.append(self._end())

    def _end(self) -> SpeechEdge:
        """Speech is over: find out where in the tail it ended.

        The end is where the energy above the noise, added up from the last loud window, is greatest: a lone bump in the
        noise does not make up for the quiet before it, the release of a final consonant does.
        """
        powers = [level * level for level in self._tail[:_TAIL_WINDOWS]]
        speech, noise = powers[: len(powers) // 2], powers[len(powers) // 2 :]
        expected = _END_RATIO * sum(noise) / len(noise)
        inaudible = max(self._loudest * _INAUDIBLE, _SILENT) ** 2
        end = 0
        total = most = 0.0
        for count, power in enumerate(speech, 1):
            total += power - expected if power > inaudible else min(0, power - expected)
            if total > most:
                end, most = count, total
        first = self._windows - len(self._tail)
        self._is_speech = False
        self._lead = 0
        self._tail.clear()
        return SpeechEdge(is_speech=False, position_bytes=(first + end) * WINDOW_BYTES - WINDOW_BYTES // 2)

    # --- The noise

    def _lower(self, level: int) -> None:
        self._floor = level
        if level * _LOUD_RATIO < self._threshold:
            self._threshold = max(level * _LOUD_RATIO, _QUIETEST_LOUD)

    def _begin_block(self, level: int) -> None:
        """Forget the oldest half second. The first one heard takes the place of what was assumed."""
        if self._block_end == _BLOCK_WINDOWS:
            self._floors.clear()
        self._floors.append(int(self._floor))
        del self._floors[:-_BLOCKS]
        self._threshold = max(min(*self._floors, level, _LOUDEST_FLOOR) * _LOUD_RATIO, _QUIETEST_LOUD)
        self._floor = level
        self._block_end += _BLOCK_WINDOWS
