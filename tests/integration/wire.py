"""The platform's side by hand, for what the simulator does not do: odd messages, odd orders, odd ends.

It shares no code with the bridge: plain dicts, json and base64. `neighbours` are two ordinary calls beside a test's own:
whatever happens to that one, they must hear every byte of their speech, in real time.
"""

import asyncio
import base64
import json
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from integration.daemon import WAIT_SECONDS, Daemon
from integration.handlers.answers import speech
from integration.machine import GapsError
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import Action, CallPlan, HangUp
from smartflo_bridge.simulator.progress import FirstAudio, Progress
from smartflo_bridge.simulator.report import CallReport

FOR_EVER = HangUp(3600.0)

AFTERWARDS_SECONDS = 0.3  # more than the lead: so long neighbours listen on when a test's own call is over

Json = dict[str, Any]


class Platform:
    """One connection, as the platform opens it, and what it says on it.

    Attributes:
        connection: the library's.
        sid: of its stream.
        heard: the bridge's messages, as far as they have been read.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.sid = f"MZ{secrets.token_hex(8)}"
        self.heard: list[Json] = []
        self._sequence = 0

    async def say(self, event: str, **members: object) -> None:
        """Send one event of the stream, numbered."""
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.sid}
        await self.connection.send(json.dumps(head | members))

    async def start(self, **parameters: str) -> None:
        """Say `connected` and `start`, with these custom parameters."""
        await self.connection.send('{"event":"connected"}')
        await self.say("start", start={"streamSid": self.sid, "callSid": "c1", "customParameters": parameters})

    async def speak(self, ulaw: bytes = b"\xff" * 800) -> None:
        """Send audio."""
        await self.say("media", media={"payload": base64.b64encode(ulaw).decode()})

    async def press(self, digit: str) -> None:
        """Press a key."""
        await self.say("dtmf", dtmf={"digit": digit})

    async def stop(self) -> None:
        """End the stream, politely."""
        await self.say("stop", stop={"callSid": "c1", "reason": "caller ended the call"})

    async def next(self) -> Json:
        """Return the bridge's next message."""
        message = await self.connection.recv()
        assert isinstance(message, str), "the bridge sends text only"
        self.heard.append(json.loads(message))
        return self.heard[-1]

    async def until(self, event: str) -> Json:
        """Read up to the bridge's next message of a kind."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (message := await self.next())["event"] != event:
                pass
        return message

    async def audio(self, byte_count: int) -> bytes:
        """Read until so much audio has come; return it."""
        ulaw = b""
        while len(ulaw) < byte_count:
            ulaw += base64.b64decode((await self.until("media"))["media"]["payload"], validate=True)
        return ulaw

    async def closed(self, seconds: float = WAIT_SECONDS) -> tuple[int, str]:
        """Read until the bridge has closed; return its code and reason, 1006 if it said none."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.next()
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    def reset(self) -> None:
        """Let the TCP connection end with a RST."""
        reset(self.connection)

    def half_close(self) -> None:
        """Let our direction of the TCP connection end with a FIN; the other stays open."""
        self.connection.transport.write_eof()


def reset(connection: Connection) -> None:
    """Let the TCP connection under a WebSocket end with a RST."""
    sock = connection.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


@asynccontextmanager
async def dialled(url: str, **options: Any) -> AsyncIterator[Platform]:
    """Open a connection as the platform does, with these options of the library; leave nothing of it behind."""
    connection = await connect(url, compression=None, proxy=None, ping_interval=None, close_timeout=2, **options)
    try:
        yield Platform(connection)
    finally:
        if connection.state is not State.CLOSED:  # asyncio's transport fails when it is aborted after it has closed
            connection.transport.abort()
        await connection.wait_closed()


def plan(*actions: Action, linger_seconds: float = 0.2, cadence_ms: int = 100, **parameters: str) -> CallPlan:
    """Plan a call with these actions and custom parameters."""
    return CallPlan(actions=actions, linger_seconds=linger_seconds, cadence_ms=cadence_ms, custom_parameters=parameters)


def sid_of(report: CallReport) -> str:
    """Return the stream of a simulated call."""
    return report.ids.stream_sid


def check_speech(report: CallReport, said: bytes) -> None:
    """Fail unless the caller heard the beginning of `said`, or all of it: every byte, and no gap in it."""
    assert report.faults == {}
    if report.gaps or report.pauses:
        msg = f"{report.gaps} {report.pauses}; the simulator itself was {report.send_lateness_seconds:.3f} s late"
        raise GapsError(msg)
    heard = report.heard.strip(b"\xff")
    assert heard
    assert heard == said[: len(heard)]


@asynccontextmanager
async def neighbours(daemon: Daemon) -> AsyncIterator[None]:
    """Two calls that hear speech all the while, undisturbed."""
    over = asyncio.Event()
    speaking = [asyncio.Event(), asyncio.Event()]
    seeds = [secrets.token_hex(4), secrets.token_hex(4)]

    def listener(number: int) -> Any:
        def listen(progress: Progress) -> None:
            if isinstance(progress, FirstAudio):
                speaking[number].set()

        return listen

    calls = [
        asyncio.ensure_future(place_call(daemon.url, plan(FOR_EVER, role="speak", seed=seed), listener(number), over))
        for number, seed in enumerate(seeds)
    ]
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for one in speaking:
                await one.wait()
        yield
        await asyncio.sleep(AFTERWARDS_SECONDS)
    finally:
        over.set()
        await asyncio.wait(calls)
    for seed, call in zip(seeds, calls, strict=True):
        report = call.result()
        check_speech(report, speech(seed, 60))
        assert report.close_code == 1000
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "completed"
        assert "gaps" not in end
        assert "dropped_in" not in end
