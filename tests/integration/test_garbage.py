"""What a call was made of goes with its last reference: nothing of it is left to the garbage collector.

What is left to it piles up until a full pass, which then stops every live call: of two hundred bridged calls, for a fifth of
a second.
"""

import asyncio
import gc
import shutil
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

from integration.daemon import bridge, on_uvloop, until, url_of
from integration.test_tls import make_certificate
from integration.wire import Platform, dialled, reset
from smartflo_bridge import Call
from smartflo_bridge.agents.beside import connect_all
from smartflo_bridge.agents.connection import dial
from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.server.service import Service

CALLS = 3


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Have nothing collected but by the test, and only of what it makes: all that other tests have left takes a second to look at."""
    gc.collect()
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def left_to_the_collector() -> Counter[str]:
    """Return what the collector alone could free, of what is the bridge's, by its types."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        types = [type(thing) for thing in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
    return Counter(kind.__qualname__ for kind in types if kind.__module__.startswith("smartflo_bridge."))


def protocols(kind: type[Protocol]) -> int:
    """Return how many of the library's protocols are there still.

    The collector does not report those that it frees: it ends their parser, a generator that holds them, and that is all.
    """
    return sum(type(thing) is kind for thing in gc.get_objects())


async def end_in(platform: Platform, how: str) -> None:
    """End a call in one of the ways in which calls end, seen from the platform."""
    if how == "stop":
        await platform.stop()
    elif how == "fin":
        platform.connection.transport.close()
    elif how == "rst":
        platform.reset()
    elif how == "too much that is malformed":
        for _ in range(30):
            await platform.connection.send("{")
    else:
        await platform.press("9")  # the agent's to end
    await platform.connection.wait_closed()


async def place_calls(service: Service, how: str) -> None:
    """Have calls, one after the other, that end in one way; return when nothing is served any more."""
    gc.collect()  # what an earlier test has left
    for _ in range(CALLS):
        async with dialled(url_of(service)) as platform:
            await platform.start()
            for _ in range(3):
                await platform.speak(b"\x31" * 800)
                await asyncio.sleep(0.02)
            await end_in(platform, how)
    await until(lambda: not service.registry.connections and not len(service.registry))
    await asyncio.sleep(0.3)  # for the last task to be done with


async def listen(call: Call) -> None:
    """Take what comes."""
    async for _ in call:
        pass


async def speak_on(call: Call) -> None:
    """Say more than there is room for, until the call is over."""
    while await call.play(b"\x31" * 8000, encoding="ulaw"):
        pass


@pytest.mark.parametrize("how", ["stop", "fin", "rst", "too much that is malformed"])
@pytest.mark.parametrize("handler", ["echo", "ivr", listen, speak_on])
def test_nothing_of_a_call_is_left(handler, how: str) -> None:
    """Served by ours on the main loop, and by a user's on their thread."""
    serving = bridge(handler=handler) if isinstance(handler, str) else bridge(handler)

    async def main() -> None:
        async with serving as service:
            await place_calls(service, how)
            assert not protocols(ServerProtocol)
            assert not left_to_the_collector()

    on_uvloop(main())


@asynccontextmanager
async def agents() -> AsyncIterator[str]:
    """Serve an agent that says back what it hears; when a key is pressed it closes, or resets, as its URL says."""

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        async for message in connection:
            if isinstance(message, bytes):
                await connection.send(message)
            elif '"9"' in message and connection.request.path == "/closes":
                await connection.close()
            elif '"9"' in message:
                reset(connection)

    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("how", ["stop", "fin", "rst", "the agent closes"])
def test_nothing_of_a_bridged_call_is_left(how: str) -> None:
    """Neither of the call nor of its leg."""

    async def main() -> None:
        async with agents() as url, bridge(agent={"kind": "raw", "url": f"{url}/closes"}) as service:
            await place_calls(service, how)
            assert protocols(ServerProtocol) <= CALLS  # the agents'
            assert protocols(ClientProtocol) <= CALLS  # the platform's
            assert not left_to_the_collector()

    on_uvloop(main())


@pytest.mark.parametrize("how", ["stop", "fin", "rst"])
@pytest.mark.parametrize("service_is", ["away", "silent"])
def test_nothing_of_a_call_is_left_whose_agent_is_dialled_to_the_end(service_is: str, how: str) -> None:
    """One that refuses connections, which is between two tries, and one that takes them and says nothing."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
            if service_is == "away":
                sock.close()
            async with bridge(agent={"kind": "raw", "url": url}) as service:
                await place_calls(service, how)
                assert protocols(ClientProtocol) <= CALLS  # the platform's
                assert not left_to_the_collector()

    on_uvloop(main())


@pytest.mark.parametrize(
    "said", [None, b"", b"hello\r\n\r\n", b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 101"]
)
def test_nothing_of_a_dial_in_vain_is_left(said: bytes | None) -> None:
    """A service that does not listen, closes, is something else, wants nobody, or never finishes its answer."""
    sock = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(CALLS):
            peer, _ = sock.accept()
            with peer:
                peer.sendall(said or b"")
                while said and peer.recv(4096):
                    pass

    async def main() -> None:
        gc.collect()
        for _ in range(CALLS):
            with suppress(DialError):
                await dial(Endpoint(f"ws://127.0.0.1:{sock.getsockname()[1]}"), 0.2)
        await asyncio.sleep(0.1)
        assert not protocols(ClientProtocol)
        assert not left_to_the_collector()

    if said is None:
        sock.shutdown(socket.SHUT_RDWR)
    else:
        threading.Thread(target=answer, daemon=True).start()
    with sock:
        on_uvloop(main())


@pytest.mark.parametrize("is_given_up", [False, True])
def test_nothing_of_two_dials_in_vain_is_left(*, is_given_up: bool) -> None:
    """Side by side, as for a service whose hearing and speaking are apart: one is refused, or the call ends meanwhile."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as other:
            urls = [f"ws://127.0.0.1:{sock.getsockname()[1]}" for sock in (silent, other)]
            if not is_given_up:
                other.close()
            endpoint = Endpoint(urls[0], beside={"other": Endpoint(urls[1])})
            gc.collect()
            for _ in range(CALLS):
                dialling = asyncio.create_task(connect_all(dial, endpoint, 1.0, {}))
                if is_given_up:
                    await asyncio.sleep(0.05)
                    dialling.cancel()
                await asyncio.wait([dialling])
                assert dialling.cancelled() or isinstance(dialling.exception(), DialError)
            del dialling
            await asyncio.sleep(0.1)
            assert not protocols(ClientProtocol)
            assert not left_to_the_collector()

    on_uvloop(main())


@pytest.mark.parametrize("port", ["port", "health_port"])
@pytest.mark.parametrize("said", [b"", b"\0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_nothing_of_a_probe_is_left(said: bytes, port: str) -> None:
    """Two a second for as long as it lives: a load balancer's, and what else comes by."""

    async def main() -> None:
        async with bridge(handler="echo") as service:
            gc.collect()
            for _ in range(CALLS):
                _, writer = await asyncio.open_connection("127.0.0.1", getattr(service, port))
                writer.write(said)
                await asyncio.sleep(0.05)
                writer.transport.abort()
            await asyncio.sleep(0.3)
            assert not protocols(ServerProtocol)
            assert not left_to_the_collector()

    on_uvloop(main())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_nothing_of_a_failed_tls_handshake_is_left(tmp_path: Path) -> None:
    """Probes and scanners of an encrypted port leave nothing either."""
    cert, key = make_certificate(tmp_path, "first")
    key.chmod(0o600)

    async def main() -> None:
        async with bridge(handler="echo", tls_cert_file=str(cert), tls_key_file=str(key)) as service:
            gc.collect()
            for said in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(100)):
                _, writer = await asyncio.open_connection("127.0.0.1", service.port)
                writer.write(said)
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.transport.abort()
            await asyncio.sleep(0.3)
            assert not left_to_the_collector()

    on_uvloop(main())
