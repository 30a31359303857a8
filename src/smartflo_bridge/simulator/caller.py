"""Places one simulated call over a real connection: the shell around handset, line and messages.

One coroutine a call owns everything and waits in one place, for the next message or the next deadline, whichever comes
first. It decides nothing: what is said is the plan's business, what is heard the line's, whether it was right the
reader's of the report.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from typing import assert_never

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.simulator.dialling import CallFailed, dial
from smartflo_bridge.simulator.handset import Handset, Utter
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.messages import CallIds, Messages
from smartflo_bridge.simulator.plan import CallPlan, Ending, HangUp, Press, StopReading
from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    EndAsked,
    EndedBy,
    KeyPressed,
    LineProgress,
    MarkEchoed,
    Progress,
)
from smartflo_bridge.simulator.report import CallReport

SEND_SECONDS = 20.0
"""How long one send may wait for the bridge to read; then the connection counts as lost. As long as a missed ping."""

HISTORY_LIMIT = 20_000
"""Entries of a report's history: hours of marks and keys; a bridge that breaks a rule with every message fills it."""

SMALLEST_RECEIVE_BUFFER_BYTES = 4096
"""So that a platform that stopped reading is felt by the bridge in seconds, not when megabytes of kernel buffers are full."""


async def place_call(
    url: str,
    plan: CallPlan,
    on_progress: Callable[[Progress], None] | None = None,
    hang_up: asyncio.Event | None = None,
) -> CallReport:
    """Place a call to `url` (ws or wss) and return what happened when it is over.

    `on_progress` is told everything as it happens, audio included; what it raises ends the call. Setting `hang_up` ends
    the call before the plan does, within one cadence, with `stop`.

    Raises:
        CallFailed: nobody answered, or not as a bridge does.
    """
    connection = await dial(url, plan.wait_seconds)
    try:
        return await _Caller(connection, plan, on_progress, hang_up).run()
    finally:
        connection.transport.abort()
        await connection.wait_closed()


def _new_ids() -> CallIds:
    """Make up ids that look like the platform's; no two calls share one."""
    return CallIds(
        stream_sid=f"MZ{secrets.token_hex(16)}",
        call_sid=f"{time.time():.0f}.{secrets.randbelow(10**9)}",
        account_sid=f"AC{secrets.token_hex(8)}",
    )


class _Caller:
    """The caller of one call: owns the connection, and the pure halves that tell it what to do."""

    def __init__(
        self,
        connection: ClientConnection,
        plan: CallPlan,
        on_progress: Callable[[Progress], None] | None,
        hang_up: asyncio.Event | None,
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._on_progress = on_progress
        self._hang_up = hang_up or asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._ids = _new_ids()
        self._messages = Messages(self._ids)
        self._handset = Handset(plan)
        self._line = Line(self._ids.stream_sid, jitter_buffer_seconds=plan.jitter_buffer_seconds)
        self._is_reading = True
        self._over: CallOver | None = None
        self._ending: Ending | None = None
        self._closed_after_seconds: float | None = None
        self._send_lateness_seconds = 0.0
        self._send_blocked_seconds = 0.0
        self._shown_until_seconds = 0.0
        self._history: list[Progress] = []

    @property
    def _now(self) -> float:
        return self._clock() - self._began_at

    async def run(self) -> CallReport:
        """Carry out the plan, to the end of the connection or of our patience with it."""
        try:
            if self._plan.wait_for_connected:
                await self._wait_for_connected()
            await self._begin()
            await self._end(*await self._talk())
        except ConnectionClosed:
            await self._take_leftovers()
        return self._report()

    async def _wait_for_connected(self) -> None:
        deadline = self._clock() + self._plan.wait_seconds
        while not self._line.counts.connected:
            message = await self._message_before(deadline)
            if message is None:
                raise CallFailed(f"the bridge did not say connected within {self._plan.wait_seconds:g} s")
            await self._take(message, 0.0)

    async def _begin(self) -> None:
        await self._send(self._messages.connected())
        await self._send(self._messages.start(self._plan))
        self._began_at = self._clock()
        self._observe(Answered(0.0))

    async def _talk(self) -> tuple[Ending, EndedBy]:
        """Speak, press, listen and echo until somebody hangs up; return how the platform is to end the call, and for whom."""
        while not self._hang_up.is_set():
            now = self._now
            await self._tell(self._line.advance(now))
            for due in self._handset.release(now):
                if isinstance(due, HangUp):
                    return due.ending, EndedBy.CALLER
                await self._perform(due)
            deadline = min(self._handset.deadline, self._line.deadline or float("inf"))
            message = await self._message_before(self._began_at + deadline)
            if message is not None and await self._take(message, self._now):
                return Ending.STOP, EndedBy.BRIDGE
        return Ending.STOP, EndedBy.CALLER

    async def _perform(self, due: Utter | Press | StopReading) -> None:
        match due:
            case Utter():
                self._send_lateness_seconds = max(self._send_lateness_seconds, self._now - due.at_seconds)
                await self._send(self._messages.media(due.ulaw, due.timestamp_ms))
                self._show_audio(due)
            case Press():
                await self._send(self._messages.dtmf(due.digit))
                self._observe(KeyPressed(self._now, due.digit))
            case StopReading():
                self._is_reading = False
                self._connection.transport.pause_reading()
                kernel = self._connection.transport.get_extra_info("socket")
                kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_RECEIVE_BUFFER_BYTES)
            case _:
                assert_never(due)

    async def _take(self, message: str | bytes, now: float) -> bool:
        """Take one message of the bridge; return whether it hangs up by it."""
        progress = self._heed(message, now)
        await self._tell(progress)
        return any(isinstance(one, EndAsked) for one in progress)

    def _heed(self, message: str | bytes, now: float) -> list[LineProgress]:
        return self._line.handle(message, now) if isinstance(message, str) else self._line.handle_binary(now)

    async def _end(self, ending: Ending, ended_by: EndedBy) -> None:
        """End the call as the platform would, and see that the bridge lets go."""
        now = self._now
        await self._tell(self._line.stop(now))
        if ending in {Ending.STOP, Ending.STOP_ONLY}:
            await self._send(self._messages.stop(f"{ended_by} ended the call"))
        self._finish(CallOver(now, ended_by), ending)
        match ending:
            case Ending.STOP:
                await self._wait_for_close()
                await self._connection.close()
            case Ending.STOP_ONLY:
                await self._wait_for_close()
            case Ending.CLOSE:
                await self._connection.close()
            case Ending.DROP:
                self._connection.transport.abort()
            case _:
                assert_never(ending)

    async def _wait_for_close(self) -> None:
        """Read on until the bridge closes, or has had its time."""
        ended_at = self._now
        deadline = self._clock() + self._plan.wait_seconds
        try:
            while (message := await self._message_before(deadline)) is not None:
                await self._take(message, self._now)
        except ConnectionClosed:
            self._closed_after_seconds = self._now - ended_at

    async def _take_leftovers(self) -> None:
        """Take what arrived before the connection closed and was not read yet; echoes have nowhere to go any more."""
        now = self._now
        try:
            while self._is_reading:
                message = await self._connection.recv()
                self._observe_all(self._heed(message, now))
        except ConnectionClosed:
            pass
        self._observe_all(self._line.stop(now))
        by = EndedBy.BRIDGE if self._connection.protocol.close_rcvd else EndedBy.LOST
        self._finish(CallOver(now, by), None)

    async def _message_before(self, deadline: float) -> str | bytes | None:
        """Wait for the next message; None: the deadline came first."""
        try:
            async with asyncio.timeout_at(deadline):
                if self._is_reading:
                    return await self._connection.recv()
                await self._connection.wait_closed()
                raise self._connection.protocol.close_exc
        except TimeoutError:
            return None

    async def _send(self, message: bytes) -> None:
        began_at = self._clock()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._connection.send(message, text=True)
        except TimeoutError:
            self._connection.transport.abort()
            await self._connection.wait_closed()
            raise self._connection.protocol.close_exc from None
        finally:
            self._send_blocked_seconds = max(self._send_blocked_seconds, self._clock() - began_at)

    async def _tell(self, progress: list[LineProgress]) -> None:
        """Send the echoes among what the line says, and pass all of it on."""
        for one in progress:
            if isinstance(one, MarkEchoed):
                await self._send(self._messages.mark(one.name))
            self._observe(one)

    def _observe_all(self, progress: list[LineProgress]) -> None:
        for one in progress:
            self._observe(one)

    def _observe(self, progress: Progress) -> None:
        if not isinstance(progress, AudioPassed) and len(self._history) < HISTORY_LIMIT:
            self._history.append(progress)
        if self._on_progress:
            self._on_progress(progress)

    def _show_audio(self, utter: Utter) -> None:
        if self._on_progress:
            heard = self._line.heard(self._shown_until_seconds, utter.at_seconds)
            self._shown_until_seconds = utter.at_seconds
            self._on_progress(AudioPassed(utter.at_seconds, utter.ulaw, heard))

    def _finish(self, over: CallOver, ending: Ending | None) -> None:
        if self._over is None:
            self._over, self._ending = over, ending
            self._observe(over)

    def _report(self) -> CallReport:
        over = self._over or CallOver(self._now, EndedBy.LOST)
        heard = self._line.heard(0.0, over.at_seconds)
        close_rcvd = self._connection.protocol.close_rcvd
        return CallReport(
            ids=self._ids,
            duration_seconds=over.at_seconds,
            ended_by=over.ended_by,
            ending=self._ending,
            close_code=close_rcvd.code if close_rcvd else None,
            close_reason=close_rcvd.reason if close_rcvd else "",
            closed_after_seconds=self._closed_after_seconds,
            heard=heard,
            spoken=self._handset.spoken[: len(heard)].ljust(len(heard), SILENCE),
            first_audio_seconds=self._line.first_audio_seconds,
            gaps=tuple(self._line.gaps),
            pauses=tuple(self._line.pauses),
            counts=self._line.counts,
            faults=dict(self._line.faults),
            pending_marks=tuple(self._line.pending_marks),
            history=tuple(self._history),
            send_lateness_seconds=self._send_lateness_seconds,
            send_blocked_seconds=self._send_blocked_seconds,
        )
