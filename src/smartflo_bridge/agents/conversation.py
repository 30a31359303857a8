"""What goes on over a line: the call's events are told to the service, and what the service does is done to the call.

It lasts as long as the leg, over all its lines: what the caller said, what of ours was heard, and what was said so far
belong to the call. `leg` keeps the line.
"""

import asyncio
from contextlib import suppress
from typing import assert_never

from smartflo_bridge.agents import events
from smartflo_bridge.agents.briefing import remember
from smartflo_bridge.agents.events import LegEvent, ToolCall, Transcript
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.hearing import Hearing
from smartflo_bridge.agents.jobs import Jobs
from smartflo_bridge.agents.line import Line
from smartflo_bridge.agents.plan import LegPlan, facts_of
from smartflo_bridge.agents.speaking import Heard, Speaking
from smartflo_bridge.agents.succession import OpenSuccessor, successor_in_time
from smartflo_bridge.agents.tolerance import Tolerance
from smartflo_bridge.agents.tools import HANG_UP, failure
from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.effects import HandlerEvent, MarkOutcome
from smartflo_bridge.core.errors import AgentError, CallEnded, HandlerError
from smartflo_bridge.core.incoming import DTMFEvent, MediaEvent

GOODBYE_SECONDS = 5.0
"""So long after asking for the end, an agent that is still speaking may finish."""

MAX_TOOL_CALLS = 16
"""At once; one more fails. No person waits at the telephone for so many."""

CAUGHT_UP_SECONDS = 0.25
"""When a message had to be waited for so long, all that the service had sent before has been read: what it could not send
while we did not read takes the way there and back, and a busy service has its pauses. An answer takes longer."""

After = Line | AgentError | None
"""What follows a line: the one that takes over, why it was lost, or nothing, because the agent has hung up."""

_Over = asyncio.Future[After]


class Conversation:
    """One call's talk with its agent.

    Attributes:
        hearing: the caller's side.
        speaking: the agent's.
        said: the latest of what was said, where the service tells.
        handle: the newest with which another connection could go on.
        has_begun: an agent has been ready for this call.
        tolerance: for what the service says that is none of its protocol.
    """

    def __init__(self, plan: LegPlan, call: Call) -> None:
        self.hearing = Hearing()
        self.speaking = Speaking(call)
        self.facts = facts_of(call)
        self.said: list[Transcript] = []
        self.handle: str | None = None
        self.has_begun = False
        self.tolerance = Tolerance()
        self.barge_ins = self.tool_calls = 0
        self._plan = plan
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._line: Line | None = None
        self._over: _Over = self._loop.create_future()
        self._jobs = Jobs()
        self._answer_timer: asyncio.TimerHandle | None = None
        self._is_mid_speech = self._hangs_up = self._owes_answer = False
        self._is_behind = False  # what is still to be read is older than the last interrupt

    # --- The call

    async def listen(self) -> None:
        """Tell the service what happens on the call, until it is over."""
        with suppress(CallEnded):  # it may be over before all of its events are taken
            await self._call.attend(self._hear)

    def _hear(self, event: HandlerEvent) -> bool:
        match event:
            case MediaEvent():
                for is_speech in self.hearing.hear(event.ulaw):
                    self._notice(is_speech=is_speech)
            case DTMFEvent():
                self.hearing.press(event.digit)
            case _:
                pass
        return True

    def _notice(self, *, is_speech: bool) -> None:
        """The caller begins to speak, or has ended, as we hear it."""
        line = self._line
        if line is None:
            return
        if line.dialect.wants_speech_edges:
            line.say(line.dialect.notice_speech(is_speech=is_speech))
        if not is_speech:
            self._owes_answer = True
            self._await_answer()
        elif self._is_ours_to_interrupt(line):
            self._is_behind = self.speaking.is_waiting
            line.say(line.dialect.interrupt())
            self._interrupt(line)

    def _is_ours_to_interrupt(self, line: Line) -> bool:
        """True if the caller speaks over the agent, and its service does not say so.

        While speech waits for room nothing is read, so none could.
        """
        is_deaf = self.speaking.is_waiting or not line.dialect.notices_barge_in
        return is_deaf and self.speaking.is_heard and not self._hangs_up

    def _await_answer(self) -> None:
        """Give the service its time to say anything at all."""
        seconds = self._plan.settings.answer_seconds
        if seconds and self._answer_timer is None:
            lost = DialError(f"it has sent nothing for {seconds:g} s after the caller spoke", may_retry=True)
            self._answer_timer = self._loop.call_later(seconds, self._end, self._over, lost)

    # --- The line

    async def hold(self, line: Line, open_successor: OpenSuccessor) -> After:
        """Talk over a line until it is over; return what follows it."""
        self._over = over = self._loop.create_future()
        self._line, self._is_mid_speech, self.has_begun = line, False, True
        try:
            self.speaking.forget_items()
            self.speaking.expect(line.dialect.speaks)
            line.listen(self.hearing)
            async with asyncio.TaskGroup() as tasks:
                self._jobs.begin(tasks)
                self._jobs.start(line.write())
                self._jobs.start(line.keep_alive())
                self._jobs.start(self._read(line, over, open_successor))
                after: After = await over
                self._jobs.stop()
        except HandlerError as error:  # a rate that was only learnt now
            return AgentError(str(error))
        except asyncio.CancelledError:
            await _let_go(over)
            raise
        finally:
            self._line = None
            self._jobs.forget()
            line.retire()
            self._hear_answer()
        if self._hangs_up:  # it has said so, whatever became of its line
            with suppress(CallEnded):
                self.speaking.finish()
            await _let_go(over)
            return None
        return after

    def finish(self) -> bool:
        """End the line, because the call is over; return False if there is none, or it is ending already."""
        if self._line is None or self._over.done():
            return False
        self._over.set_result(None)
        return True

    async def _read(self, line: Line, over: _Over, open_successor: OpenSuccessor) -> None:
        """Do what the service does, in its order. Waits while the caller's queue is full: then nothing is read."""
        try:
            with suppress(CallEnded):  # whoever listens learns it too, and ends the leg
                await self._do_all(line.early, line, over, open_successor)
                while not over.done():
                    # No name for what came: it would be kept, with its audio, until the service says something more.
                    await self._do_all(await self._next(line), line, over, open_successor)
        except (AgentError, HandlerError) as error:
            self._end(over, error.kept() if isinstance(error, AgentError) else AgentError(str(error)))

    async def _next(self, line: Line) -> list[LegEvent]:
        asked_at = self._loop.time()
        happened = await line.read()
        self._hear_answer()
        if self._loop.time() > asked_at + CAUGHT_UP_SECONDS:
            self._is_behind = False
        return happened

    async def _do_all(self, happened: list[LegEvent], line: Line, over: _Over, open_successor: OpenSuccessor) -> None:
        for event in happened:
            if isinstance(event, events.GoAway):
                self._jobs.succeed(self._succeed(event.seconds, over, open_successor))
            else:
                await self._do(event, line, over)

    async def _do(self, event: LegEvent, line: Line, over: _Over) -> None:
        match event:
            case events.Speech():
                self._is_mid_speech = not self._is_behind
                self._owes_answer = False
                if not self._is_behind:
                    await self.speaking.play(event)
            case events.SpeechDone():
                self._is_mid_speech = False
                self.speaking.finish()
                if self._hangs_up:
                    self._end(over, None)
            case events.BargeIn():
                self._is_behind = False
                if not self._hangs_up:
                    self._interrupt(line)
            case events.MarkAsked(name=name):
                self.speaking.mark(name, lambda outcome: _reach(line, name, outcome))
            case _:
                self._obey(event, line, over)

    def _obey(self, event: events.Aside, line: Line, over: _Over) -> None:
        """Do what has nothing to do with speech."""
        match event:
            case events.ToolCall():
                self._use_tool(event, line, over)
            case events.HangUpAsked():
                self.speaking.finish()
                self._end(over, None)
            case events.Answer(message=message):
                line.say([message])
            case events.Resumption(handle=handle):
                self.handle = handle
            case events.Ready(speaks=speaks):
                self.speaking.expect(speaks or line.dialect.speaks)
            case events.Failed(reason=reason, may_retry=may_retry):
                raise DialError(reason, may_retry=may_retry)
            case events.Transcript():
                self.said = remember(self.said, event)
            case events.Ignored(name=events.MALFORMED):
                self.tolerance.count()
            case events.GoAway() | events.Ignored():
                pass
            case _:
                assert_never(event)

    def _interrupt(self, line: Line) -> None:
        """Silence the agent, and let its service know what was heard."""
        self._is_mid_speech = False
        if not self.speaking.is_heard:
            line.say(line.dialect.tell_cleared(self.speaking.take_heard_ms()))
            return
        self.barge_ins += 1

        def tell(cut: list[Heard], heard_ms: int) -> None:
            for heard in (one for one in cut if one.item):
                line.say(line.dialect.tell_heard(heard.item, heard.heard_ms))
            line.say(line.dialect.tell_cleared(heard_ms))

        self.speaking.interrupt(tell)

    def _use_tool(self, asked: ToolCall, line: Line, over: _Over) -> None:
        self.tool_calls += 1
        if asked.name == HANG_UP.name and self._plan.may_hang_up:
            self._hangs_up = True
            if self._is_mid_speech:
                self._loop.call_later(GOODBYE_SECONDS, self._end, over, None)
            else:
                self.speaking.finish()
                self._end(over, None)
        elif self._jobs.tools >= MAX_TOOL_CALLS:
            line.say(line.dialect.tool_result(asked.id, failure("this cannot be called now")))
        else:
            self._jobs.use_tool(self._run_tool(asked, line))

    async def _run_tool(self, asked: ToolCall, line: Line) -> None:
        result = await self._plan.run_tool(asked, self.facts, lambda: self.speaking.is_heard)
        line.say(line.dialect.tool_result(asked.id, result))

    async def _succeed(self, seconds: float, over: _Over, open_successor: OpenSuccessor) -> None:
        """Have another line take over; where there is none, this one goes on to its end."""
        successor = await successor_in_time(seconds, open_successor, self._is_quiet)
        if successor is not None and over.done():
            await successor.close()
        elif successor is not None:
            over.set_result(successor)

    def _is_quiet(self) -> bool:
        is_talk = self._is_mid_speech or self.hearing.is_speech or self._owes_answer
        return not is_talk and not self._jobs.tools

    @staticmethod
    def _end(over: _Over, after: After) -> None:
        if not over.done():
            over.set_result(after)

    def _hear_answer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


async def _let_go(over: _Over) -> None:
    """Close the line that was to follow, if there is one."""
    if over.done() and not over.cancelled() and isinstance(successor := over.result(), Line):
        await successor.close()


def _reach(line: Line, name: str, outcome: MarkOutcome | None) -> None:
    if outcome is not None:
        line.say(line.dialect.reach(name, was_played=outcome.was_played))
