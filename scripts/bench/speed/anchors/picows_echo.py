"""`picows`: a WebSocket library in Cython, which calls back for each frame; msgspec, audioop and uvloop as in `plain`."""

import audioop
import sys

import uvloop
from events import Event, Media, decode, encode
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    """One call."""

    def __init__(self) -> None:
        self.chunk = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer each media event with one."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            event = decode(frame.get_payload_as_memoryview())
            if event.media is not None:
                self.chunk += 1
                pcm = audioop.ulaw2lin(event.media.payload, 2)
                reply = Event("media", event.streamSid, Media(audioop.lin2ulaw(pcm, 2), self.chunk))
                transport.send(WSMsgType.TEXT, encode(reply))


def accept(_: WSUpgradeRequest) -> WSListener:
    """Accept whoever comes."""
    return Echo()


async def main(port: int) -> None:
    """Serve for ever."""
    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
