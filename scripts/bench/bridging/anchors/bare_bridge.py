"""`bare`: the library on both sides. Each message is passed on as it came; nothing knows of JSON, audio or time."""

import asyncio
import sys
from contextlib import suppress

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def pump(source: Connection, target: Connection) -> None:
    """Pass messages on until one of the two has closed."""
    with suppress(ConnectionClosed):
        async for message in source:
            await target.send(message)
    await target.close()


async def bridge(caller: ServerConnection) -> None:
    """Serve one call."""
    async with connect(sys.argv[2], compression=None, proxy=None) as agent:
        await asyncio.gather(pump(caller, agent), pump(agent, caller))


async def main(port: int) -> None:
    """Serve for ever."""
    async with serve(bridge, "127.0.0.1", port, compression=None):
        await asyncio.get_running_loop().create_future()


uvloop.run(main(int(sys.argv[1])))
