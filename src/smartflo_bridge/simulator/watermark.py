"""A watermark in mu-law audio: the number of the utterance that it belongs to, inaudible, for `--strict`. Pure.

A bot under test stamps each utterance when it makes it, before any queue: `stamp(ulaw, number)`, with numbers that count
up from 0. The referee can then tell old audio from new without guessing. In other languages the same is a few lines:

    For each whole frame of 160 bytes, 40 bits are written into the lowest bits of bytes 0, 4, 8, ... 156, the most
    significant bit first: 24 bits 0xA5C3F0, 8 bits of the number (modulo 256), and these 8 bits inverted.

The lowest bit of a mu-law byte is one step of its quantisation, 38 dB below the sound, in every fourth sample. It survives
mu-law -> PCM16 -> mu-law at 8000 Hz, any cutting, and nothing else: stamp what will be sent, not what will be resampled.
"""

from smartflo_bridge.core.audio import FRAME_BYTES

SYNC = 0xA5C3F0
_SPACING = 4
_BITS = 40
_REACH = _SPACING * (_BITS - 1) + 1
_NUMBERS = 256


def stamp(ulaw: bytes, utterance: int) -> bytes:
    """Return the audio with the utterance's number in each of its whole frames."""
    number = utterance % _NUMBERS
    word = SYNC << 16 | number << 8 | number ^ 0xFF
    stamped = bytearray(ulaw)
    for start in range(0, len(ulaw) - FRAME_BYTES + 1, FRAME_BYTES):
        for bit in range(_BITS):
            at = start + _SPACING * bit
            stamped[at] = stamped[at] & 0xFE | word >> (_BITS - 1 - bit) & 1
    return bytes(stamped)


class WatermarkReader:
    """Finds the numbers in audio that comes in pieces of any length, wherever its frames begin."""

    def __init__(self) -> None:
        self._bits = ""
        self._last = -1

    def read(self, ulaw: bytes) -> list[int]:
        """Return the numbers of the frames that end in this audio, counted on across the wrap at 256."""
        self._bits += ulaw.translate(_LOWEST_BIT).decode("ascii")
        numbers = []
        at = 0
        while at + _REACH <= len(self._bits):
            word = int(self._bits[at : at + _REACH : _SPACING], 2) if self._bits.startswith("1", at) else 0
            if word >> 16 == SYNC and (word >> 8 & 0xFF) ^ (word & 0xFF) == 0xFF:
                numbers.append(self._unwrapped(word >> 8 & 0xFF))
                at += _REACH
            else:
                at += 1
        self._bits = self._bits[at:]
        return numbers

    def _unwrapped(self, number: int) -> int:
        """Return the number on the axis that does not wrap: the one nearest to the last."""
        turns = (self._last - number + _NUMBERS // 2) // _NUMBERS if self._last >= 0 else 0
        nearest = number + _NUMBERS * max(turns, 0)
        self._last = max(self._last, nearest)
        return nearest


_LOWEST_BIT = bytes(ord("0") + (byte & 1) for byte in range(256))
