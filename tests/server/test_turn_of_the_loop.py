"""A connection and its call: what was read is taken, and answered, before the loop does anything else."""

import asyncio
import base64
import json

import pytest

from calls.support import speech
from server.dialled_connection import DialledConnection
from smartflo_bridge.calls.actor import PORTION, run_call
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.calls.setup import CallSetup
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.handlers.echo import Echo, echo
from smartflo_bridge.server.connection import WebSocketPeer
from smartflo_bridge.wire.frames import WHOLE_TEXT, masked_frame
from virtual_clock import clock_ns, virtual

SID = "MZ0a1"
FRAMES = [speech(0.02, number) for number in range(2 * PORTION)]


def event(name, **members):
    """Return the frame of an event of the platform."""
    return masked_frame(WHOLE_TEXT, json.dumps({"event": name, "streamSid": SID, **members}).encode())


def media(*frames):
    """Return the frames of media events, as they come in one read."""
    return b"".join(event("media", media={"payload": base64.b64encode(ulaw).decode()}) for ulaw in frames)


class EchoCall:
    """A call to the echo, which attends to it: two frames have been answered."""

    def __init__(self, handler=echo):
        self.dialled = DialledConnection(fast_frames=True)
        self.handler = handler
        self.task = None

    async def begin(self):
        """Shake hands, and say the first words."""
        await self.dialled.shake_hands()
        settings = SessionSettings(lead_seconds=1.0)
        setup = CallSetup(
            settings=settings, handler=self.handler, home=HandlerLoop.main(), registry=Registry(1), clock_ns=clock_ns
        )
        self.task = asyncio.create_task(run_call(WebSocketPeer(self.dialled.connection), setup))
        await asyncio.sleep(0)
        self.dialled.feed(event("connected") + event("start", start={"callSid": "1", "mediaFormat": {}}))
        for seed in ("first", "second"):
            self.dialled.feed(media(speech(0.02, seed)))
            await asyncio.sleep(0.001)
            assert self.answered(speech(0.02, seed))
        self.dialled.transport.written.clear()
        self.dialled.transport.writes = 0

    def answered(self, *frames):
        """Return how many of these frames have been written to the platform."""
        return sum(base64.b64encode(ulaw) in self.dialled.transport.written for ulaw in frames)

    async def end(self):
        """Lose the connection, and return the session."""
        self.dialled.lose()
        return await self.task


@virtual
async def test_what_was_read_is_answered_before_anything_else_happens():
    """Three frames of one read: heard, handled, and sent back with one write, while the transport still hands them over."""
    call = EchoCall()
    await call.begin()
    call.dialled.feed(media(*FRAMES[:3]))
    assert call.answered(*FRAMES) == 3
    assert call.dialled.transport.writes == 1
    session = await call.end()
    assert session.ledger.balanced
    assert session.ledger.received_bytes == 5 * 160


@virtual
async def test_no_call_keeps_the_loop_for_long():
    """Of much that came in one read, a portion is taken at once, and the next in another turn; none of it is lost."""
    call = EchoCall()
    await call.begin()
    call.dialled.feed(media(*FRAMES))
    assert call.answered(*FRAMES) == 0  # eight were heard: what the echo says to them waits behind the others
    turns = 0
    while call.answered(*FRAMES) < len(FRAMES):
        turns += 1
        assert turns < 10
        await asyncio.sleep(0)
    assert turns >= 2
    session = await call.end()
    assert session.ledger.balanced
    assert session.ledger.received_bytes == (2 + len(FRAMES)) * 160


@virtual
async def test_a_mistake_of_ours_is_told_to_the_loop_and_ends_the_call():
    """It is raised where the bytes came in, which cuts that connection; and the call is accounted for."""

    async def mistaken(call):
        playback = Echo(call)

        def take(event):
            if event.media.payload == FRAMES[0]:
                raise KeyError
            return playback.take(event)

        await call.attend(playback.take)
        async for event in call:
            await playback.play(event)
            await call.attend(take)

    call = EchoCall(mistaken)
    await call.begin()
    with pytest.raises(KeyError):
        call.dialled.feed(media(FRAMES[0]))
    with pytest.raises(RuntimeError, match="the actor has failed"):
        await call.end()
