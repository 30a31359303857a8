"""Places one simulated call over a real connection: the shell around handset, line, script and referee.

One coroutine a call owns everything and waits in one place, for the next message or the next deadline, whichever comes
first. It decides nothing: what is said is the plan's and the script's business, what is heard the line's, whether it was
right the referee's.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import assert_never

from websockets.exceptions import ConnectionClosed

from smartflo_bridge.simulator.checks.closing import Closing
from smartflo_bridge.simulator.dialling import CallFailed, dial
from smartflo_bridge.simulator.handset import Due, Handset, Utter
from smartflo_bridge.simulator.journal import Journal
from smartflo_bridge.simulator.judged_line import JudgedLine, Told
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.messages import CallIds, Messages
from smartflo_bridge.simulator.plan import CallPlan, Ending, FallSilent, HangUp, Press, ReadAt, SendRaw, StopReading
from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    EndAsked,
    EndedBy,
    KeyPressed,
    MarkEchoed,
    Progress,
)
from smartflo_bridge.simulator.referee import Referee, RefereeSettings
from smartflo_bridge.simulator.report import CallReport, make_report
from smartflo_bridge.simulator.script import Script
from smartflo_bridge.simulator.steps import Step
from smartflo_bridge.simulator.variants import vary
from smartflo_bridge.simulator.wire import Wire


async def place_call(
    url: str,
    plan: CallPlan,
    on_progress: Callable[[Progress], None] | None = None,
    hang_up: asyncio.Event | None = None,
    *,
    wanted: Sequence[Step] = (),
    judging: RefereeSettings | None = None,
    probe: LatenessProbe | None = None,
) -> CallReport:
    """Place a call to `url` (ws or wss) and return what happened when it is over.

    `on_progress` is told everything as it happens, audio included; what it raises ends the call. Setting `hang_up` ends
    the call before the plan does, within one cadence, with `stop`. With the `wanted` steps of a scenario the call goes
    on until they are done. `probe` is the loop's, if it has one already.

    Raises:
        CallFailed: nobody answered, or not as a bridge does.
    """
    async with AsyncExitStack() as stack:
        if probe is None:
            probe = await stack.enter_async_context(LatenessProbe())
        connection = await dial(url, plan.wait_seconds)
        try:
            caller = _Caller(
                plan,
                Wire(connection),
                journal=Journal(on_progress),
                probe=probe,
                referee=Referee(judging or RefereeSettings()),
                script=Script(tuple(wanted)) if wanted else None,
                hang_up=hang_up or asyncio.Event(),
            )
            return await caller.run()
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


def _line(plan: CallPlan, ids: CallIds) -> Line:
    return Line(ids.stream_sid, jitter_buffer_seconds=plan.jitter_buffer_seconds, keeps_audio=plan.keeps_audio)


class _Caller:
    """The caller of one call: owns the connection, and the pure parts that tell it what to do."""

    def __init__(
        self,
        plan: CallPlan,
        wire: Wire,
        *,
        journal: Journal,
        probe: LatenessProbe,
        referee: Referee,
        script: Script | None,
        hang_up: asyncio.Event,
    ) -> None:
        self._wire = wire
        self._plan = plan
        self._journal = journal
        self._probe = probe
        self._hang_up = hang_up
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._ids = _new_ids()
        self._messages = Messages(self._ids)
        self._handset = Handset(plan, hangs_up=script is None)
        self._line = JudgedLine(_line(plan, self._ids), referee, script)
        self._over: CallOver | None = None
        self._ending: Ending | None = None
        self._closed_after_seconds: float | None = None
        self._send_lateness_seconds = 0.0
        self._shown_until_seconds = 0.0

    @property
    def _now(self) -> float:
        return self._clock() - self._began_at

    async def run(self) -> CallReport:
        """Carry out the plan, to the end of the connection or of our patience with it."""
        try:
            await self._begin()
            await self._end(*await self._talk())
        except ConnectionClosed:
            await self._take_leftovers()
        return self._report()

    async def _begin(self) -> None:
        if self._plan.wait_for_connected:
            await self._hear_early(self._clock() + self._plan.wait_seconds, until_connected=True)
            if not self._line.line.counts.connected:
                raise CallFailed(f"the bridge did not say connected within {self._plan.wait_seconds:g} s")
        await self._send(self._messages.connected())
        await self._hear_early(self._clock() + self._plan.start_after_seconds)
        await self._send(self._messages.start(self._plan))
        self._began_at = self._clock()
        self._journal.tell(Answered(0.0))

    async def _hear_early(self, deadline: float, *, until_connected: bool = False) -> None:
        """Take what comes before our `start`."""
        while not (until_connected and self._line.line.counts.connected):
            message = await self._wire.message_before(deadline)
            if message is None:
                return
            self._journal.tell_all(self._line.hear_early(message))

    async def _talk(self) -> tuple[Ending, EndedBy]:
        """Speak, press, listen and echo until somebody hangs up; return how the platform is to end the call, and for whom."""
        while not self._hang_up.is_set():
            now = self._now
            told, actions = self._line.advance(now, self._stalled)
            await self._tell(told)
            for action in actions:
                self._handset.act(action)
            for due in self._handset.release(now):
                if isinstance(due, HangUp):
                    return due.ending, EndedBy.CALLER
                await self._perform(due)
            deadline = self._began_at + min(self._handset.deadline, self._line.deadline)
            message = await self._wire.message_before(deadline)
            if message is not None and await self._take(message, self._now):
                return Ending.STOP, EndedBy.BRIDGE
        return Ending.STOP, EndedBy.CALLER

    def _stalled(self, start: float, end: float) -> float:
        return self._probe.stalled(self._began_at + start, self._began_at + end)

    async def _perform(self, due: Due) -> None:
        match due:
            case Utter():
                late_seconds = self._now - due.at_seconds - due.delay_seconds
                self._send_lateness_seconds = max(self._send_lateness_seconds, late_seconds)
                await self._send(self._messages.media(due.ulaw, due.timestamp_ms))
                self._show_audio(due)
            case Press():
                await self._send(self._messages.dtmf(due.digit))
                self._journal.tell(KeyPressed(self._now, due.digit))
            case StopReading() | ReadAt() | FallSilent():
                self._read_badly(due)
            case SendRaw():
                await self._wire.send(due.text.replace("{streamSid}", self._ids.stream_sid).encode())
            case HangUp():
                pass  # `_talk` has seen to it
            case _:
                assert_never(due)

    def _read_badly(self, due: StopReading | ReadAt | FallSilent) -> None:
        self._line.referee.disturb()
        match due:
            case StopReading():
                self._wire.stop_reading()
            case ReadAt():
                self._wire.read_at(due.bytes_per_second)
            case FallSilent():
                self._wire.fall_silent()
            case _:
                assert_never(due)

    async def _take(self, message: str | bytes, now: float) -> bool:
        """Take one message of the bridge; return whether it hangs up by it."""
        told = self._line.hear(message, now)
        await self._tell(told)
        return any(isinstance(one, EndAsked) for one in told)

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
                await self._wire.close()
            case Ending.STOP_ONLY:
                await self._wait_for_close()
            case Ending.CLOSE:
                await self._wire.close()
            case Ending.DROP:
                self._wire.drop()
            case _:
                assert_never(ending)

    async def _wait_for_close(self) -> None:
        """Read on until the bridge closes, or has had its time."""
        ended_at = self._now
        deadline = self._clock() + self._plan.wait_seconds
        try:
            while (message := await self._wire.message_before(deadline)) is not None:
                await self._take(message, self._now)
        except ConnectionClosed:
            self._closed_after_seconds = self._now - ended_at

    async def _take_leftovers(self) -> None:
        """Take what arrived before the connection closed and was not read yet; echoes have nowhere to go any more."""
        now = self._now
        for message in await self._wire.leftovers():
            self._journal.tell_all(self._line.hear(message, now))
        self._journal.tell_all(self._line.stop(now))
        by = EndedBy.LOST if self._wire.close_code is None else EndedBy.BRIDGE
        self._finish(CallOver(now, by), None)

    async def _send(self, message: bytes) -> None:
        variants = self._plan.variants
        for one in vary(message, variants) if variants else [message]:
            await self._wire.send(one)

    async def _tell(self, told: Sequence[Told]) -> None:
        """Send the echoes among what the line says, and pass all of it on."""
        for one in told:
            if isinstance(one, MarkEchoed):
                await self._send(self._messages.mark(one.name))
            self._journal.tell(one)

    def _show_audio(self, utter: Utter) -> None:
        if self._journal.wants_audio:
            heard = self._line.line.heard(self._shown_until_seconds, utter.at_seconds)
            self._shown_until_seconds = utter.at_seconds
            self._journal.tell(AudioPassed(utter.at_seconds, utter.ulaw, heard))

    def _finish(self, over: CallOver, ending: Ending | None) -> None:
        if self._over is None:
            self._over, self._ending = over, ending
            self._journal.tell(over)

    def _report(self) -> CallReport:
        over = self._over or CallOver(self._now, EndedBy.LOST)
        closing = Closing(
            at_seconds=over.at_seconds,
            ended_by=over.ended_by,
            ending=self._ending,
            code=self._wire.close_code,
            reason=self._wire.close_reason,
            closed_after_seconds=self._closed_after_seconds,
            our_code=self._wire.our_code,
            is_disturbed=self._wire.is_disturbed,
        )
        self._journal.tell_all(self._line.finish(closing, self._stalled))
        return make_report(
            self._ids,
            closing,
            self._line,
            spoken=self._handset.spoken if self._plan.keeps_audio else None,
            history=self._journal.history,
            send_lateness_seconds=self._send_lateness_seconds,
            send_blocked_seconds=self._wire.send_blocked_seconds,
        )
