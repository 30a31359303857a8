"""One of the soak's callers: it speaks on a timeline, listens to its echo, and ends as its kind has it."""

import asyncio
import ctypes
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from soaking import messages, wire
from soaking.judging import Heard
from soaking.mix import AGENT_KINDS, Kind, Plan
from soaking.sounds import SILENT_FRAME, Ear, frame
from soaking.timing import Latency, Pulse

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that sends a RST."""
SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A filter of one instruction, `return 0`: the kernel throws away what comes for this socket, before it acknowledges it."""
NARROW_BYTES = 4096
"""Of the receive buffer of a caller that will stop reading."""
SILENCE_SECONDS = 1.0
"""Before an end at which nothing may be under way."""
PATIENCE_SECONDS = 10.0
"""For what is then still under way on a machine that is busy: what comes later than this is lost."""
RECOVERY_SECONDS = 10.0
"""From the loss of an agent to the silence: what is said meanwhile is heard later."""
OPEN_SECONDS = 10.0
OVER_SECONDS = 60.0
"""From what ends a call to giving it up."""

FRAME_SECONDS = 0.02
_LISTENS_ON = {Kind.STOP, Kind.BAD_INPUT, Kind.AGENT_BACK}


class Caller(asyncio.Protocol):
    """A call.

    Args:
        plan: what it is to be.
        daemon: the name of who answers.
        pulse: of the generator.
        echo: takes how long the echo of each chunk took, of a call that keeps its agent.
        lose_agent: ends the connection of a stream's agent, for good or not.

    Attributes:
        heard: what it has seen; complete when `over` is done.
        over: done when the connection is, or nothing more is to be seen of it.
        acted_at: when it did what ends the call, on the wall clock; 0 before.
    """

    def __init__(
        self, plan: Plan, daemon: str, pulse: Pulse, echo: Latency, lose_agent: Callable[[str, bool], bool]
    ) -> None:
        sid = f"MZ{plan.number:08d}"
        self.plan = plan
        self.heard = Heard(stream_sid=sid, daemon=daemon, kind=plan.kind.name, began_at=time.time())
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.acted_at = 0.0
        self._pulse = pulse
        self._echo = echo
        self._sent: deque[tuple[int, float]] = deque()  # chunks not heard yet: the number of the next frame, and when
        self._lose_agent = lose_agent
        self._loop = asyncio.get_running_loop()
        self._ear = Ear(plan.number)
        self._reader = wire.Reader()
        self._key = os.urandom(4)
        self._transport: asyncio.Transport | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._chunks = 0
        self._began = self._give_up_at = 0.0
        self._is_open = self._is_silent = self._is_mute = False

    async def place(self, port: int, path: str) -> None:
        """Place the call; it goes on by itself from here."""
        sock = socket.socket()
        sock.setblocking(False)  # noqa: FBT003 - the socket's own
        if self.plan.kind is Kind.STOPPED_READER:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._loop.sock_connect(sock, ("127.0.0.1", port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._loop.create_connection(lambda: self, sock=sock)
        except (OSError, TimeoutError) as error:
            sock.close()
            self._fail(f"no connection: {str(error) or 'it takes too long'}")
            return
        self._after("opening", OPEN_SECONDS, self._fail, "no answer to the handshake")
        self._write(wire.request(port, path))

    # --- What comes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def data_received(self, data: bytes) -> None:
        """Take what the daemon says."""
        for opcode, payload in self._reader.feed(data):
            if opcode == wire.TEXT:
                ulaw = messages.audio_of(payload)
                self.heard.frames_heard += len(ulaw) // len(SILENT_FRAME)
                self._ear.hear(ulaw)
                self._note_echo()
            elif opcode == wire.PING:
                self._say(payload, wire.PONG)
            elif opcode == wire.CLOSE:
                self._take_close(payload)
        if self._reader.head and not self._is_open:
            self._begin()

    def _note_echo(self) -> None:
        while self._sent and self._sent[0][0] <= self._ear.next:
            self._echo.note(self._loop.time() - self._sent.popleft()[1])

    def connection_lost(self, exc: Exception | None) -> None:
        """Be done: it is the end that was meant, or `judging` will say that it was not."""
        self._transport = None
        if not self._is_open:
            self._fail(f"the connection ended in the handshake: {exc}")
        elif not self.acted_at:
            self._fail(f"the connection ended too early: {exc or 'FIN'}, close code {self.heard.close_code}")
        self._finish()

    def _take_close(self, payload: bytes) -> None:
        self.heard.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        self._is_mute = True
        self._say(payload[:2], wire.CLOSE)
        if self._transport is not None:
            self._transport.close()

    # --- Speaking

    def _begin(self) -> None:
        if refusal := wire.refusal(self._reader.head):
            self._fail(f"refused: {refusal}")
            return
        self._is_open = True
        self._timers.pop("opening").cancel()
        sid = self.heard.stream_sid
        self._say(messages.connected())
        self._say(messages.start(sid, f"1758000000.{self.plan.number}"))
        self._began = self._loop.time()
        self._plan_end(self.plan.seconds)
        self._after("speaking", 0.0, self._speak)

    def _speak(self) -> None:
        """Send the chunk that is due, and see to the next; of an absolute timeline, so that nothing drifts."""
        frames = self.plan.chunk_frames
        due = self._began + self._chunks * frames * FRAME_SECONDS
        self._pulse.note(self._loop.time() - due)
        if self._is_mute or self._transport is None:
            return
        if self._is_silent:
            ulaw = SILENT_FRAME * frames
        else:
            first = self.heard.stamped_sent
            ulaw = b"".join([frame(self.plan.number, first + at) for at in range(frames)])
            self.heard.stamped_sent += frames
            if self.plan.kind not in AGENT_KINDS:
                self._sent.append((self.heard.stamped_sent, self._loop.time()))
        self._chunks += 1
        self.heard.frames_sent += frames
        timestamp_ms = round((self._chunks - 1) * frames * FRAME_SECONDS * 1000)
        self._say(messages.media(self.heard.stream_sid, self._chunks, timestamp_ms, ulaw))
        self._timers["speaking"] = self._loop.call_at(due + frames * FRAME_SECONDS, self._speak)

    def _say(self, payload: bytes, opcode: int = wire.TEXT) -> None:
        self._write(wire.message(opcode, payload, self._key))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # --- The end

    def end_soon(self) -> None:
        """Do what ends the call now rather than when it was planned."""
        if self._is_open and not self._is_silent and not self.acted_at and "end" in self._timers:
            lead = SILENCE_SECONDS if self.plan.kind in _LISTENS_ON else 0.0
            if self.plan.kind in AGENT_KINDS and "agent" not in self._timers:
                return  # that is under way
            lead += RECOVERY_SECONDS if self.plan.kind in AGENT_KINDS else 0.0
            for timer in ("end", "silence", "agent"):
                if timer in self._timers:
                    self._timers.pop(timer).cancel()
            self._plan_end(lead)

    def _plan_end(self, seconds: float) -> None:
        kind = self.plan.kind
        quiet = seconds - SILENCE_SECONDS if kind in _LISTENS_ON else seconds
        if kind in AGENT_KINDS:
            self._after("agent", max(0.0, quiet - RECOVERY_SECONDS), self._reset_agent)
        if kind in _LISTENS_ON:
            self._after("silence", max(0.0, quiet), self._fall_silent)
        self._give_up_at = self._loop.time() + seconds + PATIENCE_SECONDS
        self._after("end", seconds, self._end)

    def _fall_silent(self) -> None:
        self._is_silent = True

    def _reset_agent(self) -> None:
        del self._timers["agent"]
        is_gone = self.plan.kind is Kind.AGENT_GONE
        if not self._lose_agent(self.heard.stream_sid, is_gone):
            self._fail("its agent was not there")
        elif is_gone:
            self._note_act()

    def _end(self) -> None:
        del self._timers["end"]
        if self._transport is None or self.plan.kind is Kind.AGENT_GONE:
            return
        is_patient = self.plan.kind in _LISTENS_ON and self._loop.time() < self._give_up_at
        if is_patient and self._ear.next < self.heard.stamped_sent:
            self._after("end", 0.1, self._end)
            return
        self._note_act()
        sid = self.heard.stream_sid
        match self.plan.kind:
            case Kind.STOP | Kind.AGENT_BACK:
                self._is_mute = True
                self._say(messages.stop(sid, self._chunks + 2))
            case Kind.FIN:
                self._is_mute = True
                self._transport.close()
            case Kind.RST:
                self._is_mute = True
                self._option(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                self._transport.abort()
            case Kind.BAD_INPUT:
                self._is_mute = True
                for bad in messages.bad_messages(sid):
                    self._say(bad)
            case Kind.STOPPED_READER:
                self._transport.pause_reading()
            case _:
                self._vanish()

    def _vanish(self) -> None:
        """Be a black hole from here: the kernel acknowledges nothing, and takes no notice of being acknowledged.

        The caller speaks on, and some of it arrives, so that the daemon has something to send into the hole.
        """
        drop_all = _Filter(DROP_ALL)
        self._option(socket.SOL_SOCKET, SO_ATTACH_FILTER, drop_all.program)

    def _option(self, level: int, name: int, value: bytes) -> None:
        assert self._transport is not None
        self._transport.get_extra_info("socket").setsockopt(level, name, value)

    def _note_act(self) -> None:
        self.acted_at = time.time()
        self._after("over", OVER_SECONDS, self._fail, "it was not over in time")

    def _fail(self, why: str) -> None:
        self.heard.failure = self.heard.failure or why
        self.let_go()

    def let_go(self) -> None:
        """End the connection, if it has not ended: nothing more is to be seen of it."""
        if self._transport is not None:
            self._transport.abort()
        self._finish()

    def _finish(self) -> None:
        self._is_mute = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        heard, ear = self.heard, self._ear
        heard.stamped_heard, heard.lost = ear.next - ear.lost, ear.lost
        heard.repeated, heard.foreign_bytes = ear.repeated, ear.foreign_bytes
        if not self.over.done():
            self.over.set_result(None)

    def _after(self, name: str, seconds: float, function: Callable[..., None], *args: object) -> None:
        self._timers[name] = self._loop.call_later(seconds, function, *args)


class _Filter:
    """What SO_ATTACH_FILTER takes (`struct sock_fprog`), and what that points to."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self.program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(self._code))
