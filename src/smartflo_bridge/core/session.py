"""The session: one stream's state machine, a fold over everything that happens to it.

`handle(input, now)` takes an event, a command of the handler or a signal, and returns what is to be done. `deadline` says
when it wants a `Tick`. Audio that is due is released by every `handle`, so a busy call cannot starve it; limits are judged
by a `Tick` only: a process that stood still takes what came before it ends a call. The rows are protocol.md's, section 2.

The caller (`calls.actor`, or a replay) carries out the effects in order. `Close` comes once; what comes after it is only
accounted for, and its tickets answered, so that no handler which is still talking is left waiting.
"""

from typing import assert_never

from smartflo_bridge.core import incoming, outgoing, signals
from smartflo_bridge.core.commands import AwaitRoom, Command, HangUp, Interrupt, MuteRecording, PlaceMark, Play
from smartflo_bridge.core.effects import Close, Deliver, Effect, HandlerEvent, Notice, Send, Termination
from smartflo_bridge.core.incoming import IncomingEvent, MediaEvent
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.core.limits import Limits
from smartflo_bridge.core.muting import Muting
from smartflo_bridge.core.outbound import Outbound, Refusal
from smartflo_bridge.core.settings import HangUpWay, SendConnected, SessionSettings
from smartflo_bridge.core.signals import Signal
from smartflo_bridge.core.state import State
from smartflo_bridge.core.turns import Turns

Input = IncomingEvent | Command | Signal


class Session:
    """One stream, from the accepted connection to its end. `now` is in seconds since the first input, `Opened`."""

    def __init__(self, settings: SessionSettings) -> None:
        self.state = State.ACCEPTED
        self.stream_sid: str | None = None
        self.call_sid: str | None = None
        self._sids: tuple[str | None, ...] = (None,)  # under which its messages come: `start` may give two
        self.close: Close | None = None
        self.termination: Termination | None = None
        self.ledger = Ledger()
        self._settings = settings
        self._turns = Turns(self.ledger.note_turn)
        self.muting = Muting(self._turns)
        self._outbound = Outbound(settings, self.ledger, self._turns, self.muting)
        self._limits = Limits(settings, self.ledger)
        self._effects: list[Effect] = []
        self._refusal: Refusal | None = Refusal.BEFORE_START  # why nothing may be queued, while nothing may
        self._handler_is_done = False
        self.wake_at = 0.0  # a lower bound of `deadline`, which costs nothing: before then nothing falls due
        self._agent_is_lost = False

    @property
    def is_over(self) -> bool:
        """True once `Close` has been returned."""
        return self.state is State.STOPPED

    @property
    def is_hanging_up(self) -> bool:
        """True while what is queued is heard out before we end the call."""
        return self._refusal is Refusal.HANGING_UP

    @property
    def queued_bytes(self) -> int:
        """Outbound audio that is not yet due."""
        return self._outbound.queued_bytes

    @property
    def deadline(self) -> float | None:
        """When this session wants a `Tick`, if nothing else happens before; None once it is over."""
        due = min(self._limits.deadline(is_streaming=self.state is State.STREAMING), self._outbound.due)
        return None if self.is_over else due

    def handle(self, given: Input, now: float) -> list[Effect]:
        """Take one input at its time, and return everything that is to be done by now, in order."""
        effects: list[Effect] = []
        self._effects = effects
        if self.state is State.STOPPED:
            return self._account_after_end(given, now)
        if isinstance(given, MediaEvent):  # the most frequent first
            self._take_media(given, now)
        elif isinstance(given, Play):
            effects += self._outbound.play(given, now, self._refusal)
        else:
            self._take_rarer(given, now)
            self._keep_time(now, is_tick=isinstance(given, signals.Tick))
            return effects
        self.wake_at = min(self._outbound.due, self._limits.due)
        if now >= self.wake_at:
            self._keep_time(now, is_tick=False)
        return effects

    def _take_rarer(self, given: Input, now: float) -> None:
        match given:
            case signals.Tick():
                pass
            case MuteRecording(is_muted=is_muted):
                self.muting.mute(now, is_muted=is_muted)
            case signals.Undelivered():
                self.ledger.note_undelivered(given.byte_count, given.reason)
            case HangUp():
                self._say_goodbye(now)
            case Play() | PlaceMark() | AwaitRoom() | Interrupt():
                self._effects += self._outbound.obey(given, now, self._refusal)
            case incoming.UnknownEvent():
                self._hear(now)
                self._note("unknown_event", "an event of unknown type was ignored")
            case _ if isinstance(given, incoming.KnownEvent):
                self._take_event(given, now)
            case _:
                self._take_signal(given, now)

    # --- The platform's events

    def _hear(self, now: float, sequence_number: incoming.Counter = None) -> None:
        self._limits.hear(now)
        self.ledger.messages_in += 1
        self.ledger.note_sequence(sequence_number)

    def _take_media(self, event: MediaEvent, now: float) -> None:
        size = len(event.media.payload)
        self._limits.hear(now, size)
        ledger = self.ledger
        ledger.messages_in += 1
        ledger.note_sequence(event.sequence_number)
        ledger.received_bytes += size
        if self.state is not State.STREAMING:
            ledger.inbound_drops["before_start"] += size
        elif event.stream_sid not in self._sids:
            ledger.inbound_drops["foreign_stream"] += size
        elif size:
            self._turns.hear(self.muting.audio(event), now, event.media.timestamp)
            if self._handler_is_done:
                ledger.inbound_drops["handler_done"] += size
            else:
                ledger.delivered_bytes += size
                self._effects.append(Deliver(event))

    def _take_event(self, event: incoming.KnownEvent, now: float) -> None:
        self._hear(now, None if isinstance(event, incoming.ConnectedEvent) else event.sequence_number)
        match event:
            case incoming.ConnectedEvent():
                if self.state is State.ACCEPTED:
                    self.state = State.CONNECTED
            case incoming.StartEvent():
                self._start(event, now)
            case incoming.DTMFEvent() | incoming.MarkEvent():
                self._take_in_stream(event, now)
            case incoming.StopEvent():
                if self.state is State.STREAMING:
                    self._deliver(event)
                self._end(now, Close(self._ended_well, 1000, ""))
            case MediaEvent():
                self._take_media(event, now)
            case _:
                assert_never(event)

    def _start(self, event: incoming.StartEvent, now: float) -> None:
        sid = event.sid
        if self.state is State.STREAMING:
            if sid != self.stream_sid:
                self._note("second_start", "a start of another stream was ignored: one connection is one stream")
            return
        if sid is None:
            self._end(now, Close(Termination.PROTOCOL_ERROR, 1008, "start has no streamSid"))
            return
        if event.sids_differ:
            self._note("stream_sid_mismatch", "start names two streams; we answer under the outer streamSid")
        media_format = event.details.media_format
        if media_format is not None and not media_format.is_ulaw_8k:
            self._note("media_format", "start announces audio that is not mu-law at 8000 Hz; it is taken for mu-law")
        self.state = State.STREAMING
        self._refusal = None
        self.stream_sid = self._outbound.stream_sid = sid
        self._sids = event.sids
        self.call_sid = event.call_sid
        self._turns.begin(now)
        self._deliver(event)

    def _take_in_stream(self, event: incoming.DTMFEvent | incoming.MarkEvent, now: float) -> None:
        if self.state is not State.STREAMING:
            self.ledger.anomalies["before_start"] += 1
        elif event.stream_sid not in self._sids:
            self._note("foreign_stream", "a message for another stream was dropped")
        elif isinstance(event, incoming.DTMFEvent):
            self._turns.press(now)
            self._deliver(event)
        else:
            is_for_handler, effects = self._outbound.echo(event.name, now)
            self._effects += effects
            if is_for_handler:
                self._deliver(event)

    def _deliver(self, event: HandlerEvent) -> None:
        if not self._handler_is_done:
            self._effects.append(Deliver(event))

    # --- The handler's commands

    def _say_goodbye(self, now: float) -> None:
        """Let queued audio be heard, then hang up."""
        if self._refusal:
            return
        self._refusal = Refusal.HANGING_UP
        if self._outbound.is_idle(now):
            self._hang_up(now)
        else:
            self._outbound.place_farewell(now)

    def _hang_up(self, now: float) -> None:
        if self._settings.hang_up == HangUpWay.END:
            self._effects.append(Send(outgoing.EndEvent(self.stream_sid or "", self.call_sid or "")))
            self._limits.await_stop(now)
        else:
            self._end(now, Close(Termination.HUNG_UP, 1000, ""))

    # --- Signals and time

    def _take_signal(self, signal: Signal, now: float) -> None:
        match signal:
            case signals.Opened():
                self._open(now)
            case signals.Malformed(reason=reason):
                self._hear(now)
                self._note("malformed", reason)
                if self.ledger.anomalies["malformed"] > self._settings.bad_message_budget:
                    self._end(now, Close(Termination.PROTOCOL_ERROR, 1008, "too many malformed messages"))
            case signals.PeerLost(code=code, reason=reason):
                self._end(now, Close(self._termination_of(signal), code or 1006, reason))
            case signals.HandlerDone(failed=failed, agent_lost=agent_lost):
                self._handler_is_done = True
                if failed:
                    self._end(now, Close(Termination.HANDLER_FAILED, 1011, "the handler failed"))
                else:
                    self._agent_is_lost = agent_lost
                    self._say_goodbye(now)
            case signals.HandlerStuck():
                self._end(now, Close(Termination.LIMIT, 1011, "the handler takes no events"))
            case signals.Refused(reason=reason):
                self._end(now, Close(Termination.PROTOCOL_ERROR, 1008, reason))
            case _:
                self._end(now, Close(Termination.DRAINED, 1001, "shutting down"))

    def _open(self, now: float) -> None:
        if self._settings.send_connected == SendConnected.ALWAYS:
            self._effects.append(Send(outgoing.ConnectedEvent()))
        elif self._settings.send_connected == SendConnected.AUTO:
            self._limits.await_connected(now)

    def _termination_of(self, lost: signals.PeerLost) -> Termination:
        if lost.broke_protocol:
            return Termination.PROTOCOL_ERROR
        if lost.is_normal:
            return self._ended_well
        return Termination.HUNG_UP if self._limits.awaits_stop else Termination.PEER_LOST

    @property
    def _ended_well(self) -> Termination:
        return Termination.HUNG_UP if self._refusal is Refusal.HANGING_UP else Termination.COMPLETED

    def _keep_time(self, now: float, *, is_tick: bool) -> None:
        """Do what is due; limits wait for a tick, so that what came before it is taken before."""
        if self.is_over:
            return
        self._effects += self._outbound.release(now)
        if self._outbound.farewell_is_over and not self._limits.awaits_stop:
            self._hang_up(now)
        if now >= self._limits.due and (is_tick or self._limits.flood is not None) and not self.is_over:
            due = self._limits.fallen_due(now, is_streaming=self.state is State.STREAMING)
            if isinstance(due, Close):
                self._end(now, due)
            elif due is not None:
                self._effects.append(due)
        self.wake_at = min(self._outbound.due, self._limits.due)

    def _note(self, kind: str, text: str) -> None:
        self.ledger.anomalies[kind] += 1
        if self.ledger.anomalies[kind] == 1:
            self._effects.append(Notice(kind, text))

    def _end(self, now: float, close: Close) -> None:
        self._effects += self._outbound.close(now)
        self._turns.end()
        self.state = State.STOPPED
        self._refusal = Refusal.CALL_ENDED
        if self._agent_is_lost and close.termination is Termination.HUNG_UP:
            close = Close(Termination.AGENT_LOST, close.code, close.reason)
        self.close, self.termination = close, close.termination
        self._effects.append(close)

    def _account_after_end(self, given: Input, now: float) -> list[Effect]:
        """Count what still comes in, and let no asker wait."""
        match given:
            case MediaEvent():
                self.ledger.note_after_end(len(given.media.payload))
            case signals.Undelivered():
                self.ledger.note_undelivered(given.byte_count, given.reason)
            case MuteRecording(is_muted=is_muted):
                self.muting.mute(now, is_muted=is_muted)
            case Play() | PlaceMark() | AwaitRoom() | Interrupt():
                self._effects += [*self._outbound.obey(given, now, self._refusal), *self._outbound.release(now)]
        return self._effects
