"""Fuzz target: bytes on an open connection of a caller or a leg, cut anywhere, by the fast path and by the library's own parser.

The same oracle as `wire.test_frames`: both take the same messages, write the same bytes, and say the same of the end.
"""

import asyncio
import logging
import random
from collections.abc import Iterator
from functools import partial

from corpus.case import Case, Wrapped, load, text_of
from fuzz.choices import Choices
from wire.test_frames import CALLER, MAX_MESSAGE_BYTES, SERVICE, Side, cut

SIDES = (CALLER, SERVICE)
MAX_BYTES = 1024
WORDS = [b"\x81\xfe\x00\x7e", b"\x81\x80", b"\x01\x80", b"\x80\x80", b"\x89\x80", b"\x88\x82", b"\x81\xff", b"\x00" * 4]
MASK = bytes(4)  # the payload is what stands there, so that what changes in it has a meaning

_runner = asyncio.Runner()
logging.getLogger("websockets").setLevel(logging.CRITICAL)  # each run ends a connection, most of them badly


def seeds() -> Iterator[bytes]:
    """Yield frames of each kind, right and wrong, uncut and cut, of both ends; and the corpus' frames."""
    chance = random.Random(7)
    for number, side in enumerate(SIDES):
        for stream in [*_streams(side), *_of_the_corpus()]:
            yield bytes([number, 0]) + stream
            yield bytes([number, 0]) + stream[: len(stream) // 2]
            yield bytes([number, 3]) + chance.randbytes(6) + stream


def _streams(side: Side) -> list[bytes]:
    frame = partial(side.frame, mask=MASK)
    whole = [frame(bytes(size)) for size in (0, 5, 125, 126, 200)]
    parts = [frame(b"a", opcode, fin=fin) for opcode in (0, 1, 2) for fin in (True, False)]
    controls = [frame(b"\x03\xe8ok", opcode) for opcode in (8, 9, 10)]
    long_controls = [frame(b"x" * 126, opcode) for opcode in (8, 9, 10)]
    lies = [frame(b"a", size=1 << 40), frame(b"a", width=8), frame(b"a", rsv=0x40), frame(masked=not side.masked)]
    lies.append(frame(b"a", 1, fin=False) + frame(b"a", 0, size=MAX_MESSAGE_BYTES))  # too long together
    joined = [b"".join(whole + controls[1:]), b"".join(parts[2:4] + parts[:2])]
    return [*whole, *parts, *controls, *long_controls, *lies, *joined]


def _of_the_corpus() -> list[bytes]:
    cases: list[Case] = load("B", Case)
    return [
        text_of(message.raw).encode("latin-1")
        for case in cases
        for message in case.send
        if isinstance(message, Wrapped) and message.raw is not None
    ]


def check(data: bytes) -> None:
    """Let the first bytes say whose end it is and where the rest is cut, and compare."""
    choices = Choices(data)
    side = SIDES[choices.below(len(SIDES))]
    cuts = [choices.below(1 << 16) for _ in range(choices.below(8))]
    pieces = cut(choices.rest(), cuts)
    fast, slow = _runner.run(_both(side, pieces))
    assert fast == slow


async def _both(side: Side, pieces: list[bytes]) -> tuple[object, object]:
    return await side.outcome_of(pieces, fast_frames=True), await side.outcome_of(pieces, fast_frames=False)
