"""Noise in the place of speech: as loud as it, frame by frame, and without a word of it."""

import audioop
import os

from smartflo_bridge.core.audio import FRAME_BYTES, pcm_to_ulaw, ulaw_to_pcm

NOISE_RMS = 32768 / 3**0.5
"""Of samples that are evenly distributed over the whole range."""


def noise_like(ulaw: bytes) -> bytes:
    """Return noise of the same length and, in each 20 ms, the same level; silence stays silence.

    One band of noise under the envelope of speech keeps who spoke when, and almost nothing of what was said (Shannon et
    al. 1995, "Speech recognition with primarily temporal cues": few consonants, no sentence).
    """
    return b"".join(_noise(ulaw[at : at + FRAME_BYTES]) for at in range(0, len(ulaw), FRAME_BYTES))


def _noise(frame: bytes) -> bytes:
    level = audioop.rms(ulaw_to_pcm(frame), 2)
    return pcm_to_ulaw(audioop.mul(os.urandom(2 * len(frame)), 2, level / NOISE_RMS))
