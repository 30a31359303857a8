"""The soak's voice agent: it speaks the raw leg's protocol and says back what it hears, until it is told to be lost."""

import asyncio
import json
import socket
import struct
from typing import cast

from soaking import wire

ABORT = struct.pack("ii", 1, 0)


class Agents:
    """All connections of the agent, by the stream that they are for.

    Attributes:
        port: where it is dialled.
        live: connections that have said which stream they are for.
        dials: of all times.
    """

    def __init__(self) -> None:
        self.port = 0
        self.live: dict[str, Agent] = {}
        self.gone: set[str] = set()
        self.dials = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, for as long as this process lives."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Agent(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def lose(self, stream_sid: str, for_good: bool) -> bool:  # noqa: FBT001 - as Caller asks for it
        """Reset a stream's connection, and each that comes after it if it is for good; return False if there is none."""
        agent = self.live.get(stream_sid)
        if agent is None:
            return False
        if for_good:
            self.gone.add(stream_sid)
        agent.reset()
        return True


class Agent(asyncio.Protocol):
    """One connection of the bridge's."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._reader = wire.Reader()
        self._transport: asyncio.Transport | None = None
        self._sid = ""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only
        self._agents.dials += 1

    def data_received(self, data: bytes) -> None:
        """Answer the handshake, then each piece of audio with itself."""
        assert self._transport is not None
        said = self._reader.feed(data)
        if self._reader.head and not self._is_open:
            self._is_open = True
            self._transport.write(wire.response(self._reader.head))
        for opcode, payload in said:
            if opcode == wire.BINARY:
                self._transport.write(wire.message(wire.BINARY, payload))
            elif opcode == wire.TEXT:
                self._take_word(json.loads(payload))
            elif opcode == wire.PING:
                self._transport.write(wire.message(wire.PONG, payload))
            elif opcode == wire.CLOSE:
                self._transport.write(wire.message(wire.CLOSE, payload[:2]))
                self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the stream, unless it has another connection by now."""
        if self._agents.live.get(self._sid) is self:
            del self._agents.live[self._sid]

    def reset(self) -> None:
        """Be lost: the bridge gets a RST."""
        assert self._transport is not None
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._transport.abort()

    def _take_word(self, word: dict[str, object]) -> None:
        if word.get("type") != "start":
            return
        self._sid = str(word["stream"])
        if self._sid in self._agents.gone:
            self.reset()
        else:
            self._agents.live[self._sid] = self
