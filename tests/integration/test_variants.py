"""The variants of the platform's messages, and clients of the old order: each completes a call.

A call is complete when the handler knew who called, the caller heard all, the mark was played, the key and every byte of
the caller's voice arrived, and the connection was closed with 1000.
"""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websocket  # the package websocket-client: it shares no code with the library under test
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from integration.daemon import Daemon, bridge, on_uvloop, until, url_of
from integration.handlers.answers import speech
from integration.wire import Json, dialled, plan
from smartflo_bridge import Call, DTMFEvent, MarkResult, MediaEvent
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import HangUp

SAID = speech("bridge", 0.2)
VOICE = speech("caller", 1.0)
CALLER, CALLED = "919812345601", "918012345699"
FORMAT: Json = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8}
CONNECTED: Json = {"event": "connected"}
AUTO_SECONDS = 0.5  # protocol.md, section 2
HEARD_SECONDS = 0.2  # of what was said


class Seen:
    """What the handler saw of one call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.digits = ""
        self.voice = b""
        self.mark: MarkResult | None = None
        self.is_over = asyncio.Event()

    async def handle(self, call: Call) -> None:
        """Speak, and listen to the end of the call."""
        self.calls.append(call)
        await call.play(SAID, encoding="ulaw")
        mark = call.mark("said")
        async for event in call:
            if isinstance(event, DTMFEvent):
                self.digits += event.digit
            elif isinstance(event, MediaEvent):
                self.voice += event.ulaw
        self.mark = (await mark).result


class Dialect:
    """How one platform writes its messages; the defaults are those of the document.

    Args:
        before: messages before `start`.
        sid: where `start` has the stream's id: `both`, `outside` or `inside`.
        later_sid: whether later messages have it.
        counter: what a counter of that value looks like, or None where there are none.
        members: added to each event, by its name; those of `start` replace others.
        inside: added to the inner object of each event, by its name; None removes a member.
        sizes: of the chunks of audio, over and over.
        binary: text in binary messages.
        dump: makes text of a message.
    """

    def __init__(
        self,
        *,
        before: tuple[Json, ...] = (CONNECTED,),
        sid: str = "both",
        later_sid: bool = True,
        counter: Callable[[int], Any] | None = str,
        members: dict[str, Json] | None = None,
        inside: dict[str, Json] | None = None,
        sizes: tuple[int, ...] = (800,),
        binary: bool = False,
        dump: Callable[[Json], str] = json.dumps,
        after_start: tuple[Json, ...] = (),
    ) -> None:
        self.before = before
        self.after_start = after_start
        self.sizes = sizes
        self._sid = sid
        self._later_sid = later_sid
        self._counter = counter
        self._members = members or {}
        self._inside = inside or {}
        self._binary = binary
        self._dump = dump
        self._sequence = itertools.count(1)

    def write(self, message: Json) -> str | bytes:
        """Return a message as it goes onto the wire."""
        text = self._dump(message)
        return text.encode() if self._binary else text

    def start(self) -> Json:
        """Return the first message of the stream."""
        details = {"streamSid": "MZ1", "accountSid": "AC1", "callSid": "1715252026.405915", "from": CALLER}
        details |= {"to": CALLED, "direction": "inbound", "mediaFormat": FORMAT, "customParameters": {}}
        if self._sid == "outside":
            del details["streamSid"]
        return self._event("start", details, has_sid=self._sid != "inside")

    def media(self, ulaw: bytes, number: int, timestamp_ms: int) -> Json:
        """Return a chunk of audio."""
        details: Json = {"payload": base64.b64encode(ulaw).decode()}
        if self._counter is not None:
            details |= {"chunk": self._counter(number), "timestamp": self._counter(timestamp_ms)}
        return self._event("media", details)

    def event(self, name: str, details: Json) -> Json:
        """Return another message of the stream."""
        return self._event(name, details)

    def _event(self, name: str, details: Json, *, has_sid: bool | None = None) -> Json:
        message: Json = {"event": name}
        if self._counter is not None:
            message["sequenceNumber"] = self._counter(next(self._sequence))
        if self._later_sid if has_sid is None else has_sid:
            message["streamSid"] = "MZ1"
        details |= self._inside.get(name, {})
        inner = {key: value for key, value in details.items() if value is not None}
        return message | {name: inner} | self._members.get(name, {})


async def complete(dialect: Dialect, **keys: object) -> Seen:
    """Have one call with a bridge in this process, as a platform of this dialect; return what the handler saw."""
    seen = Seen()
    async with bridge(seen.handle, **keys) as service:
        async with dialled(url_of(service)) as platform:
            heard = await _call(platform.connection, dialect)
        await until(lambda: service.registry.connections == 0)
        await until(lambda: seen.mark is not None)
    (call,) = seen.calls
    assert heard == SAID
    assert seen.voice == VOICE
    assert (seen.digits, seen.mark) == ("4", MarkResult.PLAYED)
    assert call.counters.balanced
    assert call.counters.inbound_drops.total() == 0
    assert (call.from_number, call.to_number, call.call_sid) == (CALLER, CALLED, "1715252026.405915")
    return seen


async def _call(connection: ClientConnection, dialect: Dialect) -> bytes:
    """Say everything, take everything to the close with 1000, and return the audio."""
    for message in (*dialect.before, dialect.start(), *dialect.after_start):
        await connection.send(dialect.write(message))
    at = number = 0
    sizes = itertools.cycle(dialect.sizes)
    while at < len(VOICE):
        chunk = VOICE[at : at + next(sizes)]
        at, number = at + len(chunk), number + 1
        await connection.send(dialect.write(dialect.media(chunk, number, at // 8)))
    heard = b""
    while (message := await _next(connection)) is not None:
        assert message["streamSid"] == "MZ1"
        if message["event"] == "media":
            heard += base64.b64decode(message["media"]["payload"], validate=True)
        elif message["event"] == "mark":
            await asyncio.sleep(HEARD_SECONDS)  # now it has been heard
            await connection.send(dialect.write(dialect.event("mark", message["mark"])))
            await connection.send(dialect.write(dialect.event("dtmf", {"digit": "4"})))
            await connection.send(dialect.write(dialect.event("stop", {"reason": "hung up"})))
    assert connection.close_code == 1000
    return heard


async def _next(connection: ClientConnection) -> Json | None:
    """Return the bridge's next message; None once it has closed."""
    try:
        message: Json = json.loads(await connection.recv())
    except ConnectionClosed:
        return None
    return message


TOP_LEVEL = {"from": CALLER, "to": CALLED}
TWILIO = {
    "members": {"start": {"version": "1.0"}, "media": {"x": [1, {"y": None}]}, "stop": {"extra": {}}},
    "inside": {"start": {"tracks": ["inbound"]}, "media": {"track": "inbound"}, "mark": {"more": 1}},
}
DIALECTS: dict[str, Callable[[], Dialect]] = {
    "as documented": Dialect,
    "counters are numbers": lambda: Dialect(counter=int),
    "counters are missing": lambda: Dialect(counter=None),
    "counters jump and go back": lambda: Dialect(counter=lambda value: 7 * value % 5),
    "the format's numbers are strings": lambda: Dialect(
        inside={"start": {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": "8000", "bitRate": "64"}}}
    ),
    "no format": lambda: Dialect(inside={"start": {"mediaFormat": None}}),
    "streamSid only outside start": lambda: Dialect(sid="outside"),
    "streamSid only inside start": lambda: Dialect(sid="inside"),
    "streamSid in start only": lambda: Dialect(later_sid=False),
    "numbers outside start": lambda: Dialect(
        inside={"start": {"from": None, "to": None}}, members={"start": TOP_LEVEL}
    ),
    "no direction": lambda: Dialect(inside={"start": {"direction": None}}),
    "outbound": lambda: Dialect(inside={"start": {"direction": "outbound"}}),
    "no connected": lambda: Dialect(before=()),
    "several connected": lambda: Dialect(before=(CONNECTED,) * 3, after_start=(CONNECTED,)),
    "Twilio's connected": lambda: Dialect(before=({"event": "connected", "protocol": "Call", "version": "1.0.0"},)),
    "Twilio's other members": lambda: Dialect(**TWILIO),
    "a mark before start": lambda: Dialect(
        before=(CONNECTED, {"event": "mark", "streamSid": "MZ1", "mark": {"name": "said"}})
    ),
    "start twice": lambda: Dialect(after_start=(Dialect().start(),)),
    "start of another stream": lambda: Dialect(after_start=(Dialect().start() | {"streamSid": "MZ2"},)),
    "unknown events": lambda: Dialect(before=({"event": "hello"}, CONNECTED), after_start=({"event": "hold"},) * 9),
    "binary messages": lambda: Dialect(binary=True),
    "20 ms": lambda: Dialect(sizes=(160,)),
    "odd chunks": lambda: Dialect(sizes=(1, 333, 801, 159, 7, 1600)),
    "empty chunks": lambda: Dialect(sizes=(800, 0)),
    "half a second": lambda: Dialect(sizes=(4000,)),
    "spaces and the event last": lambda: Dialect(
        dump=lambda message: json.dumps(dict(reversed(message.items())), indent=3)
    ),
    "all characters escaped": lambda: Dialect(dump=lambda message: json.dumps(message).replace("start", "\\u0073tart")),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_completes_a_call(name: str) -> None:
    """Whatever protocol.md has seen or tolerates, the call is complete."""
    (call,) = on_uvloop(complete(DIALECTS[name](), inbound_seconds=5)).calls
    assert call.direction == {"no direction": None, "outbound": "outbound"}.get(name, "inbound")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"queue": "sales", "n": 7, "vip": True}, {"queue": "sales", "n": "7", "vip": "true"}),
        ('{"queue": "sales"}', {"queue": "sales"}),
        (
            {"custom_identifier": '{"queue": "sales"}'},
            {"custom_identifier": '{"queue": "sales"}', "queue": "sales"},
        ),
        ({"one": "queue:sales"}, {"one": "queue:sales", "queue": "sales"}),
        ("plain", {"custom_identifier": "plain"}),
        (["odd"], {}),
        (None, {}),
    ],
    ids=["object", "JSON", "JSON in an object", "key:value", "plain text", "a list", "absent"],
)
def test_every_form_of_custom_parameters_reaches_the_handler(given: object, expected: dict[str, str]) -> None:
    """The handler sees one flat dict of strings."""
    dialect = Dialect(inside={"start": {"customParameters": given}})
    (call,) = on_uvloop(complete(dialect)).calls
    assert call.custom_parameters == expected


def test_custom_parameters_may_be_null() -> None:
    """A member that is there and null is as good as one that is not."""
    details = Dialect().start()["start"] | {"customParameters": None}
    (call,) = on_uvloop(complete(Dialect(members={"start": {"start": details}}))).calls
    assert call.custom_parameters == {}


# --- The old order: a client that says nothing until we have said `connected`


@pytest.fixture(params=["auto", "always"])
def willing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that says `connected`."""
    with Daemon(tmp_path, handler="answers:answer", send_connected=request.param) as running:
        yield running


def test_an_old_client_completes_a_call(willing: Daemon) -> None:
    """It waits for `connected`, starts, hears all, presses a key and stops: one `connected` only, and close 1000."""
    began_at = time.monotonic()
    # Left alone, this package says where it "comes from" as a browser does, and browsers are refused.
    client = websocket.create_connection(willing.url, timeout=10, suppress_origin=True)
    try:
        assert json.loads(client.recv()) == CONNECTED
        waited = time.monotonic() - began_at
        parameters = {"role": "speak", "seed": "old", "seconds": "1"}
        start = {"streamSid": "old-1", "callSid": "c9", "customParameters": parameters}
        client.send(json.dumps({"event": "start", "sequenceNumber": 1, "streamSid": "old-1", "start": start}))
        heard = b""
        while (message := json.loads(client.recv()))["event"] == "media":
            heard += base64.b64decode(message["media"]["payload"], validate=True)
        assert heard == speech("old", 1)
        assert message["event"] == "mark"
        client.send(json.dumps({"event": "mark", "streamSid": "old-1", "mark": message["mark"]}))
        client.send(json.dumps({"event": "dtmf", "streamSid": "old-1", "dtmf": {"digit": "5"}}))
        client.send(json.dumps({"event": "stop", "streamSid": "old-1", "stop": {}}))
        opcode, frame = client.recv_data(control_frame=True)
        assert (opcode, frame[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1000).to_bytes(2, "big"))
    finally:
        client.shutdown()
    end = willing.end_of("old-1")
    assert (end["termination"], end["marks"]) == ("completed", "played:1")
    assert (waited >= AUTO_SECONDS) == (willing.keys["send_connected"] == "auto")
    assert waited < AUTO_SECONDS + 1


def test_the_simulators_old_client_completes_a_call(willing: Daemon) -> None:
    """The same with the simulator's client, which then says `connected` as well."""
    old = msgspec.structs.replace(plan(HangUp(1.5), role="speak", seed="old", seconds="1"), wait_for_connected=True)
    report = asyncio.run(place_call(willing.url, old))
    assert report.counts.connected == 1
    assert report.heard.strip(b"\xff") == speech("old", 1)
    assert report.ended_well


def test_never_says_no_connected(tmp_path: Path) -> None:
    """Under `never` a silent peer hears nothing, also long after `auto` would have spoken; a call completes."""

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * AUTO_SECONDS):
                    await platform.next()
            await platform.start(role="speak", seed="x", seconds="0.2")
            assert await platform.audio(1600) == speech("x", 0.2)
            await platform.stop()
            assert await platform.closed() == (1000, "")
            assert "connected" not in [message["event"] for message in platform.heard]

    with Daemon(tmp_path, handler="answers:answer", send_connected="never") as daemon:
        asyncio.run(main(daemon))


def test_the_documented_platform_never_sees_connected(tmp_path: Path) -> None:
    """Under `auto` we say it only to a peer that says nothing."""
    with Daemon(tmp_path, handler="answers:answer") as daemon:
        report = asyncio.run(place_call(daemon.url, plan(HangUp(1.0), role="speak", seed="x", seconds="0.2")))
    assert report.counts.connected == 0
    assert report.heard.strip(b"\xff") == speech("x", 0.2)
