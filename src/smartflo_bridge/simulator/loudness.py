"""How loud mu-law audio is: the two measures that a summary and the referee need. Pure."""

import audioop

from smartflo_bridge.core.audio import FRAME_BYTES, FRAME_SECONDS, ulaw_to_pcm

SPEECH_LEVEL = 300
"""Of 32768: -41 dBFS. Between a telephone line's noise (below 100 in G.711 recordings) and quiet speech (above 500)."""


def level(ulaw: bytes) -> int:
    """Return how loud mu-law audio is: its RMS, 0 to 32768."""
    return audioop.rms(ulaw_to_pcm(ulaw), 2) if ulaw else 0


def speech_seconds(ulaw: bytes) -> float:
    """Return how much of mu-law audio is louder than a line's noise, counted in frames."""
    frames = (ulaw[at : at + FRAME_BYTES] for at in range(0, len(ulaw), FRAME_BYTES))
    return sum(level(frame) >= SPEECH_LEVEL for frame in frames) * FRAME_SECONDS
