"""`plain`: what one writes on websockets with care. Messages as bytes, msgspec, audioop, uvloop; no session, no pacing."""

import asyncio
import audioop
import sys
from contextlib import suppress

import uvloop
from events import Event, Media, decode, encode
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def echo(connection: ServerConnection) -> None:
    """Answer each media event with one."""
    chunk = 0
    with suppress(ConnectionClosed):
        while True:
            event = decode(await connection.recv(decode=False))
            if event.media is not None:
                chunk += 1
                pcm = audioop.ulaw2lin(event.media.payload, 2)
                reply = Event("media", event.streamSid, Media(audioop.lin2ulaw(pcm, 2), chunk))
                await connection.send(encode(reply), text=True)


async def main(port: int) -> None:
    """Serve for ever."""
    async with serve(echo, "127.0.0.1", port, compression=None):
        await asyncio.get_running_loop().create_future()


uvloop.run(main(int(sys.argv[1])))
