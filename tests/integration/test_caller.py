"""Simulated calls over real connections, against small bridges that are written here.

The bridges share no code with ours: plain dicts, json and base64, so that a mistake in the events shows.
"""

import asyncio
import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.plan import Action, CallPlan, Ending, HangUp, Press, Speak, StopReading
from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    Cleared,
    EndedBy,
    Fault,
    FirstAudio,
    KeyPressed,
    MarkEchoed,
    MarkPlaced,
    Progress,
)
from smartflo_bridge.simulator.report import CallReport

BOUND_SECONDS = 15.0
LATE_SECONDS = 0.8  # what a busy machine may add; below the second that would separate two utterances
FRAME = b"\x10" * 160
VOICE = bytes(range(1, 251)) * 8  # 250 ms

Json = dict[str, Any]


class Bridge:
    """One call as a small bridge sees it: says things by name, and keeps what the platform said."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.heard: list[Json] = []
        self.sid = ""
        self._chunks = 0

    async def next(self) -> Json:
        """Return the platform's next message."""
        message = await self.connection.recv()
        assert isinstance(message, str)
        self.heard.append(json.loads(message))
        return self.heard[-1]

    async def until(self, event: str) -> Json:
        """Read up to the next message of one kind."""
        while (message := await self.next())["event"] != event:
            pass
        return message

    async def start(self) -> None:
        """Take the call."""
        self.sid = (await self.until("start"))["start"]["streamSid"]

    async def say(self, event: str, **members: object) -> None:
        """Send one event."""
        await self.connection.send(json.dumps({"event": event, "streamSid": self.sid, **members}))

    async def play(self, frames: int) -> None:
        """Send so much audio at once, in chunks of 100 ms."""
        for at in range(0, frames, 5):
            self._chunks += 1
            payload = base64.b64encode(FRAME * min(5, frames - at)).decode()
            await self.say("media", media={"payload": payload, "chunk": self._chunks})

    async def mark(self, name: str) -> None:
        """Send a mark."""
        await self.say("mark", mark={"name": name})

    async def read_to_the_end(self) -> None:
        """Read until the connection is closed."""
        while True:
            await self.next()


Behaviour = Callable[[Bridge], Awaitable[None]]


class Served:
    """What one test's bridges left behind: one entry a call."""

    def __init__(self) -> None:
        self.bridges: list[Bridge] = []
        self.ends: list[ConnectionClosed | None] = []


async def call(
    behaviour: Behaviour,
    plan: CallPlan,
    on_progress: Callable[[Progress], None] | None = None,
    hang_up: asyncio.Event | None = None,
) -> tuple[CallReport, Bridge, ConnectionClosed | None]:
    """Place one call to a bridge that behaves so; return both sides' view of it."""
    served = Served()
    served_one = asyncio.Event()

    async def answer(connection: ServerConnection) -> None:
        served.bridges.append(Bridge(connection))
        end = None
        try:
            await behaviour(served.bridges[-1])
        except ConnectionClosed as error:
            end = error
        served.ends.append(end)
        served_one.set()

    async with asyncio.timeout(BOUND_SECONDS), serve(answer, "127.0.0.1", 0, compression=None) as server:
        report = await place_call(_url(server.sockets[0].getsockname()[1]), plan, on_progress, hang_up)
        await served_one.wait()
    return report, served.bridges[0], served.ends[0]


def _url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/vendor-stream?token=s3cret"


def plan(
    *actions: Action, linger_seconds: float = 0.1, wait_seconds: float = 3.0, wait_for_connected: bool = False
) -> CallPlan:
    """Make a plan with the short cadence, so that tests are short."""
    return CallPlan(
        actions=actions,
        cadence_ms=20,
        linger_seconds=linger_seconds,
        wait_seconds=wait_seconds,
        wait_for_connected=wait_for_connected,
    )


async def listen(bridge: Bridge) -> None:
    """Take the call, say nothing, and close after `stop` as one should."""
    await bridge.start()
    await bridge.until("stop")


def test_a_call_sounds_on_the_wire_as_the_protocol_says() -> None:
    """Order, numbering, cadence, the caller's audio and the end, as the bridge receives them."""
    report, bridge, _ = asyncio.run(call(listen, plan(Speak(0.02, VOICE), Press(0.11, "4"))))
    kinds = [one["event"] for one in bridge.heard]
    assert kinds[:2] == ["connected", "start"]
    assert kinds[-1] == "stop"
    assert [one["sequenceNumber"] for one in bridge.heard[1:]] == [str(n) for n in range(1, len(kinds))]
    media = [one["media"] for one in bridge.heard if one["event"] == "media"]
    assert [one["chunk"] for one in media] == [str(n) for n in range(1, len(media) + 1)]
    assert [one["timestamp"] for one in media] == [str(20 * n) for n in range(1, len(media) + 1)]
    spoken = b"".join(base64.b64decode(one["payload"]) for one in media)
    assert spoken.strip(b"\xff") == VOICE
    assert spoken.startswith(b"\xff" * 160 + VOICE[:1])
    assert kinds.index("dtmf") == 2 + 5  # five chunks of 20 ms were complete by 0.11 s
    assert bridge.heard[-1]["stop"]["reason"] == "caller ended the call"
    assert report.spoken.startswith(spoken)
    assert (report.ended_by, report.ending, report.close_code) == (EndedBy.CALLER, Ending.STOP, 1000)
    assert report.ended_well
    assert 0.37 <= report.duration_seconds < 0.37 + LATE_SECONDS
    assert report.closed_after_seconds is not None
    assert report.faults == {}


def test_audio_is_heard_in_real_time_and_its_mark_comes_back_when_it_was() -> None:
    """200 ms sent at once, then a mark: the echo comes 200 ms later, and the bridge then hangs up by closing."""
    waited: list[float] = []

    async def play_and_close(bridge: Bridge) -> None:
        await bridge.start()
        began_at = asyncio.get_running_loop().time()
        await bridge.play(10)
        await bridge.mark("u1")
        assert (await bridge.until("mark"))["mark"] == {"name": "u1"}
        waited.append(asyncio.get_running_loop().time() - began_at)

    report, _, _ = asyncio.run(call(play_and_close, plan(linger_seconds=5.0)))
    assert 0.19 <= waited[0] < 0.2 + LATE_SECONDS
    assert report.heard.strip(b"\xff") == FRAME * 10
    assert len(report.heard) == len(report.spoken) == int(report.duration_seconds * 8000)
    assert report.first_audio_seconds == pytest.approx(0.0, abs=LATE_SECONDS)
    assert (report.ended_by, report.ending, report.close_code) == (EndedBy.BRIDGE, None, 1000)
    assert report.ended_well
    assert (report.counts.marks, report.counts.marks_echoed) == (1, 1)
    assert report.counts.largest_lead_ms == pytest.approx(200, abs=50)


def test_a_key_press_can_interrupt() -> None:
    """Two seconds of audio, cleared at the key: both marks come back at once, and the rest is never heard."""

    async def be_interrupted(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.play(50)
        await bridge.mark("u1")
        await bridge.play(50)
        await bridge.mark("u2")
        await bridge.until("dtmf")
        await bridge.say("clear")
        assert [(await bridge.until("mark"))["mark"]["name"] for _ in range(2)] == ["u1", "u2"]
        await bridge.until("stop")

    report, _, _ = asyncio.run(call(be_interrupted, plan(Press(0.1, "1"), HangUp(0.4))))
    assert 0 < len(report.heard.strip(b"\xff")) < (0.1 + LATE_SECONDS) * 8000
    assert report.counts.dropped_bytes + len(report.heard.strip(b"\xff")) == 16000
    assert (report.counts.clears, report.counts.marks_echoed, report.pending_marks) == (1, 2, ())


def test_what_was_not_heard_when_the_caller_hung_up_never_is() -> None:
    """The mark behind it is never echoed."""

    async def talk_on(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.play(100)
        await bridge.mark("u1")
        await bridge.until("stop")

    report, _, _ = asyncio.run(call(talk_on, plan(HangUp(0.1))))
    assert len(report.heard.strip(b"\xff")) < (0.1 + LATE_SECONDS) * 8000
    assert report.pending_marks == ("u1",)


def test_a_bridge_that_starves_the_line_leaves_a_gap() -> None:
    """It pauses in the middle of an utterance until the fifth chunk of the caller."""

    async def stutter(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.play(1)
        for _ in range(5):
            await bridge.until("media")
        await bridge.play(1)
        await bridge.until("stop")

    report, _, _ = asyncio.run(call(stutter, plan(linger_seconds=0.3)))
    assert len(report.gaps) == 1
    assert 0.01 < report.gaps[0].seconds < 0.08 + LATE_SECONDS


def test_progress_is_told_as_it_happens() -> None:
    """In order, with audio of both sides that adds up to the report's."""
    told: list[Progress] = []

    async def answer(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.play(2)
        await bridge.mark("u1")
        await bridge.until("dtmf")
        await bridge.say("clear")
        await bridge.until("stop")

    report, _, _ = asyncio.run(call(answer, plan(Speak(0.0, VOICE), Press(0.15, "7")), told.append))
    kinds = [type(one) for one in told if not isinstance(one, AudioPassed)]
    assert kinds == [Answered, FirstAudio, MarkPlaced, MarkEchoed, KeyPressed, Cleared, CallOver]
    assert report.history == tuple(one for one in told if not isinstance(one, AudioPassed))
    for side in ("spoken", "heard"):
        whole = b"".join(getattr(one, side) for one in told if isinstance(one, AudioPassed))
        assert whole == getattr(report, side)[: len(whole)]


def test_the_bridge_can_hang_up_by_end() -> None:
    """The platform answers with `stop` and waits for the close."""

    async def end(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.say("end", call_sid="1.2")
        await bridge.until("stop")

    report, bridge, _ = asyncio.run(call(end, plan(linger_seconds=5.0)))
    assert bridge.heard[-1]["stop"]["reason"] == "bridge ended the call"
    assert (report.ended_by, report.close_code) == (EndedBy.BRIDGE, 1000)
    assert report.ended_well


def test_a_call_can_be_ended_from_outside() -> None:
    """Setting the event hangs up politely, long before the plan would."""

    async def main() -> CallReport:
        hang_up = asyncio.Event()

        def at_first_audio(progress: Progress) -> None:
            if isinstance(progress, FirstAudio):
                hang_up.set()

        async def play(bridge: Bridge) -> None:
            await bridge.start()
            await bridge.play(1)
            await bridge.until("stop")

        report, _, _ = await call(play, plan(HangUp(60.0)), at_first_audio, hang_up)
        return report

    report = asyncio.run(main())
    assert (report.ended_by, report.ending) == (EndedBy.CALLER, Ending.STOP)


@pytest.mark.parametrize(
    ("ending", "says_stop", "code_at_bridge"),
    [(Ending.CLOSE, False, 1000), (Ending.DROP, False, None), (Ending.STOP, True, 1000)],
)
def test_the_platform_ends_the_call_in_the_way_that_was_planned(
    ending: Ending, says_stop: bool, code_at_bridge: int | None
) -> None:
    """As seen by a bridge that never closes of its own accord."""

    async def never_close(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.read_to_the_end()

    report, bridge, end = asyncio.run(call(never_close, plan(HangUp(0.1, ending), wait_seconds=0.2)))
    assert (bridge.heard[-1]["event"] == "stop") is says_stop
    assert end is not None
    assert (end.rcvd.code if end.rcvd else None) == code_at_bridge
    assert isinstance(end, ConnectionClosedError) is (ending is Ending.DROP)
    assert (report.ended_by, report.ending, report.close_code) == (EndedBy.CALLER, ending, code_at_bridge)
    assert report.closed_after_seconds is None
    assert report.ended_well


def test_a_platform_that_only_says_stop_waits_for_the_bridge() -> None:
    """The bridge closes, and the report says how long that took."""
    report, _, _ = asyncio.run(call(listen, plan(HangUp(0.1, Ending.STOP_ONLY))))
    assert (report.ending, report.close_code) == (Ending.STOP_ONLY, 1000)
    assert report.closed_after_seconds == pytest.approx(0.0, abs=LATE_SECONDS)


def test_a_bridge_that_never_closes_after_stop_ends_badly() -> None:
    """The platform's patience has a bound."""

    async def never_close(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.read_to_the_end()

    report, _, end = asyncio.run(call(never_close, plan(HangUp(0.1, Ending.STOP_ONLY), wait_seconds=0.2)))
    assert end is not None
    assert end.rcvd is None
    assert (report.close_code, report.closed_after_seconds, report.ended_well) == (None, None, False)


def test_a_client_of_the_old_order_waits_for_connected() -> None:
    """It says nothing before; then the call goes as any other."""

    async def greet(bridge: Bridge) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bridge.next(), 0.2)
        await bridge.say("connected")
        await listen(bridge)

    report, bridge, _ = asyncio.run(call(greet, plan(wait_for_connected=True)))
    assert [one["event"] for one in bridge.heard[:2]] == ["connected", "start"]
    assert (report.counts.connected, report.faults, report.ended_well) == (1, {}, True)


def test_a_client_of_the_old_order_gives_up() -> None:
    """A bridge that waits for the platform never answers it."""
    with pytest.raises(CallFailed, match=r"did not say connected within 0\.2 s"):
        asyncio.run(call(listen, plan(wait_for_connected=True, wait_seconds=0.2)))


def test_a_platform_that_does_not_read_is_felt_by_the_bridge() -> None:
    """The bridge's writes get stuck while the caller's audio keeps coming; when it cuts the line, the call is lost."""

    async def cut_when_stuck(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.until("dtmf")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bridge.play(1_000_000), 0.5)
        await bridge.until("media")
        bridge.connection.transport.abort()

    report, _, _ = asyncio.run(call(cut_when_stuck, plan(StopReading(0.0), Press(0.1, "1"), HangUp(30.0))))
    assert (report.ended_by, report.close_code, report.ended_well) == (EndedBy.LOST, None, False)
    assert report.counts.media == 0


def test_a_bridge_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send that gets stuck ends the call within its bound, and the report says that the bridge blocked it."""
    monkeypatch.setattr("smartflo_bridge.simulator.wire.SEND_SECONDS", 0.3)

    async def main() -> CallReport:
        is_over = asyncio.Event()

        def when_over(progress: Progress) -> None:
            if isinstance(progress, CallOver):
                is_over.set()

        async def do_not_read(bridge: Bridge) -> None:
            bridge.connection.transport.pause_reading()
            kernel = bridge.connection.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await is_over.wait()
            bridge.connection.transport.abort()

        # Some 9 MB, more than the kernel holds between the two.
        presses = [Press(0.0, "1")] * 100_000
        report, _, _ = await call(do_not_read, plan(*presses, HangUp(30.0)), when_over)
        return report

    report = asyncio.run(main())
    assert (report.ended_by, report.close_code) == (EndedBy.LOST, None)
    assert 0.3 <= report.send_blocked_seconds < 0.3 + LATE_SECONDS


@pytest.mark.parametrize(("code", "ended_well"), [(1000, True), (1001, True), (1008, False), (1011, False)])
def test_the_code_with_which_the_bridge_closes_says_whether_that_was_well(code: int, ended_well: bool) -> None:
    """Going away is an end like any other; a refusal or a failure is not."""

    async def close(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.connection.close(code, "because")

    report, _, _ = asyncio.run(call(close, plan(linger_seconds=5.0)))
    assert (report.ended_by, report.close_code, report.close_reason) == (EndedBy.BRIDGE, code, "because")
    assert report.ended_well is ended_well


def test_a_bridge_that_dies_is_a_lost_connection() -> None:
    """No close frame, no good end."""

    async def die(bridge: Bridge) -> None:
        await bridge.start()
        bridge.connection.transport.abort()

    report, _, _ = asyncio.run(call(die, plan(linger_seconds=5.0)))
    assert (report.ended_by, report.close_code, report.ended_well) == (EndedBy.LOST, None, False)


def test_what_arrived_just_before_the_close_is_counted() -> None:
    """The caller's own sending does not make the last messages disappear."""

    async def talk_and_close(bridge: Bridge) -> None:
        await bridge.start()
        for number in range(200):
            await bridge.play(1)
            await bridge.mark(f"m{number}")

    report, _, _ = asyncio.run(call(talk_and_close, plan(linger_seconds=5.0)))
    assert (report.counts.media, report.counts.marks) == (200, 200)
    assert report.ended_well


def test_bytes_sent_as_binary_are_a_fault() -> None:
    """The platform has no binary messages, whatever is inside."""

    async def send_binary(bridge: Bridge) -> None:
        await bridge.start()
        await bridge.connection.send(json.dumps({"event": "clear", "streamSid": bridge.sid}).encode())
        await bridge.until("stop")

    report, _, _ = asyncio.run(call(send_binary, plan()))
    assert report.faults == {Fault.BINARY_MESSAGE: 1}


def test_calls_do_not_share_an_id() -> None:
    """Ten at once, and each is a stream and a call of its own."""

    async def main() -> set[tuple[str, str]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(listen, plan())) for _ in range(10)]
        return {(report.ids.stream_sid, report.ids.call_sid) for report, _, _ in (task.result() for task in tasks)}

    ids = asyncio.run(main())
    assert len({stream for stream, _ in ids}) == len({call_sid for _, call_sid in ids}) == 10


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, r"the token is missing or wrong \(HTTP 401\)"),
        (404, r"there is no stream at this path \(HTTP 404\)"),
        (503, r"it takes no more calls now \(HTTP 503\)"),
        (500, r"HTTP 500 instead of an upgrade"),
    ],
)
def test_a_refusal_before_the_upgrade_is_one_sentence(status: int, sentence: str) -> None:
    """With host and port, and without the path and its token."""

    def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no\n")

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    async def main() -> None:
        async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
            await place_call(_url(server.sockets[0].getsockname()[1]), plan())

    with pytest.raises(CallFailed, match=rf"^127\.0\.0\.1:\d+ refused the call: {sentence}$"):
        asyncio.run(main())


async def _call_tcp(answer: bytes | None, wait_seconds: float = 3.0) -> None:
    """Place a call to a TCP server that answers so and closes, or (None) says nothing."""
    is_over = asyncio.Event()

    async def serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # the caller cuts the line when it has seen enough
            if answer is None:
                await reader.read()
            else:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
            writer.close()
            await writer.wait_closed()
        is_over.set()

    async with await asyncio.start_server(serve_tcp, "127.0.0.1", 0) as server:
        try:
            await place_call(_url(server.sockets[0].getsockname()[1]), plan(wait_seconds=wait_seconds))
        finally:
            await asyncio.wait_for(is_over.wait(), BOUND_SECONDS)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""])
def test_something_else_than_a_bridge_is_one_sentence(answer: bytes) -> None:
    """Another service listens at that port."""
    with pytest.raises(CallFailed, match=r"^127\.0\.0\.1:\d+ (does not speak WebSocket|refused the call): "):
        asyncio.run(_call_tcp(answer))


def test_a_bridge_that_does_not_answer_is_one_sentence() -> None:
    """It accepts the connection and stays silent."""
    with pytest.raises(CallFailed, match=r"did not answer within 0\.2 s"):
        asyncio.run(_call_tcp(None, wait_seconds=0.2))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nobody_listening_is_one_sentence(host: str) -> None:
    """The most common failure of all, also where a name has two addresses."""

    async def main() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        await place_call(f"ws://{host}:{port}/s3cret", plan())

    with pytest.raises(CallFailed, match=rf"^no connection to {host}:\d+: connection refused"):
        asyncio.run(main())


@pytest.mark.parametrize("url", ["http://localhost:1/x", "ws:///x", "ws://localhost:port/x", "localhost", "ws://[/x"])
def test_a_wrong_url_is_one_sentence(url: str) -> None:
    """What is wanted instead."""
    with pytest.raises(CallFailed, match="the URL must be ws://"):
        asyncio.run(place_call(url, plan()))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for localhost that nobody has signed, with its key in the same file."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "bridge.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out"]
    subprocess.run([*command, f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_a_call_over_tls_needs_a_certificate_that_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default trust refuses a self-signed one in one sentence, and takes it when the environment says so."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def answer(connection: ServerConnection) -> None:
        await listen(Bridge(connection))

    async def main() -> CallReport:
        async with serve(answer, "127.0.0.1", 0, ssl=context) as server:
            return await place_call(f"wss://localhost:{server.sockets[0].getsockname()[1]}/", plan())

    with pytest.raises(CallFailed, match="its certificate is not trusted"):
        asyncio.run(main())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert asyncio.run(main()).ended_well
