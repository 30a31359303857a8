"""Stand-in for `core.speech`, with its interface: `SpeechDetector().feed(ulaw) -> list[SpeechEdge]`, on the media clock.

An energy rule with two thresholds and a hangover, good enough to shade a picture. To be deleted for `core.speech` as
soon as that is there; only `captures.talk` imports it.
"""

import audioop

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, ulaw_to_pcm

ONSET_LEVEL = 500
"""RMS of 32768 at which speech begins: quiet speech on a telephone line is above, its noise below 100 (simulator.mix)."""

SUSTAIN_LEVEL = 250
"""RMS above which speech that has begun goes on: half of the onset's, so that a fading vowel is not cut."""

HANGOVER_FRAMES = 15
"""300 ms: longer than the closure of a stop consonant (below 150 ms), shorter than a pause between sentences."""

ONSET_FRAMES = 2
"""40 ms: a click is shorter, a syllable is not."""


class SpeechEdge(msgspec.Struct, frozen=True):
    """Where speech begins or ends: a position in the audio fed, in bytes."""

    is_speech: bool
    position_bytes: int


class SpeechDetector:
    """Tells speech from silence in one track, frame by frame. An end is told when the hangover is over, in hindsight."""

    def __init__(self) -> None:
        self._rest = b""
        self._position = 0
        self._loud = 0  # frames in a row, while there is no speech
        self._quiet = 0  # frames in a row, while there is
        self._is_speech = False

    def feed(self, ulaw: bytes) -> list[SpeechEdge]:
        """Take more of the track, of any length, and return the edges that it shows."""
        audio = self._rest + ulaw
        whole = len(audio) - len(audio) % FRAME_BYTES
        pcm = ulaw_to_pcm(audio[:whole])
        edges: list[SpeechEdge] = []
        for at in range(0, whole, FRAME_BYTES):
            self._position += FRAME_BYTES
            edges += self._take(audioop.rms(memoryview(pcm)[2 * at : 2 * (at + FRAME_BYTES)], 2))
        self._rest = audio[whole:]
        return edges

    def _take(self, level: int) -> list[SpeechEdge]:
        if self._is_speech:
            self._quiet = 0 if level >= SUSTAIN_LEVEL else self._quiet + 1
            if self._quiet < HANGOVER_FRAMES:
                return []
            self._is_speech, self._loud = False, 0
            return [SpeechEdge(is_speech=False, position_bytes=self._position - HANGOVER_FRAMES * FRAME_BYTES)]
        self._loud = self._loud + 1 if level >= ONSET_LEVEL else 0
        if self._loud < ONSET_FRAMES:
            return []
        self._is_speech, self._quiet = True, 0
        return [SpeechEdge(is_speech=True, position_bytes=self._position - ONSET_FRAMES * FRAME_BYTES)]
