"""Playing a captured caller to a live server: they call again, and hear what is said today.

Nothing is decided here: what is said is the script's, and when marks are reached the simulator's line says, by the clock
of the live server's audio. The caller may be hurried; the server speaks in real time, and is listened to in real time.
"""

import asyncio
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from smartflo_bridge.captures.format import Record, message_record
from smartflo_bridge.captures.script import Cue, Script, renumbered
from smartflo_bridge.core.incoming import DECODE_ERRORS, Mark, MarkEvent, StopDetails, StopEvent
from smartflo_bridge.simulator.dialling import dial
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.progress import EndAsked, LineProgress, MarkEchoed

OPEN_SECONDS = 10.0
"""How long the server may take to answer."""

CLOSE_WAIT_SECONDS = 5.0
"""How long it may take to end the call after the script's last cue."""


class Played(msgspec.Struct, frozen=True):
    """What came of it, as a capture would have it.

    Attributes:
        records: the messages both ways, in order; `t` counts from the connection.
        close_code: the server's; None if it did not close.
        worst_lateness_seconds: how late this program itself sent a message, which is not the server's fault.
    """

    records: list[Record]
    close_code: int | None
    worst_lateness_seconds: float


async def play_to(url: str, script: Script, speed: float, on_progress: Callable[[float], None] | None = None) -> Played:
    """Call a live server, and say what the script says at its times.

    Args:
        url: of the server's stream, `ws://` or `wss://`, with its token if it wants one.
        script: the captured caller's.
        speed: 1 is real time, 2 twice as fast, infinity does not wait.
        on_progress: told the position in the script, in seconds, with each message.

    Raises:
        CallFailed: nobody answered, or not as a bridge does.
    """
    connection = await dial(url, OPEN_SECONDS)
    try:
        return await _Player(connection, script, speed, on_progress).run()
    finally:
        connection.transport.abort()
        await connection.wait_closed()


class _Player:
    """One call."""

    def __init__(
        self,
        connection: ClientConnection,
        script: Script,
        speed: float,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        self._connection = connection
        self._script = script
        self._speed = speed
        self._on_progress = on_progress
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._line = Line(script.stream_sid)
        self._records: list[Record] = []
        self._echoes = 0
        self._last_number: int | None = None
        self._is_over = asyncio.Event()  # the server has closed, or asked for the end
        self._worst_lateness = 0.0

    @property
    def _now(self) -> float:
        return self._clock() - self._began_at

    async def run(self) -> Played:
        """Say everything, and wait for the end."""
        close_code: int | None = None
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            await self._speak()
            if self._script.hanging is None:
                await asyncio.wait([listening], timeout=CLOSE_WAIT_SECONDS)
            if listening.done():
                received = self._connection.protocol.close_rcvd
                close_code = received.code if received else None
            else:
                listening.cancel()
                await self._hang_up()
        return Played(self._records, close_code, self._worst_lateness)

    # --- The caller

    async def _speak(self) -> None:
        has_stopped = False
        for cue in self._script.cues:
            if not await self._is_due(cue.at_ns):
                break
            await self._say(cue)
            has_stopped = has_stopped or cue.is_stop
        if self._script.hanging is not None:
            await self._is_due(self._script.hanging.at_ns)
        elif self._is_over.is_set() and not has_stopped:
            stop = StopEvent(stream_sid=self._script.stream_sid, stop=StopDetails(reason="callee ended the call"))
            await self._send(msgspec.json.encode(stop))

    async def _is_due(self, at_ns: int) -> bool:
        """Wait until a cue's time has come; return False if the call is over before."""
        due = at_ns / 1e9 / self._speed
        late = self._now - due
        if late < 0:
            try:
                async with asyncio.timeout_at(self._began_at + due):
                    await self._is_over.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(0)  # what comes in is heard, however hurried we are
        if self._speed != float("inf"):
            self._worst_lateness = max(self._worst_lateness, self._now - due)
        return not self._is_over.is_set()

    async def _say(self, cue: Cue) -> None:
        shift = self._echoes - cue.number_shift
        await self._send(renumbered(cue.text, shift) if shift else cue.text)
        if cue.is_stop:
            self._line.stop(self._now)
        if self._on_progress is not None:
            self._on_progress(cue.at_ns / 1e9)

    async def _send(self, text: bytes) -> None:
        at_ns = round(self._now * 1e9)
        try:
            await self._connection.send(text, text=True)
        except ConnectionClosed:
            self._is_over.set()
        else:
            self._records.append(message_record(at_ns, "in", text))
            self._last_number = _number_in(text) or self._last_number

    async def _hang_up(self) -> None:
        hanging = self._script.hanging
        if hanging is not None and hanging.is_drop:
            self._connection.transport.abort()
        else:
            await self._connection.close(1000)

    # --- The server

    async def _listen(self) -> None:
        """Hear the server, and echo its marks, until it closes."""
        try:
            while True:
                text = await self._message_before(self._line.deadline)
                now = self._now
                if text is None:
                    progress = self._line.advance(now)
                else:
                    self._records.append(message_record(round(now * 1e9), "out", text))
                    progress = self._line.handle(text, now)
                await self._take(progress)
        except ConnectionClosed:
            self._is_over.set()

    async def _message_before(self, deadline: float | None) -> bytes | None:
        try:
            async with asyncio.timeout_at(None if deadline is None else self._began_at + deadline):
                return await self._connection.recv(decode=False)
        except TimeoutError:
            return None

    async def _take(self, progress: list[LineProgress]) -> None:
        for one in progress:
            match one:
                case MarkEchoed(name=name):
                    await self._echo(name)
                case EndAsked():
                    self._is_over.set()
                case _:
                    pass

    async def _echo(self, name: str) -> None:
        self._echoes += 1
        number = None if self._last_number is None else str(self._last_number + 1)
        echo = MarkEvent(sequence_number=number, stream_sid=self._script.stream_sid, mark=Mark(name))
        await self._send(msgspec.json.encode(echo))


class _Numbered(msgspec.Struct, rename="camel"):
    sequence_number: int | str | None = None


_numbers = msgspec.json.Decoder(_Numbered)


def _number_in(text: bytes) -> int | None:
    """Return a message's sequence number; None if it has none that is one."""
    try:
        number = _numbers.decode(text).sequence_number
        return None if number is None else int(number)
    except (*DECODE_ERRORS, ValueError):
        return None
