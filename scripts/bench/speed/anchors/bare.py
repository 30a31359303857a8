"""`bare`: the library's own echo. It sends back each message as it came, and knows nothing of JSON or audio."""

import asyncio
import sys
from contextlib import suppress

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def echo(connection: ServerConnection) -> None:
    """Send back what comes."""
    with suppress(ConnectionClosed):  # while it sends: the iteration ends by itself
        async for message in connection:
            await connection.send(message)


async def main(port: int) -> None:
    """Serve for ever."""
    async with serve(echo, "127.0.0.1", port, compression=None):
        await asyncio.get_running_loop().create_future()


uvloop.run(main(int(sys.argv[1])))
