"""Fault 23: the network to a voice agent goes dark in the middle of a call, while the caller speaks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from faults.proxy import FaultProxy, fault_proxy
from faults.support import run
from integration.daemon import KEYS, url_of
from integration.wire import Platform
from smartflo_bridge.agents import connection as module
from smartflo_bridge.config import config_from
from smartflo_bridge.server.service import serving

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


class Cuts(logging.Handler):
    """When the bridge noticed that its agent was away. The network is there again at once, before it is dialled again."""

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(logging.WARNING)
        self.at: list[float] = []
        self.reasons: list[str] = []
        self._proxy = proxy

    def emit(self, record: logging.LogRecord) -> None:
        """Note it, and light the network."""
        message = record.getMessage()
        if message.startswith("agent away"):
            self.at.append(time.monotonic())
            self.reasons.append(message)
            self._proxy.up.is_black_hole = self._proxy.down.is_black_hole = False
            self._proxy.up.flow()


@asynccontextmanager
async def calling(proxy: FaultProxy) -> AsyncIterator[Cuts]:
    """Call a bridge whose agent is behind the proxy; the caller speaks all the time."""
    cuts = Cuts(proxy)
    table = {name.replace("_", "-"): value for name, value in KEYS.items()}
    agent = {"kind": "raw", "url": f"ws://127.0.0.1:{proxy.port}/"}
    logging.getLogger().addHandler(cuts)
    try:
        async with (
            serving(config_from(table | {"agent": agent}), Path.cwd()) as service,
            connect(url_of(service), compression=None, proxy=None) as connection,
        ):
            platform = Platform(connection)
            await platform.start()
            talking = asyncio.create_task(_talk(platform))
            yield cuts
            assert not talking.done(), "the telephony connection is closed"
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
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
            calling(proxy) as cuts,
        ):
            await until(lambda: bool(heard) and heard[0] > SECOND_BYTES)
            darkened_at = time.monotonic()
            darken(proxy)
            await until(lambda: bool(cuts.at))
            took = cuts.at[0] - darkened_at
            assert PONG_SECONDS - PING_SECONDS < took < PING_SECONDS + PONG_SECONDS + CLOSED_SECONDS + SLACK_SECONDS
            await until(lambda: len(heard) > 1 and heard[1] > SECOND_BYTES)
            assert len(cuts.at) == 1, cuts.reasons
            proxy.reset()

    run(main(), 30.0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens outside of the loop's own timers."""
    while not condition():
        await asyncio.sleep(0.02)


def test_the_limits_add_up_to_fifteen_seconds() -> None:
    """Those above are shorter; with the real ones, each way to notice is within what is promised, the slack included."""
    pings = module.PING_SECONDS + module.PONG_SECONDS + CLOSED_SECONDS
    writes = module.USER_TIMEOUT_SECONDS
    assert max(pings, writes) + SLACK_SECONDS / 2 <= DEAD_SECONDS
