"""What callers say, so that a frame which is lost, repeated, out of order or changed is found when it comes back. Pure.

Each frame of 160 bytes begins with a stamp: the number of its call (24 bits), its own number (32) and a checksum of both
and of the rest (16), four bits a byte in the quietest codes of mu-law. The rest is a tone: an agent's leg refuses noise.
"""

import math
from binascii import crc_hqx

from smartflo_bridge.core.audio import FRAME_BYTES, SAMPLE_RATE_HZ, pcm_to_ulaw

SILENT_FRAME = b"\xff" * FRAME_BYTES
MAX_CALLS = 1 << 24
_CALL_BYTES = 6
_STAMP_BYTES = 18
_BANK = 64
_DIGITS = b"0123456789abcdef"
_QUIET = bytes(range(0xF0, 0x100))
_TO_QUIET = bytes.maketrans(_DIGITS, _QUIET)
_FROM_QUIET = bytes(_DIGITS[byte - 0xF0] if byte >= 0xF0 else 0x2D for byte in range(256))


def _tone(number: int) -> bytes:
    turn = 2 * math.pi * (200 + 5 * number) / SAMPLE_RATE_HZ
    samples = (round(9000 * math.sin(turn * at)) for at in range(FRAME_BYTES - _STAMP_BYTES))
    return pcm_to_ulaw(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))


_TONES = [_tone(number) for number in range(_BANK)]


def frame(call: int, number: int) -> bytes:
    """Return a frame of a call's speech."""
    head, tone = b"%06x%08x" % (call, number), _TONES[number % _BANK]
    return (head + b"%04x" % crc_hqx(head + tone, 0)).translate(_TO_QUIET) + tone


def number_of(call: int, audio: bytes) -> int | None:
    """Return the number of a whole frame, or None if it is none of this call's."""
    digits = audio[_CALL_BYTES : _CALL_BYTES + 8].translate(_FROM_QUIET)
    if b"-" in digits:
        return None
    number = int(digits, 16)
    return number if audio == frame(call, number) else None


class Ear:
    """Judges what one caller hears, in pieces of any length, wherever its frames begin.

    Attributes:
        next: the number of the frame that should come next: so many have come or been lost.
        lost: numbers that were left out.
        repeated: frames that came again, or after a later one.
        silent_frames: of silence.
        foreign_bytes: of anything else.
    """

    def __init__(self, call: int) -> None:
        self.next = self.lost = self.repeated = self.silent_frames = self.foreign_bytes = 0
        self._call = call
        self._beginning = (b"%06x" % call).translate(_TO_QUIET)
        self._held = b""

    def hear(self, ulaw: bytes) -> None:
        """Take the next audio."""
        held, at = self._held + ulaw, 0
        while at + FRAME_BYTES <= len(held):
            piece = held[at : at + FRAME_BYTES]
            if piece == frame(self._call, self.next):
                self.next += 1
            elif piece == SILENT_FRAME:
                self.silent_frames += 1
            elif (number := number_of(self._call, piece)) is not None:
                self._jump(number)
            else:
                step = self._foreign(held, at)
                self.foreign_bytes += step
                at += step
                continue
            at += FRAME_BYTES
        self._held = held[at:]

    def _jump(self, number: int) -> None:
        if number < self.next:
            self.repeated += 1
            return
        self.lost += number - self.next
        self.next = number + 1

    def _foreign(self, held: bytes, at: int) -> int:
        """Return how many bytes are foreign, from `at` to where a stamp or a silent frame may begin."""
        found = [place for sign in (self._beginning, SILENT_FRAME) if (place := held.find(sign, at + 1)) >= 0]
        return min([*found, max(at + 1, len(held) - FRAME_BYTES + 1)]) - at
