"""The fast path against the library's own: whatever comes, however it is cut, both take the same and answer the same.

Both ends are held to it: what a caller sends, masked, and what a service sends to a leg, not masked.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass
from types import BuiltinFunctionType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode

from server.dialled_connection import REQUEST, DialledConnection
from smartflo_bridge.agents import connection as module
from smartflo_bridge.agents.connection import FULL_MESSAGES
from smartflo_bridge.agents.far_end import Closed
from smartflo_bridge.calls.inbox import FULL_ITEMS
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.connection import MAX_MESSAGE_BYTES
from smartflo_bridge.wire.frames import WHOLE_BINARY, WHOLE_TEXT, apply_mask, masked_frame, text_frame
from wire.dialled_leg import MAX_MESSAGE_BYTES as LEG_MESSAGE_BYTES
from wire.dialled_leg import DialledLeg

MASK = b"\x11\x22\x33\x44"
TEXT = b'{"event":"media","media":{"payload":"' + b"/v7+" * 54 + b'"}}'


def frame(payload=b"", opcode=1, *, fin=True, rsv=0, masked=True, mask=MASK, size=None, width=None):
    """Make a frame, right or wrong: any first byte, any declared size in any width, masked or not."""
    declared = len(payload) if size is None else size
    width = width or (0 if declared < 126 else 2 if declared < 65536 else 8)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    head += bytes([(0x80 if masked else 0) | (declared if width == 0 else {2: 126, 8: 127}[width])])
    head += declared.to_bytes(width) if width else b""
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def unmasked(data):
    """Take a client's frames apart: the first byte and the payload of each, and what is left."""
    frames = []
    while len(data) >= 2:
        size = data[1] & 0x7F
        assert data[1] & 0x80
        assert size < 126, "a client answers with nothing long"
        frames.append((data[0], bytes(byte ^ data[2 + at % 4] for at, byte in enumerate(data[6 : 6 + size]))))
        data = data[6 + size :]
    return frames, data


@dataclass(frozen=True)
class Side:
    """One of the two ends that the splitter listens to."""

    dialled: type
    masked: bool
    full: int

    def frame(self, *args, **kwargs):
        """Make a frame as this end sends it, unless it is told to be wrong."""
        return frame(*args, **{"masked": self.masked} | kwargs)

    async def outcome_of(self, pieces, *, fast_frames):
        """Feed the pieces to a connection; return what came of it."""
        dialled = self.dialled(fast_frames=fast_frames)
        await dialled.open()
        taken = []
        for piece in pieces:
            dialled.feed(piece)
            taken += dialled.taken()
        messages, written, farewell = dialled.outcome()
        return taken + messages, written if self.masked else unmasked(written), farewell

    def outcomes(self, pieces):
        """Return what comes of it by the fast path, and by the library alone."""

        async def both():
            return await self.outcome_of(pieces, fast_frames=True), await self.outcome_of(pieces, fast_frames=False)

        return asyncio.run(both())

    @property
    def strategies(self):
        """Return strategies for the frames of this end, by name."""
        short = st.one_of(st.just(TEXT), st.binary(max_size=300), st.binary(min_size=120, max_size=130))
        text = st.text(max_size=100).map(str.encode)
        masks = st.binary(min_size=4, max_size=4)
        closes = [b"\x03\xe8bye", b"\x03\xedno", b"\x03\xe8\xff"]
        wrong = st.sampled_from([self.masked, self.masked, self.masked, not self.masked])
        build = self.frame
        return {
            "good": st.builds(build, st.one_of(text, st.just(TEXT)), mask=masks),
            "binary": st.builds(build, short, st.just(2), mask=masks),
            "bytes": st.builds(build, short, mask=masks),  # which may be no UTF-8: a leg's end, and not a caller's
            "long": st.integers(-2, 2).map(lambda over: build(b"x" * (MAX_MESSAGE_BYTES + over))),
            "part": st.builds(build, st.one_of(text, short), st.sampled_from([0, 1, 2]), fin=st.booleans()),
            "control": st.builds(build, st.binary(max_size=125), st.sampled_from([9, 10])),
            "close": st.builds(
                build, st.one_of(st.just(b""), st.binary(max_size=3), st.sampled_from(closes)), st.just(8)
            ),
            "any": st.builds(
                build,
                st.binary(max_size=140),
                st.integers(0, 15),
                fin=st.booleans(),
                rsv=st.sampled_from([0, 0, 0x40, 0x20, 0x10]),
                masked=wrong,
                width=st.sampled_from([None, None, 2, 8]),
            ),
            "lie": st.builds(
                build,
                st.binary(max_size=20),
                size=st.sampled_from([MAX_MESSAGE_BYTES + 1, 2**62, 2**63 + 1]),
            ),
        }

    def stream(self, *names, **bounds):
        """Return a strategy for what comes: frames of these kinds, one behind the other."""
        strategies = self.strategies
        return st.lists(st.one_of(*(strategies[name] for name in names)), **bounds).map(b"".join)


assert LEG_MESSAGE_BYTES == MAX_MESSAGE_BYTES
CALLER = Side(DialledConnection, masked=True, full=FULL_ITEMS)
SERVICE = Side(DialledLeg, masked=False, full=FULL_MESSAGES)
both_sides = pytest.mark.parametrize("side", [CALLER, SERVICE], ids=["caller", "service"])
ALL = ("good", "good", "binary", "bytes", "part", "control", "close", "any", "lie", "long")


def cut(data, cuts):
    """Cut bytes at these places."""
    edges = sorted({at % (len(data) + 1) for at in cuts} | {0, len(data)})
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


@both_sides
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_both_paths_take_and_answer_the_same(side, data):
    """Same bytes, cut anywhere: same messages in the same order, same replies, same end."""
    stream = data.draw(side.stream(*ALL, max_size=12)) + data.draw(st.binary(max_size=12))
    cuts = data.draw(st.lists(st.integers(0, 1 << 20), max_size=12))
    fast, slow = side.outcomes(cut(stream, cuts))
    assert fast == slow


@both_sides
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_bytes_one_at_a_time(side, data):
    """The shortest cut there is, over anything."""
    stream = data.draw(side.stream("good", "binary", "part", "control", "any", min_size=1, max_size=6))
    fast, slow = side.outcomes([stream[at : at + 1] for at in range(len(stream))])
    assert fast == slow


@both_sides
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise(side, data):
    """What is no frame at all ends a connection as the library ends it."""
    fast, slow = side.outcomes([data])
    assert fast == slow


@both_sides
def test_the_two_paths_are_two(side):
    """The comparison compares something: a whole message never reaches the library's parser on the fast path."""

    async def parsed(*, fast_frames):
        dialled = side.dialled(fast_frames=fast_frames)
        await dialled.open()
        seen = []
        receive = dialled.connection.protocol.receive_data
        dialled.connection.protocol.receive_data = lambda data: (seen.append(bytes(data)), receive(data))
        whole, binary = side.frame(TEXT), side.frame(b"\xff" * 200, 2)
        for piece in (whole, binary, whole[:50], whole[50:] + side.frame(b"{}") + side.frame(b"?", 9)):
            dialled.feed(piece)
        read = [item if isinstance(item, bytes) else item.encode() for item in dialled.taken()]
        assert read == [TEXT, b"\xff" * 200, TEXT, b"{}"]
        return seen

    assert asyncio.run(parsed(fast_frames=True)) == [side.frame(b"?", 9)]
    assert len(asyncio.run(parsed(fast_frames=False))) == 4


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
def test_messages_in_the_company_of_the_response(fast_frames):
    """A service that speaks at once loses nothing, however its response is cut; nor the kind of a message in fragments."""
    parts = (SERVICE.frame(b"one"), SERVICE.frame(b"tw", 2, fin=False), SERVICE.frame(b"o", 0), SERVICE.frame(b"three"))

    async def talk(seed):
        dialled = DialledLeg(fast_frames=fast_frames)
        generator = random.Random(seed)
        stream = b"".join(parts)
        await dialled.open(stream[:-5], tuple(generator.randrange(1 << 20) for _ in range(seed % 5)))
        dialled.feed(stream[-5:])
        return dialled.taken()

    for seed in range(60):
        assert asyncio.run(talk(seed)) == ["one", b"two", "three"], seed


@both_sides
@pytest.mark.parametrize("fast_frames", [True, False])
def test_it_stops_reading_while_too_much_waits(side, fast_frames):
    """What came in the same read waits; nothing is lost or overtaken, and reading goes on when all has been taken."""

    async def talk():
        dialled = side.dialled(fast_frames=fast_frames)
        await dialled.open()
        sent = [b"%d" % number for number in range(3 * side.full)]
        dialled.feed(b"".join(side.frame(text, 2) for text in sent))
        assert not dialled.transport.is_reading
        taken = dialled.taken()
        assert dialled.transport.is_reading
        assert taken == sent

    asyncio.run(talk())


@both_sides
@pytest.mark.parametrize("opcode", [0, 9])
def test_a_fragment_that_makes_its_message_too_long_is_refused_at_once(side, opcode):
    """By its header, as the library does, which counts what comes between fragments too; the rest never comes."""
    first = side.frame(b"x" * (MAX_MESSAGE_BYTES - 99), 1, fin=False)
    second = side.frame(b"", opcode, size=100)
    fast, slow = side.outcomes([first + second])
    assert fast == slow
    said = fast[1] if side.masked else fast[1][0][0][1]
    assert CloseCode.MESSAGE_TOO_BIG.to_bytes(2) in said
    (_, nothing, _), _ = side.outcomes([first + side.frame(b"", opcode, size=99)])
    assert nothing == (b"" if side.masked else ([], b""))


def test_a_silent_frame_is_bounded():
    """A message that never ends holds less than its limit: what declares more is the library's at once, and refused."""

    async def talk(side):
        dialled = side.dialled(fast_frames=True)
        await dialled.open()
        dialled.feed(side.frame(b"x" * 1000, size=MAX_MESSAGE_BYTES))
        assert not dialled.transport.has_ended
        other = side.dialled(fast_frames=True)
        await other.open()
        other.feed(side.frame(size=MAX_MESSAGE_BYTES + 1))
        return other.outcome()[2]

    why = "frame with 65537 bytes exceeds limit of 65536 bytes"
    assert asyncio.run(talk(CALLER)) == PeerLost(None, why, broke_protocol=True)
    assert asyncio.run(talk(SERVICE)) == Closed(1009, why)


def test_what_a_leg_ignores_is_not_kept():
    """From its close on: what still comes does not pile up, reading goes on, and the service's own close is seen."""

    async def talk():
        dialled = DialledLeg(fast_frames=True)
        await dialled.open()
        dialled.feed(SERVICE.frame(b"x") * 3 * FULL_MESSAGES)
        assert not dialled.transport.is_reading
        dialled.connection.ignore()
        assert dialled.transport.is_reading
        dialled.feed(SERVICE.frame(b"y") * 3 + SERVICE.frame(b"\x03\xe8bye", 8))
        assert dialled.transport.is_reading
        return dialled.outcome()

    messages, written, farewell = asyncio.run(talk())
    assert messages == []
    assert unmasked(written) == ([(0x88, b"\x03\xe8bye")], b"")
    assert farewell == Closed(1000, "bye")


def test_long_messages_wait_by_their_bytes(monkeypatch):
    """A service is not read any more when a few of them wait, and is again when they have been taken."""
    monkeypatch.setattr(module, "FULL_BYTES", 3 * MAX_MESSAGE_BYTES)

    async def talk():
        dialled = DialledLeg(fast_frames=True)
        await dialled.open()
        piece = SERVICE.frame(b"x" * MAX_MESSAGE_BYTES)
        for _ in range(2):
            dialled.feed(piece)
            assert dialled.transport.is_reading
        dialled.feed(piece * 2)
        assert not dialled.transport.is_reading
        for _ in range(4):
            assert len(await dialled.connection.next_message()) == MAX_MESSAGE_BYTES
        assert dialled.transport.is_reading

    asyncio.run(talk())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_what_we_write_is_what_the_library_would(size):
    """Each width of the length, at its edges; a client's with a key of its own in each."""
    text = b"a" * size
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)
    for first, opcode in ((WHOLE_TEXT, Opcode.TEXT), (WHOLE_BINARY, Opcode.BINARY)):
        ours, plain = masked_frame(first, text), Frame(opcode, text).serialize(mask=False)
        head, body = plain[: len(plain) - size], ours[len(plain) - size :]
        assert ours[: len(head)] == bytes([head[0], head[1] | 0x80]) + head[2:]
        assert apply_mask(body[4:], body[:4]) == text
    assert len({masked_frame(WHOLE_TEXT, text)[-size - 4 :][:4] for _ in range(20)}) == 20


def test_masking_is_done_in_c():
    """The library falls back to its Python without a word, which takes twenty times as long."""
    assert isinstance(apply_mask, BuiltinFunctionType)
