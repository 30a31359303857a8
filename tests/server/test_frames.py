"""The fast path against the library's own: whatever comes, however it is cut, both take the same and answer the same."""

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from server.dialled_connection import REQUEST, DialledConnection
from smartflo_bridge.calls.inbox import FULL_ITEMS
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.connection import MAX_MESSAGE_BYTES
from smartflo_bridge.server.frames import text_frame

MASK = b"\x11\x22\x33\x44"
TEXT = b'{"event":"media","media":{"payload":"' + b"/v7+" * 54 + b'"}}'


def frame(payload=b"", opcode=1, *, fin=True, rsv=0, masked=True, mask=MASK, size=None, width=None):
    """Make a client's frame, right or wrong: any first byte, any declared size in any width, masked or not."""
    declared = len(payload) if size is None else size
    width = width or (0 if declared < 126 else 2 if declared < 65536 else 8)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    head += bytes([(0x80 if masked else 0) | (declared if width == 0 else {2: 126, 8: 127}[width])])
    head += declared.to_bytes(width) if width else b""
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def cut(data, cuts):
    """Cut bytes at these places."""
    edges = sorted({at % (len(data) + 1) for at in cuts} | {0, len(data)})
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


async def outcome_of(pieces, *, fast_frames):
    """Feed the pieces to a connection; return what came of it."""
    dialled = DialledConnection(fast_frames=fast_frames)
    await dialled.open()
    taken = []
    for piece in pieces:
        dialled.feed(piece)
        taken += dialled.taken()
    messages, written, farewell = dialled.outcome()
    return taken + messages, written, farewell


def outcomes(pieces):
    """Return what comes of it by the fast path, and by the library alone."""

    async def both():
        return await outcome_of(pieces, fast_frames=True), await outcome_of(pieces, fast_frames=False)

    return asyncio.run(both())


SHORT = st.one_of(st.just(TEXT), st.binary(max_size=300), st.binary(min_size=120, max_size=130))
GOOD = st.builds(frame, SHORT, mask=st.binary(min_size=4, max_size=4))
LONG = st.integers(-2, 2).map(lambda over: frame(b"x" * (MAX_MESSAGE_BYTES + over)))
PARTS = st.builds(frame, st.binary(max_size=200), st.sampled_from([0, 1, 2]), fin=st.booleans())
CONTROLS = st.builds(frame, st.binary(max_size=125), st.sampled_from([9, 10]))
CLOSES = st.builds(
    frame,
    st.one_of(st.just(b""), st.binary(max_size=3), st.sampled_from([b"\x03\xe8bye", b"\x03\xedno", b"\x03\xe8\xff"])),
    st.just(8),
)
ANY = st.builds(
    frame,
    st.binary(max_size=140),
    st.integers(0, 15),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0x40, 0x20, 0x10]),
    masked=st.sampled_from([True, True, True, False]),
    width=st.sampled_from([None, None, 2, 8]),
)
LIES = st.builds(frame, st.binary(max_size=20), size=st.sampled_from([MAX_MESSAGE_BYTES + 1, 2**62, 2**63 + 1]))
STREAMS = st.lists(st.one_of(GOOD, GOOD, GOOD, PARTS, CONTROLS, CLOSES, ANY, LIES, LONG), max_size=12).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 1 << 20), max_size=12), tail=st.binary(max_size=12))
def test_both_paths_take_and_answer_the_same(stream, cuts, tail):
    """Same bytes, cut anywhere: same messages in the same order, same replies, same end."""
    fast, slow = outcomes(cut(stream + tail, cuts))
    assert fast == slow


@settings(max_examples=150, deadline=None)
@given(stream=st.lists(st.one_of(GOOD, PARTS, CONTROLS, ANY), min_size=1, max_size=6).map(b"".join))
def test_bytes_one_at_a_time(stream):
    """The shortest cut there is, over anything."""
    fast, slow = outcomes([stream[at : at + 1] for at in range(len(stream))])
    assert fast == slow


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_noise(data):
    """What is no frame at all ends a connection as the library ends it."""
    fast, slow = outcomes([data])
    assert fast == slow


def test_the_two_paths_are_two():
    """The comparison compares something: a whole text never reaches the library's parser on the fast path."""

    async def parsed(*, fast_frames):
        dialled = DialledConnection(fast_frames=fast_frames)
        await dialled.open()
        seen = []
        receive = dialled.connection.protocol.receive_data
        dialled.connection.protocol.receive_data = lambda data: (seen.append(bytes(data)), receive(data))
        for piece in (frame(TEXT), frame(TEXT)[:50], frame(TEXT)[50:] + frame(b"{}") + frame(b"?", 9)):
            dialled.feed(piece)
        assert dialled.taken() == [TEXT, TEXT, b"{}"]
        return seen

    assert asyncio.run(parsed(fast_frames=True)) == [frame(b"?", 9)]
    assert len(asyncio.run(parsed(fast_frames=False))) == 3


@pytest.mark.parametrize("fast_frames", [True, False])
def test_messages_in_the_company_of_the_request(fast_frames):
    """A client that does not wait for our answer loses nothing, however the request is cut."""

    async def talk(seed):
        dialled = DialledConnection(fast_frames=fast_frames)
        stream = REQUEST + frame(b"one") + frame(b"tw", fin=False) + frame(b"o", 0) + frame(b"three")[:5]
        generator = random.Random(seed)
        pieces = cut(stream, [generator.randrange(len(stream)) for _ in range(seed % 5)])
        await dialled.open(*pieces)
        dialled.feed(frame(b"three")[5:])
        return dialled.taken()

    for seed in range(60):
        assert asyncio.run(talk(seed)) == [b"one", b"two", b"three"], seed


@pytest.mark.parametrize("fast_frames", [True, False])
def test_it_stops_reading_while_the_inbox_is_full(fast_frames):
    """What came in the same read waits; nothing is lost or overtaken, and reading goes on when all has been taken."""

    async def talk():
        dialled = DialledConnection(fast_frames=fast_frames)
        await dialled.open()
        sent = [b"%d" % number for number in range(3 * FULL_ITEMS)]
        dialled.feed(b"".join(map(frame, sent)))
        assert not dialled.transport.is_reading
        taken = dialled.taken()
        assert dialled.transport.is_reading
        assert taken == sent

    asyncio.run(talk())


def test_a_silent_frame_is_bounded():
    """A message that never ends holds less than its limit: what declares more is the library's at once, and refused."""

    async def talk():
        dialled = DialledConnection(fast_frames=True)
        await dialled.open()
        dialled.feed(frame(b"x" * 1000, size=MAX_MESSAGE_BYTES))
        assert not dialled.transport.has_ended
        other = DialledConnection(fast_frames=True)
        await other.open()
        other.feed(frame(size=MAX_MESSAGE_BYTES + 1))
        assert other.outcome()[2] == PeerLost(
            None, "frame with 65537 bytes exceeds limit of 65536 bytes", broke_protocol=True
        )

    asyncio.run(talk())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_what_we_write_is_what_the_library_would(size):
    """Each width of the length, at its edges."""
    text = b"a" * size
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)
