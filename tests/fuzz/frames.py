"""Fuzz target: bytes on an open connection, cut anywhere, by the fast path and by the library's own parser.

The same oracle as `server.test_frames`: both take the same messages, write the same bytes, and say the same of the end.
"""

import asyncio
import logging
import random
from collections.abc import Iterator

from corpus.case import Case, Wrapped, load, text_of
from fuzz.choices import Choices
from server.test_frames import cut, frame, outcome_of

MAX_BYTES = 1024
WORDS = [b"\x81\xfe\x00\x7e", b"\x81\x80", b"\x01\x80", b"\x80\x80", b"\x89\x80", b"\x88\x82", b"\x81\xff", b"\x00" * 4]
MASK = bytes(4)  # the payload is what stands there, so that what changes in it has a meaning

_runner = asyncio.Runner()
logging.getLogger("websockets").setLevel(logging.CRITICAL)  # each run ends a connection, most of them badly


def seeds() -> Iterator[bytes]:
    """Yield frames of each kind, right and wrong, uncut and cut; and the corpus' frames."""
    whole = [frame(bytes(size), mask=MASK) for size in (0, 5, 125, 126, 200)]
    parts = [frame(b"a", opcode, fin=fin, mask=MASK) for opcode in (0, 1, 2) for fin in (True, False)]
    controls = [frame(b"\x03\xe8ok", opcode, mask=MASK) for opcode in (8, 9, 10)]
    long_controls = [frame(b"x" * 126, opcode, mask=MASK) for opcode in (8, 9, 10)]
    lies = [
        frame(b"a", size=1 << 40, mask=MASK),
        frame(b"a", width=8, mask=MASK),
        frame(b"a", rsv=0x40),
        frame(masked=False),
    ]
    cases: list[Case] = load("B", Case)
    raw = [
        text_of(message.raw).encode("latin-1")
        for case in cases
        for message in case.send
        if isinstance(message, Wrapped) and message.raw is not None
    ]
    streams = [
        *whole,
        *parts,
        *controls,
        *long_controls,
        *lies,
        *raw,
        b"".join(whole + controls[1:]),
        b"".join(parts[2:4] + parts[:2]),
    ]
    chance = random.Random(7)
    for stream in streams:
        yield b"\x00" + stream
        yield b"\x00" + stream[: len(stream) // 2]
        yield b"\x03" + chance.randbytes(6) + stream


def check(data: bytes) -> None:
    """Let the first bytes say where the rest is cut, and compare."""
    choices = Choices(data)
    cuts = [choices.below(1 << 16) for _ in range(choices.below(8))]
    pieces = cut(choices.rest(), cuts)
    fast, slow = _runner.run(_both(pieces))
    assert fast == slow


async def _both(pieces: list[bytes]) -> tuple[object, object]:
    return await outcome_of(pieces, fast_frames=True), await outcome_of(pieces, fast_frames=False)
