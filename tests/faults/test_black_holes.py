"""Faults 3 and 4: a caller's network that goes dark. Nothing is refused, nothing acknowledged: only our clocks are left."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from faults.namespace import Namespace, missing, namespace
from faults.support import account_of, neighbours, run
from integration.daemon import Daemon
from integration.wire import Platform

MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

DEAD_SECONDS = 15.0  # reliability, G7: while we send
IDLE_SECONDS = 4.0
PING_SECONDS = 1.0
CLOSE_SECONDS = 2.0
SLACK_SECONDS = 1.5


@asynccontextmanager
async def far_away(network: Namespace, daemon: Daemon) -> AsyncIterator[Platform]:
    """Open a connection from that network."""
    sock = await network.connect(daemon.port)
    connection = await connect(daemon.url, sock=sock, compression=None, proxy=None, ping_interval=None)
    try:
        yield Platform(connection)
    finally:
        connection.transport.abort()


def public(folder: Path, **keys: object) -> Daemon:
    """Return a daemon that can be reached from there, and captures."""
    return Daemon(
        folder,
        handler="answers:answer",
        host="0.0.0.0",
        allow_unauthenticated=True,
        capture_dir=str(folder),
        **keys,
    )


def test_3_a_black_hole_while_we_send(tmp_path: Path) -> None:
    """With the defaults, whose idle limit is a minute and whose pings come every 20 s: it is cut within 15 s."""

    async def main(daemon: Daemon, network: Namespace) -> None:
        async with neighbours(daemon), far_away(network, daemon) as platform:
            await platform.start(role="speak", seed="own", seconds="60")
            await platform.audio(8000)
            cut_at = time.monotonic()
            await asyncio.to_thread(network.cut)
            end = await asyncio.to_thread(daemon.end_of, platform.sid, DEAD_SECONDS)
            assert time.monotonic() - cut_at < DEAD_SECONDS
            assert end["termination"] == "peer_lost"
            await asyncio.to_thread(account_of, tmp_path, platform.sid)

    with namespace() as network, public(tmp_path) as daemon:
        run(main(daemon, network))


@pytest.mark.parametrize("answers_pings", [False, True])
def test_4_a_black_hole_while_we_are_silent(tmp_path: Path, answers_pings: bool) -> None:
    """It is cut at the idle limit; sooner, by pings, if it has answered one before."""
    ping_seconds = PING_SECONDS if answers_pings else 60.0

    async def main(daemon: Daemon, network: Namespace) -> None:
        async with neighbours(daemon), far_away(network, daemon) as platform:
            await platform.start(role="listen")
            for _ in range(15):
                await platform.speak()
                await asyncio.sleep(0.1)  # a second and a half of talk, in which a ping is answered
            cut_at = time.monotonic()
            await asyncio.to_thread(network.cut)
            end = await asyncio.to_thread(daemon.end_of, platform.sid, IDLE_SECONDS + CLOSE_SECONDS + SLACK_SECONDS)
            took = time.monotonic() - cut_at
            if answers_pings:
                assert end["termination"] == "peer_lost"
                assert took < 2 * PING_SECONDS + CLOSE_SECONDS + SLACK_SECONDS
            else:
                assert end["termination"] == "limit"
                assert IDLE_SECONDS - 0.5 < took < IDLE_SECONDS + CLOSE_SECONDS + SLACK_SECONDS
            account = await asyncio.to_thread(account_of, tmp_path, platform.sid)
            assert account["ledger"]["received_bytes"] == account["ledger"]["delivered_bytes"] == 15 * 800

    idle_seconds = 60.0 if answers_pings else IDLE_SECONDS
    with namespace() as network, public(tmp_path, idle_seconds=idle_seconds, ping_seconds=ping_seconds) as daemon:
        run(main(daemon, network))
