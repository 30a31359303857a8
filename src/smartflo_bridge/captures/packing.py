"""Packs what a page carries beside its text: bytes and columns of numbers, deflated and written as base64.

The page unpacks them with the browser's own inflate, some only when they are wanted: a second of audio that nobody listens
to stays packed.
"""

import sys
import zlib
from array import array
from binascii import b2a_base64
from collections.abc import Iterable, Sequence

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ

BLOCK_SECONDS = 10
"""Of audio, in one piece: 80 kB a side, which a browser unpacks within 2 ms."""

_LEVEL = 6
"""More makes speech smaller by less than 1 %, and takes several times as long."""

_INT32 = range(-(2**31), 2**31)


def packed(octets: bytes) -> str:
    """Return bytes deflated, without a header, in base64."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b2a_base64(deflate.compress(octets) + deflate.flush(), newline=False).decode()


def packed_columns(rows: Sequence[Sequence[int]], columns: int) -> str:
    """Return a table of numbers, column by column, each number as the difference to the one above it.

    Differences are 32-bit, little-endian; one that does not fit becomes 0, so that an absurd number spoils only itself.
    """
    differences = array("i")
    for column in range(columns):
        before = 0
        for row in rows:
            difference = row[column] - before
            if difference in _INT32:
                before = row[column]
            else:
                difference = 0
            differences.append(difference)
    if sys.byteorder == "big":
        differences.byteswap()
    return packed(differences.tobytes())


def packed_audio(*sides: bytes) -> Iterable[str]:
    """Yield the call's mu-law, block by block: of each block first the one side, then the other, equally long."""
    size = BLOCK_SECONDS * SAMPLE_RATE_HZ
    for at in range(0, len(sides[0]), size):
        yield packed(b"".join(side[at : at + size] for side in sides))
