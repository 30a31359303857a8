"""The leg of one call: an agent, reached, listened to, spoken for, tried again when it is lost, and parted from.

It is a handler of our own, on the main loop, and uses nothing but the public `Call`. Two tasks do the work: one reads the
call's events and lets the service hear them, one keeps a line to the service and does what comes over it. Whichever ends
first ends the leg: the call with its line, or the line with the call, and what is lost for good with the fallback.
"""

import asyncio
import logging
from contextlib import suppress

from smartflo_bridge.agents.answering import FUNCTION
from smartflo_bridge.agents.conversation import After, Conversation
from smartflo_bridge.agents.dialect import Opening
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.line import Line, open_line
from smartflo_bridge.agents.plan import LegPlan, facts_allowed
from smartflo_bridge.agents.retries import Retries
from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import FRAME_BYTES
from smartflo_bridge.core.errors import AgentError, CallEnded
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.log import line as log_line

FILLER_SECONDS = 1.0
"""So long the caller may hear nothing without an explanation while there is no agent."""

OPEN_SECONDS = 5.0
"""For one try, from the name's look-up to the service being ready. Reliability, section 8."""

_log = logging.getLogger(__name__)


async def serve_with(plan: LegPlan, call: Call) -> None:
    """Serve a call with an agent.

    Raises:
        AgentError: the agent is lost, and the caller has been told so; the call ends when that has been heard.
    """
    leg = _Leg(plan, call)
    lost = await leg.run()
    _log.info(leg.summary())
    if lost is None:
        return
    if plan.fallback is not None:
        _log.warning(log_line("agent lost", stream_sid=call.stream_sid, kind=plan.kind, reason=lost, fallback=True))
        await plan.fallback(call)
        return
    await call.play(prompt("apology"), encoding="ulaw")
    msg = f"{plan.kind}: {lost}"
    raise AgentError(msg)


class _Leg:
    def __init__(self, plan: LegPlan, call: Call) -> None:
        self._plan = plan
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._talk = Conversation(plan, call)
        self._retries = Retries(plan.settings.reconnect_seconds)
        self._dials = 0
        self._ready_seconds = 0.0
        self._away_seconds = 0.0  # between a loss and the next line, or the end of all tries

    async def run(self) -> AgentError | None:
        """Serve until the call or the agent is over; return what became of the agent if it was lost."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._talk.listen())
            keeping = tasks.create_task(self._keep_line(tasks))
            await asyncio.wait((listening, keeping), return_when=asyncio.FIRST_COMPLETED)
            has_ended = keeping.done()
            listening.cancel()
            if not self._talk.finish():  # a group of tasks that is cancelled is garbage that refers to itself
                keeping.cancel()
        return keeping.result() if has_ended else None

    def summary(self) -> str:
        """Return the line that sums the leg up."""
        talk = self._talk
        return log_line(
            "leg ended",
            stream_sid=self._call.stream_sid,
            kind=self._plan.kind,
            dials=self._dials,
            ready_ms=round(self._ready_seconds * 1000),
            frames_heard=talk.hearing.taken_bytes // FRAME_BYTES,
            frames_unheard=talk.hearing.dropped_bytes // FRAME_BYTES or None,
            keys_unheard=talk.hearing.dropped_keys or None,
            malformed=talk.tolerance.malformed or None,
            away_ms=round(self._away_seconds * 1000) or None,
            frames_spoken=talk.speaking.spoken_bytes // FRAME_BYTES,
            barge_ins=talk.barge_ins or None,
            tool_calls=talk.tool_calls or None,
        )

    async def _keep_line(self, tasks: asyncio.TaskGroup) -> AgentError | None:
        """Have a line to the agent until it hangs up (None) or is lost for good (why)."""
        line = await self._open()
        while isinstance(line, Line):
            after: After = None
            try:
                after = await self._talk.hold(line, self._try)
            finally:
                if isinstance(after, Line):  # and is not to wait until this one is gone
                    tasks.create_task(line.close())
                else:
                    await line.close()
            if after is None:
                return None
            line = after if isinstance(after, Line) else await self._recover(after, line)
        return line

    async def _recover(self, lost: AgentError, line: Line) -> Line | AgentError:
        """Open another line in place of one that was lost, if that may help."""
        self._retries.lose(self._loop.time() - line.opened_at)
        if not (isinstance(lost, DialError) and lost.may_retry) or self._retries.are_over:
            return lost
        plan = self._plan
        if so_far := plan.notices.add(self._loop.time()):
            sid = self._call.stream_sid
            _log.warning(log_line("agent away", stream_sid=sid, kind=plan.kind, reason=lost, so_far=so_far))
        lost_at = self._loop.time()
        try:
            return await self._open()
        finally:
            self._away_seconds += self._loop.time() - lost_at

    async def _open(self) -> Line | AgentError:
        """Open a line; explain to the caller why it is quiet meanwhile."""
        filler = self._loop.create_task(self._fill())  # not of a group: one that is cancelled is garbage
        try:
            return await self._try()
        finally:
            filler.cancel()
            await asyncio.wait((filler,))
            if not filler.cancelled():
                filler.result()

    async def _fill(self) -> None:
        with suppress(CallEnded):
            while (silent := self._talk.speaking.silent_seconds) < FILLER_SECONDS:  # noqa: ASYNC110 - time is what is awaited
                await asyncio.sleep(FILLER_SECONDS - silent)
            await self._talk.speaking.say(prompt("one-moment"))

    async def _try(self) -> Line | AgentError:
        """Try to open a line, again and again within the budget."""
        plan, retries = self._plan, self._retries
        retries.begin(self._loop.time())
        while True:
            began = self._loop.time()
            opening = self._opening()
            self._dials += 1
            try:
                line = await open_line(
                    plan.network,
                    plan.open_dialect(opening),
                    min(OPEN_SECONDS, retries.left_seconds(began)),
                    {FUNCTION: plan.answering.connect(self._talk.facts)} if plan.answering is not None else {},
                )
            except DialError as error:
                if opening.handle is not None and not error.may_retry:  # perhaps the handle is what it does not take
                    self._talk.handle = None
                    continue
                pause = retries.pause_seconds(error, self._loop.time(), plan.chance())
                if pause is None:
                    return error.kept()
            else:
                self._ready_seconds = self._loop.time() - began
                return line
            await asyncio.sleep(pause)

    def _opening(self) -> Opening:
        talk, plan = self._talk, self._plan
        return Opening(
            facts=facts_allowed(talk.facts, plan.settings),
            key=plan.key,
            tools=plan.specifications,
            is_first=not talk.has_begun,
            handle=talk.handle,
            said=tuple(talk.said),
        )
