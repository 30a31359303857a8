"""Fault 23: the network to a voice agent goes dark in the middle of a call, while the caller speaks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from faults.namespace import Namespace, missing, namespace
from faults.proxy import FaultProxy, fault_proxy
from faults.support import run
from integration.daemon import KEYS, url_of
from integration.wire import Platform
from smartflo_bridge.agents import connection as module
from smartflo_bridge.config import config_from
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.server.service import serving
from smartflo_bridge.wire.sockets import USER_TIMEOUT_SECONDS

MISSING = missing()

PING_SECONDS = 0.5
PONG_SECONDS = 0.8
DEAD_SECONDS = 15.0
"""Reliability, G7: while we send."""

CLOSED_SECONDS = module.CLOSE_SECONDS
"""In which the library gives up a connection whose end is not answered."""

SLACK_SECONDS = 1.0
SECOND_BYTES = 8000

Darken = Callable[[FaultProxy], None]


def swallow(proxy: FaultProxy) -> None:
    """Take everything, answer nothing."""
    proxy.up.is_black_hole = proxy.down.is_black_hole = True


def stall(proxy: FaultProxy) -> None:
    """Take nothing either: what we send stays in our buffers."""
    swallow(proxy)
    proxy.up.stop_reading()


def light(proxy: FaultProxy) -> None:
    """Pass everything on again."""
    proxy.up.is_black_hole = proxy.down.is_black_hole = False
    proxy.up.flow()


class Cuts(logging.Handler):
    """When the bridge noticed that its agent was away. `light` lets the network be there again before it is dialled."""

    def __init__(self, light: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self.at: list[float] = []
        self.reasons: list[str] = []
        self._light = light

    def emit(self, record: logging.LogRecord) -> None:
        """Note it, and light the network."""
        message = record.getMessage()
        if message.startswith("agent away"):
            self.at.append(time.monotonic())
            self.reasons.append(message)
            self._light()


@asynccontextmanager
async def calling(url: str, light: Callable[[], None]) -> AsyncIterator[tuple[Platform, Cuts]]:
    """Call a bridge whose agent is at that address; the caller speaks all the time."""
    cuts = Cuts(light)
    table = {name.replace("_", "-"): value for name, value in KEYS.items()}
    agent = {"kind": "raw", "url": url}
    logging.getLogger().addHandler(cuts)
    try:
        async with (
            serving(config_from(table | {"agent": agent}), Path.cwd()) as service,
            connect(url_of(service), compression=None, proxy=None) as connection,
        ):
            platform = Platform(connection)
            await platform.start()
            talking = asyncio.create_task(_talk(platform))
            yield platform, cuts
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
            with suppress(ConnectionClosed):
                await platform.stop()
    finally:
        logging.getLogger().removeHandler(cuts)


async def _talk(platform: Platform) -> None:
    while True:
        await platform.speak()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("darken", [swallow, stall])
def test_23_a_service_behind_a_black_hole_is_cut_and_reached_again(
    darken: Darken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pings, though the leg sends all the time; then the next connection hears the caller, and the call goes on."""
    monkeypatch.setattr(module, "PING_SECONDS", PING_SECONDS)
    monkeypatch.setattr(module, "PONG_SECONDS", PONG_SECONDS)
    heard: list[int] = []

    async def listen(connection: ServerConnection) -> None:
        heard.append(0)
        number = len(heard) - 1
        async for message in connection:
            heard[number] += len(message) if isinstance(message, bytes) else 0

    async def main() -> None:
        async with (
            serve(listen, "127.0.0.1", 0, ping_interval=None) as server,
            fault_proxy(server.sockets[0].getsockname()[1]) as proxy,
            calling(f"ws://127.0.0.1:{proxy.port}/", lambda: light(proxy)) as (platform, cuts),
        ):
            await until(lambda: bool(heard) and heard[0] > SECOND_BYTES)
            darkened_at = time.monotonic()
            darken(proxy)
            await until(lambda: bool(cuts.at))
            took = cuts.at[0] - darkened_at
            assert PONG_SECONDS - PING_SECONDS < took < PING_SECONDS + PONG_SECONDS + CLOSED_SECONDS + SLACK_SECONDS
            await until(lambda: len(heard) > 1 and heard[1] > SECOND_BYTES)
            assert len(cuts.at) == 1, cuts.reasons
            assert platform.connection.close_code is None, "the caller lost the call"
            proxy.reset()

    run(main(), 30.0)


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_23_a_service_behind_a_cut_wire_is_cut_and_given_up() -> None:
    """With the real limits: TCP itself hears nothing more. Nobody can be dialled either, so the caller gets an apology."""
    heard: list[int] = []

    async def listen(connection: ServerConnection) -> None:
        heard.append(1)
        await connection.wait_closed()

    async def main(network: Namespace) -> None:
        sock, address = await asyncio.to_thread(network.listen)
        async with (
            serve(listen, sock=sock, ping_interval=None, close_timeout=0.1) as server,
            calling(f"ws://{address}/", lambda: None) as (platform, cuts),
        ):
            await until(lambda: bool(heard))
            await asyncio.sleep(1.0)
            cut_at = time.monotonic()
            await asyncio.to_thread(network.cut)
            await until(lambda: bool(cuts.at))
            assert cuts.at[0] - cut_at < DEAD_SECONDS
            said = await platform.audio(len(prompt("one-moment") + prompt("apology")))
            assert said.count(prompt("apology")) == 1
            for connection in server.connections:
                connection.transport.abort()

    with namespace() as network:
        run(main(network), 40.0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens outside of the loop's own timers."""
    while not condition():
        await asyncio.sleep(0.02)


def test_the_limits_add_up_to_fifteen_seconds() -> None:
    """Those above are shorter; with the real ones, each way to notice is within what is promised, the slack included."""
    pings = module.PING_SECONDS + module.PONG_SECONDS + CLOSED_SECONDS
    writes = USER_TIMEOUT_SECONDS
    assert max(pings, writes) + SLACK_SECONDS / 2 <= DEAD_SECONDS
