"""A leg's connection over real sockets on loopback: what keeps it from its service is named, and nothing hangs."""

import asyncio
import http
import ssl
import subprocess
import threading
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from smartflo_bridge.agents import connection as module
from smartflo_bridge.agents.connection import FULL_MESSAGES, FULL_PAUSE_SECONDS, dial
from smartflo_bridge.agents.dialect import Endpoint, HttpRequest
from smartflo_bridge.agents.far_end import Closed, DialError
from smartflo_bridge.agents.http import MAX_BODY_BYTES, MAX_HEAD_BYTES, ask

SECRET = "sk-very-secret-0123456789"


def port_of(server) -> int:
    """Return where a server listens."""
    return server.sockets[0].getsockname()[1]


@asynccontextmanager
async def answering(status: int, headers: dict[str, str] | None = None):
    """Refuse every upgrade with a status; yield the URL."""

    def refuse(connection: ServerConnection, request):
        response = connection.respond(http.HTTPStatus(status), "no\n")
        for name, value in (headers or {}).items():
            response.headers[name] = value
        return response

    async def never(connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        yield f"ws://127.0.0.1:{port_of(server)}/"


async def refused(url: str, seconds: float = 2.0) -> DialError:
    """Dial, and return why it did not work."""
    with pytest.raises(DialError) as caught:
        await dial(Endpoint(url, {"Authorization": f"Bearer {SECRET}"}), seconds)
    assert SECRET not in repr(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "may_retry", "words"),
    [
        (401, False, "401, so the key is not valid"),
        (403, False, "403"),
        (404, False, "404, so the URL is wrong"),
        (429, True, "429"),
        (500, True, "500"),
        (503, True, "503"),
        (302, False, "302, a redirect, which is not followed"),
    ],
)
def test_a_refusal_is_named(status, may_retry, words):
    """By its status; only what may change is worth another try; a redirect is not followed, wherever it leads."""

    async def main() -> DialError:
        followed: list[ServerConnection] = []

        async def other(connection: ServerConnection) -> None:
            followed.append(connection)

        async with serve(other, "127.0.0.1", 0) as elsewhere:
            headers = {"Location": f"ws://127.0.0.1:{port_of(elsewhere)}/", "Retry-After": "7"}
            async with answering(status, headers) as url:
                error = await refused(url)
        assert not followed
        return error

    error = asyncio.run(main())
    assert (error.may_retry, error.retry_after_seconds) == (may_retry, 7.0)
    assert words in str(error)


def test_nobody_there():
    """A closed port, a name that does not exist, a server that never answers the upgrade, and one that speaks no HTTP."""

    async def main() -> list[DialError]:
        errors = []

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
            port = port_of(server)
            errors.append(await refused(f"ws://127.0.0.1:{port}/", 0.3))
        errors.append(await refused(f"ws://127.0.0.1:{port}/"))
        errors.append(await refused("ws://nobody.invalid/"))

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-none\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            errors.append(await refused(f"ws://127.0.0.1:{port_of(server)}/"))
        return errors

    silent, closed, unknown, foreign = asyncio.run(main())
    assert str(silent) == "it did not answer in time"
    assert "refused" in str(closed)
    assert "name" in str(unknown)
    assert str(foreign) == "it is no WebSocket server"
    assert all(error.may_retry for error in (silent, closed, unknown, foreign))


def certificate(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate that nobody vouches for."""
    key, crt = folder / "key.pem", folder / "crt.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", crt], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


def test_a_certificate_is_checked(tmp_path):
    """One that nobody vouches for is refused, in words, and not tried again; so is a port without TLS."""

    async def main() -> list[DialError]:
        async def never(connection: ServerConnection) -> None:
            raise AssertionError

        async with serve(never, "127.0.0.1", 0, ssl=certificate(tmp_path)) as server:
            untrusted = await refused(f"wss://127.0.0.1:{port_of(server)}/")
        async with answering(404) as url:
            return [untrusted, await refused(url.replace("ws:", "wss:"))]

    untrusted, plain = asyncio.run(main())
    assert str(untrusted).startswith("its certificate is not valid: self-signed certificate")
    assert not untrusted.may_retry
    assert str(plain) in ("it does not speak TLS", "it cannot be reached: ConnectionResetError")


def test_messages_and_closes_arrive():
    """Text as text, binary as binary; a close with its code, a death without one."""

    async def main() -> None:
        async def answer(connection: ServerConnection) -> None:
            assert connection.request is not None
            assert connection.request.headers["Authorization"] == f"Bearer {SECRET}"
            async for message in connection:
                if message == "close":
                    await connection.close(4001, "enough")
                elif message == "die":
                    connection.transport.abort()
                else:
                    await connection.send(message)

        async with serve(answer, "127.0.0.1", 0) as server:
            endpoint = Endpoint(f"ws://127.0.0.1:{port_of(server)}/", {"Authorization": f"Bearer {SECRET}"})
            for last, expected in (("close", Closed(4001, "enough")), ("die", Closed())):
                line = await dial(endpoint, 2.0)
                for message in ("text", b"binary"):
                    assert await line.send(message)
                    assert await line.recv() == message
                await line.send(last)
                assert await line.recv() == expected
                assert await line.recv() == expected
                assert not await line.send("more")
                await line.close()

    asyncio.run(main())


def test_messages_of_one_write_are_messages_still():
    """Of every form that a length has, text beyond ASCII too, in order; each masked with a key of its own."""
    sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000]
    messages = [*("é" * (size // 2) + "x" * (size % 2) for size in sizes), *(bytes(size) for size in sizes)]

    async def main() -> None:
        async def answer(connection: ServerConnection) -> None:
            async for message in connection:
                heard.append(message)
                if len(heard) == len(messages):
                    await connection.close()

        heard: list[str | bytes] = []
        async with serve(answer, "127.0.0.1", 0) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            assert await line.send(*messages)
            assert await line.recv() == Closed(1000)
            assert heard == messages
            await line.close()

    asyncio.run(main())
    assert len({module.client_frame("x" * 200) for _ in range(20)}) == 20


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    """Whatever the environment says: the library would obey it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9/")

    async def main() -> None:
        async def answer(connection: ServerConnection) -> None:
            await connection.wait_closed()

        async with serve(answer, "127.0.0.1", 0) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            await line.close()

    asyncio.run(main())


def test_a_service_that_stops_reading_is_cut(monkeypatch):
    """Within the write deadline, with little memory; closing it takes no second either."""
    monkeypatch.setattr(module, "WRITE_DEADLINE_SECONDS", 0.5)

    async def main() -> None:
        async def deaf(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await gone.wait()

        gone = asyncio.Event()
        async with serve(deaf, "127.0.0.1", 0) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            began, sent = time.monotonic(), 0
            async with asyncio.timeout(10):
                while await line.send(bytes(16_000)):
                    sent += 16_000
            assert sent < 8_000_000
            waited = time.monotonic() - began
            began = time.monotonic()
            await line.close()
            assert time.monotonic() - began < 1.0
            assert waited < 5
            gone.set()
            for connection in server.connections:
                connection.transport.abort()

    asyncio.run(main())


def test_a_service_that_has_said_much_is_not_cut_while_it_waits(monkeypatch):
    """The leg does not read while the caller's queue is full, so no answer to a ping can come: it is there all the same."""
    monkeypatch.setattr(module, "PING_SECONDS", 0.1)
    monkeypatch.setattr(module, "PONG_SECONDS", 0.15)
    said = [bytes(30_000)] * (2 * FULL_MESSAGES)

    async def main() -> None:
        async def talk(connection: ServerConnection) -> None:
            for message in said:
                await connection.send(message)
            await connection.wait_closed()

        async with serve(talk, "127.0.0.1", 0, ping_interval=None) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            await asyncio.sleep(1.0)
            async with asyncio.timeout(5):
                assert [await line.recv() for _ in said] == said
            await asyncio.sleep(0.5)
            assert await line.send("still there")
            await line.close()

    asyncio.run(main())


def test_a_service_that_answers_no_pings_is_cut(monkeypatch):
    """By its own clock, whatever is sent meanwhile; to the leg it is dead."""
    monkeypatch.setattr(module, "PING_SECONDS", 0.1)
    monkeypatch.setattr(module, "PONG_SECONDS", 0.3)

    async def main() -> None:
        async def freeze(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await gone.wait()

        gone = asyncio.Event()
        async with serve(freeze, "127.0.0.1", 0, ping_interval=None) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            async with asyncio.timeout(5):
                assert await line.recv() == Closed()
            assert not await line.send("more")
            gone.set()
            for connection in server.connections:
                connection.transport.abort()

    asyncio.run(main())


def test_a_close_that_is_given_up_cuts(monkeypatch):
    """Whoever waits for a service's answer to our close, and is cancelled, leaves no connection behind."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 30.0)

    async def main() -> None:
        async def never_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(line for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key:"))
            accept = accept_key(key.partition(":")[2].strip()).encode()
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            told.set_result(await reader.readexactly(1))
            with suppress(ConnectionResetError, TimeoutError):
                await asyncio.wait_for(reader.read(), 2.0)
                gone.set()
            writer.transport.abort()

        told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        gone = asyncio.Event()
        async with await asyncio.start_server(never_close, "127.0.0.1", 0) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            closing = asyncio.ensure_future(line.close())
            assert await asyncio.wait_for(told, 2.0) == b"\x88"
            await asyncio.sleep(0.1)
            assert not gone.is_set()
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await asyncio.wait_for(gone.wait(), 1.0)

    asyncio.run(main())


def test_who_says_very_much_at_once_does_not_hold_the_loop():
    """Thousands of messages in one read: others have their turn in between, and time; all of it arrives in order."""
    said = [str(number) for number in range(5000)]

    async def main() -> tuple[int, float]:
        async def talk(connection: ServerConnection) -> None:
            connection.transport.write(b"".join(bytes((0x81, len(word))) + word.encode() for word in said))
            await connection.wait_closed()

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turns = 0
        async with serve(talk, "127.0.0.1", 0) as server:
            line = await dial(Endpoint(f"ws://127.0.0.1:{port_of(server)}/"), 2.0)
            assert await line.recv() == said[0]
            counting = asyncio.ensure_future(count())
            began = time.monotonic()
            async with asyncio.timeout(5):
                assert [await line.recv() for _ in said[1:]] == said[1:]
            counting.cancel()
            counted, seconds = turns, time.monotonic() - began
            await line.close()
        return counted, seconds

    times = len(said) // FULL_MESSAGES - 1
    turns, seconds = asyncio.run(main())
    assert turns >= times
    assert seconds >= times * FULL_PAUSE_SECONDS


def test_a_request_before_dialling():
    """The body comes back; a refusal, a redirect, an endless answer and a silent server are named as on the WebSocket."""

    async def main() -> None:
        requests: list[bytes] = []
        answers = {
            b"/ok": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"/no": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            b"/busy": b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
            b"/moved": b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
            b"/long": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BODY_BYTES + 1),
            b"/garbage": b"what?\r\n\r\n",
            b"/short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            b"/heavy": b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
        }

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answering.append(asyncio.current_task())
            request = await reader.readuntil(b"\r\n\r\n")
            requests.append(request)
            path = request.split(b" ")[1]
            if path in answers:
                writer.write(answers[path])
            else:
                await reader.read()
            writer.close()
            await writer.wait_closed()

        answering: list[asyncio.Task[None] | None] = []

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{port_of(server)}"
            assert await ask(HttpRequest(f"{url}/ok", {"X-Key": SECRET}, b"{}"), 2.0) == b"{}"
            assert requests[0].startswith(b"POST /ok ")
            assert f"x-key: {SECRET}".encode() in requests[0].lower()
            found = {}
            for path in ("no", "busy", "moved", "long", "garbage", "short", "heavy", "silent"):
                with pytest.raises(DialError) as caught:
                    await ask(HttpRequest(f"{url}/{path}", {"X-Key": SECRET}), 0.5)
                assert SECRET not in str(caught.value)
                found[path] = (str(caught.value), caught.value.may_retry)
            # Up to Python 3.11 the server does not wait for them; whom we cut off is told so.
            await asyncio.gather(*filter(None, answering), return_exceptions=True)
        assert found == {
            "no": ("it answered with HTTP status 401, so the key is not valid", False),
            "busy": ("it answered with HTTP status 429", True),
            "moved": ("it answered with HTTP status 302, a redirect, which is not followed", False),
            "long": (f"it answered with more than {MAX_BODY_BYTES} bytes", False),
            "garbage": ("it cannot be reached over HTTP", True),
            "short": ("it cannot be reached over HTTP", True),
            "heavy": (f"it answered with more than {MAX_HEAD_BYTES} bytes of headers", False),
            "silent": ("it did not answer in time", True),
        }
        assert len(requests) == 9

    asyncio.run(main())


BODY = b'{"joinUrl":"wss://127.0.0.1/x"}'


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 31\r\n\r\n" + BODY,
        b"Transfer-Encoding: chunked\r\n\r\n0b\r\n" + BODY[:11] + b"\r\n14\r\n" + BODY[11:] + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1f\r\n" + BODY + b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_an_answer_is_whole_before_its_connection_ends(answer, piece):
    """By its length or its last chunk, cut anywhere; a server that leaves the connection open is not waited for."""

    async def main() -> None:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            whole = b"HTTP/1.1 201 Created\r\n" + answer
            for at in range(0, len(whole), piece):
                writer.write(whole[at : at + piece])
                await asyncio.sleep(0)
            with suppress(OSError):
                await reader.read()
            writer.close()
            served.set()

        served = asyncio.Event()
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{port_of(server)}/x?y=1"
            assert await asyncio.wait_for(ask(HttpRequest(url), 5.0), 4.0) == BODY
            await served.wait()

    asyncio.run(main())


@pytest.mark.parametrize("where", ["headers", "body", "request"])
def test_a_server_that_drips_is_given_up_in_time(where):
    """A byte in a fifth of a second is progress for each read, and none for a caller: all of it has one deadline.

    Nothing is left behind: no thread, no task, no connection.
    """
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n"
    gone, over = asyncio.Event(), asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if where == "request":  # is never read
            await over.wait()
        else:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(head if where == "headers" else head + b"\r\n")
        with suppress(OSError):
            while True:
                await asyncio.sleep(0.2)
                writer.write(b"x")
                await writer.drain()
        gone.set()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            body = bytes(8_000_000) if where == "request" else None
            began = time.monotonic()
            with pytest.raises(DialError) as caught:
                await ask(HttpRequest(f"http://127.0.0.1:{port_of(server)}/", {"X-Key": SECRET}, body), 1.0)
            assert str(caught.value) == "it did not answer in time"
            assert caught.value.may_retry
            assert 0.9 < time.monotonic() - began < 1.5
            assert not [task for task in asyncio.all_tasks() if "ask" in str(task.get_coro())]
            over.set()
            await gone.wait()

    before = threading.active_count()
    asyncio.run(asyncio.wait_for(main(), 5.0))
    assert threading.active_count() == before


def test_a_request_over_tls_checks_the_certificate_and_says_so(tmp_path):
    """As a WebSocket does, and with no second try."""

    async def main() -> DialError:
        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raise AssertionError

        async with await asyncio.start_server(never, "127.0.0.1", 0, ssl=certificate(tmp_path)) as server:
            with pytest.raises(DialError) as caught:
                await ask(HttpRequest(f"https://127.0.0.1:{port_of(server)}/"), 2.0)
            return caught.value

    error = asyncio.run(main())
    assert str(error).startswith("its certificate is not valid: self-signed certificate")
    assert not error.may_retry


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "https:///x", "http://127.0.0.1:99999/", "http://127.0.0.1/a b"])
def test_a_url_that_cannot_be_asked(url):
    """Nor can one whose header would be two: nothing is sent."""
    for request in (HttpRequest(url), HttpRequest("http://127.0.0.1:9/", {"X": "a\r\nY: b"})):
        with pytest.raises(DialError) as caught:
            asyncio.run(ask(request, 1.0))
        assert str(caught.value) == "its URL cannot be dialled"
        assert not caught.value.may_retry
