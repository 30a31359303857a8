"""How loud a track is, frame by frame: what a waveform is drawn from, instead of its samples.

One byte a frame for the peak and one for the RMS, as 255 times the square root of the level: half of the height is a
quarter of the amplitude, so that quiet speech is seen beside loud speech, and a line's noise stays flat.
"""

import audioop
import itertools
import math

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, SILENCE, ulaw_to_pcm

_FULL_SCALE = 32768
_HEIGHT = [round(255 * math.sqrt(level / _FULL_SCALE)) for level in range(_FULL_SCALE + 1)]


class Peaks(msgspec.Struct, frozen=True):
    """The peak and the RMS of each frame of a track, as heights of 0 to 255."""

    peak: bytes
    rms: bytes

    def reduced(self, columns: int) -> "Peaks":
        """Return as many columns, or one a frame if that is less: of the frames in each, the highest peak, the mean RMS."""
        size = len(self.peak)
        columns = min(columns, size)
        if not columns:
            return self
        bounds = [size * column // columns for column in range(columns + 1)]
        parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        return Peaks(
            bytes(max(self.peak[part]) for part in parts),
            bytes(sum(self.rms[part]) // (part.stop - part.start) for part in parts),
        )


def peaks_of(ulaw: bytes) -> Peaks:
    """Measure a track; a last frame that is not full is filled with silence."""
    peak, rms = bytearray(), bytearray()
    for at in range(0, len(ulaw), FRAME_BYTES):
        pcm = ulaw_to_pcm(ulaw[at : at + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE))
        peak.append(_HEIGHT[audioop.max(pcm, 2)])
        rms.append(_HEIGHT[audioop.rms(pcm, 2)])
    return Peaks(bytes(peak), bytes(rms))
