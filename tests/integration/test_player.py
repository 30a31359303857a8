"""Playing a captured caller to live servers: over real connections, to small servers that are written here.

The servers share no code with ours: plain dicts, json and base64.
"""

import asyncio
import base64
import json
import time

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from captures.support import QUIET, Captured, media_message
from core.support import SID, message
from smartflo_bridge.captures import player
from smartflo_bridge.captures.player import play_to
from smartflo_bridge.captures.script import script_of
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.simulator.dialling import CallFailed

BOUND_SECONDS = 15.0
LATE_SECONDS = 0.5  # what a busy machine may add
FRAME = b"\x10" * 160


def a_capture(pieces: int = 5, *more) -> Captured:
    """Return a call in which the platform sends so many pieces of 100 ms, a mark's echo, and what else there is."""
    call = Captured()
    call.say(message("connected"))
    call.start()
    for number in range(pieces):
        call.run(0.1)
        call.say(media_message(QUIET, number + 2))
        if number == 1:
            call.say(message("mark", sequenceNumber="4", streamSid=SID, mark={"name": "old"}))
    for thing in more:
        if isinstance(thing, bytes):
            call.say(thing)
        else:
            call.give(thing)
    call.end()
    return call


STOP = message("stop", streamSid=SID)


class Server:
    """What a small server heard, and what it says."""

    def __init__(self, connection):
        self.connection = connection
        self.heard = []
        self.times = []
        self.closed = None
        self._began = time.monotonic()

    async def next(self):
        """Return the platform's next message, decoded."""
        text = await self.connection.recv()
        self.heard.append(json.loads(text))
        self.times.append(time.monotonic() - self._began)
        return self.heard[-1]

    async def until(self, event):
        """Read up to a message of one kind."""
        while (heard := await self.next())["event"] != event:
            pass
        return heard

    async def say(self, event, **members):
        """Send one message."""
        await self.connection.send(json.dumps({"event": event, "streamSid": SID, **members}))

    async def play(self, frames, chunk=1):
        """Send audio."""
        await self.say("media", media={"payload": base64.b64encode(FRAME * frames).decode(), "chunk": chunk})


async def played_to(behaviour, capture, speed=1.0):
    """Play a capture's caller to a server that behaves so; return what was played, and the server."""
    served = []
    is_over = asyncio.Event()

    async def answer(connection):
        server = Server(connection)
        served.append(server)
        try:
            await behaviour(server)
        except ConnectionClosed as closed:
            server.closed = closed
        await connection.close()
        is_over.set()

    async with asyncio.timeout(BOUND_SECONDS), serve(answer, "127.0.0.1", 0) as listener:
        url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/token"
        played = await play_to(url, script_of(capture.records, keeps_ids=True), speed)
        await is_over.wait()
    return played, served[0]


async def listen(server):
    """Say nothing, and close after the stop."""
    await server.until("stop")


def play(behaviour, capture, speed=1.0):
    """Do it."""
    return asyncio.run(played_to(behaviour, capture, speed))


def test_all_is_said_at_its_time():
    """In the order and at the times of the capture, but for the echo of a mark that this server never sent."""
    capture = a_capture(5, STOP)
    played, server = play(listen, capture)
    events = [heard["event"] for heard in server.heard]
    assert events == ["connected", "start", *["media"] * 5, "stop"]
    # The echo that is left out had number 4, as had the piece behind it: the capture's own numbers, less one.
    assert [heard.get("sequenceNumber") for heard in server.heard[2:7]] == ["2", "3", "3", "4", "5"]
    for number, at in enumerate(server.times[2:7], 1):
        assert number / 10 - 0.05 < at < number / 10 + LATE_SECONDS
    assert [record.dir for record in played.records] == ["in"] * 8
    assert played.close_code == 1000


@pytest.mark.parametrize(("speed", "least", "most"), [(4.0, 0.35, 1.0), (float("inf"), 0.0, 0.5)])
def test_a_hurried_caller(speed, least, most):
    """1.5 s of call at four times the speed, or as fast as it goes."""
    played, server = play(listen, a_capture(15, STOP), speed)
    assert least < server.times[-1] < most
    assert len(server.heard) == 18
    assert (played.worst_lateness_seconds == 0) == (speed == float("inf"))


def test_marks_are_echoed_when_their_audio_was_played():
    """By the clock of what this server sends; a mark behind nothing at once; numbered within the caller's messages."""

    async def speak(server):
        await server.until("start")
        await server.say("mark", mark={"name": "now"})
        await server.play(20)
        await server.say("mark", mark={"name": "later"})
        await server.until("stop")

    played, server = play(speak, a_capture(6, STOP))
    marks = {heard["mark"]["name"]: at for heard, at in zip(server.heard, server.times, strict=True) if "mark" in heard}
    assert set(marks) == {"now", "later"}
    start_at = server.times[1]
    assert marks["now"] - start_at < LATE_SECONDS
    assert 0.35 < marks["later"] - start_at < 0.4 + LATE_SECONDS
    assert {heard["streamSid"] for heard in server.heard if "mark" in heard} == {SID}
    sent = [json.loads(record.wire) for record in played.records if record.dir == "in"]
    assert sent == server.heard


def test_a_cleared_mark_is_echoed_at_once():
    """As the platform does."""

    async def clear(server):
        await server.until("start")
        await server.play(500)
        await server.say("mark", mark={"name": "far"})
        await server.say("clear")
        assert (await server.until("mark"))["mark"]["name"] == "far"
        assert len(server.heard) < 6
        await server.until("stop")

    play(clear, a_capture(5, STOP))


def test_a_server_that_closes_ends_it():
    """Nothing more is sent, and its code is told."""

    async def leave(server):
        await server.until("start")
        await server.connection.close(1011, "out of order")

    began = time.monotonic()
    played, _ = play(leave, a_capture(50, STOP))
    assert played.close_code == 1011
    assert time.monotonic() - began < 3
    assert len([record for record in played.records if record.dir == "in"]) < 20


def test_a_server_that_asks_for_the_end_gets_a_stop():
    """As the platform answers `end`; what the caller would have said is not said any more."""

    async def end(server):
        await server.until("start")
        await server.say("end", call_sid="c1")
        await server.until("stop")

    played, server = play(end, a_capture(50))
    assert len(server.heard) < 20
    assert server.heard[-1]["streamSid"] == SID
    assert played.close_code == 1000


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (None, None)])
def test_a_caller_who_closed_closes_again(code, seen):
    """With a close frame, or without a word, as it was; in its time, without waiting for the server."""

    async def read_on(server):
        while True:
            await server.next()

    began = time.monotonic()
    played, server = play(read_on, a_capture(5, PeerLost(code)))
    assert (server.closed.rcvd.code if server.closed.rcvd else None) == seen
    assert 0.45 < time.monotonic() - began < 3
    assert played.close_code is None, "the server did not close"


def test_a_server_that_does_not_close_is_left(monkeypatch):
    """After its time; it is closed upon, and has no code."""
    monkeypatch.setattr(player, "CLOSE_WAIT_SECONDS", 0.3)

    async def stay(server):
        await server.until("stop")
        await server.next()

    played, server = play(stay, a_capture(1, STOP))
    assert played.close_code is None
    assert server.closed.rcvd.code == 1000


def test_odd_messages_both_ways():
    """What is no JSON is played as it was, and what comes back so is kept as it is; a binary message too."""

    async def talk_rubbish(server):
        assert await server.connection.recv() == '{"event": "connected"}'
        await server.connection.send("rubbish")
        await server.connection.send(b"\xff")
        while await server.connection.recv() != "no JSON":
            pass

    played, _ = play(talk_rubbish, a_capture(1, b"no JSON"))
    assert [record.wire for record in played.records if record.dir == "out"] == [b"rubbish", b"\xff"]


def test_a_server_that_is_not_there():
    """One sentence, without the token."""
    script = script_of(a_capture().records, keeps_ids=True)
    with pytest.raises(CallFailed, match="connection refused") as error:
        asyncio.run(play_to("ws://127.0.0.1:1/s3cret", script, 1.0))
    assert "s3cret" not in str(error.value)
