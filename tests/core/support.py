"""What the core's tests share: messages as the platform writes them, and a driver that runs a session by its deadlines.

`Driver` answers with a transcript, one line an effect, so that a test reads like the talk it describes. It also checks
on the way what holds always: nothing is overdue, the lead is kept, `Close` is the last word.
"""

import base64
import json
from typing import Any

import msgspec

from smartflo_bridge.core import incoming, outgoing
from smartflo_bridge.core.commands import AwaitRoom, HangUp, Interrupt, PlaceMark, Play
from smartflo_bridge.core.effects import (
    Close,
    Deliver,
    Effect,
    InterruptOutcome,
    MarkOutcome,
    Notice,
    Reply,
    Room,
    Send,
)
from smartflo_bridge.core.incoming import IncomingEvent, parse_incoming_event
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Opened, Tick

SID = "MZ0a1"
OTHER_SID = "MZ0b2"
CALL_SID = "1758000000.4242"

EXACT_ENOUGH = 1e-9
"""Seconds: far below a sample (125 us), far above what floats lose in a day."""

MISSING: Any = object()
"""Stands for a member that is left out, where None is sent as null."""


def message(event: str, **members: object) -> bytes:
    """Return one message as the platform would write it, without the members that are `MISSING`."""
    return json.dumps(
        {"event": event, **{name: value for name, value in members.items() if value is not MISSING}}
    ).encode()


def start_message(
    sid: object = SID, inner_sid: object = MISSING, outside: dict[str, Any] | None = None, **details: object
) -> bytes:
    """Return a `start`: `sid` outside, `inner_sid` and the details inside `start`, `outside` beside it."""
    inner = {"streamSid": inner_sid, "callSid": CALL_SID, **details}
    inner = {name: value for name, value in inner.items() if value is not MISSING}
    return message("start", streamSid=sid, start=inner, **(outside or {}))


def connected() -> IncomingEvent:
    """Return the platform's greeting."""
    return parse_incoming_event(message("connected"))


def start(sid: object = SID, inner_sid: object = MISSING, **details: object) -> IncomingEvent:
    """Return a parsed `start`."""
    return parse_incoming_event(start_message(sid, inner_sid, **details))


def media(ulaw: bytes = b"\x11" * 800, sid: object = SID) -> IncomingEvent:
    """Return audio of the caller."""
    payload = base64.b64encode(ulaw).decode()
    return parse_incoming_event(message("media", streamSid=sid, media={"payload": payload}))


def dtmf(digit: str = "4", sid: object = SID) -> IncomingEvent:
    """Return a key press."""
    return parse_incoming_event(message("dtmf", streamSid=sid, dtmf={"digit": digit}))


def mark(name: str, sid: object = SID) -> IncomingEvent:
    """Return the platform's echo of a mark."""
    return parse_incoming_event(message("mark", streamSid=sid, mark={"name": name}))


def stop(sid: object = SID, reason: str = "caller ended the call") -> IncomingEvent:
    """Return the end of a stream."""
    return parse_incoming_event(message("stop", streamSid=sid, stop={"reason": reason}))


def speech(byte_count: int, first: int = 0) -> bytes:
    """Return mu-law bytes that all differ from their neighbours, and none of which is silence."""
    return (bytes(range(251)) * (byte_count // 251 + 2))[first % 251 :][:byte_count]


def line(effect: Effect) -> str:
    """Say an effect in one line of a transcript."""
    match effect:
        case Send(event=event):
            return _sent(event)
        case Deliver(event=incoming.DTMFEvent() as event):
            return f"deliver dtmf {event.digit}"
        case Deliver(event=incoming.MarkEvent() as event):
            return f"deliver mark {event.name}"
        case Deliver(event=event):
            return f"deliver {type(event).__name__.removesuffix('Event').lower()}"
        case Reply(ticket=ticket, outcome=MarkOutcome() as outcome):
            return f"reply {ticket}: {outcome.name} {outcome.result} {outcome.heard_ms} ms"
        case Reply(ticket=ticket, outcome=InterruptOutcome() as outcome):
            return f"reply {ticket}: heard {outcome.heard_ms} ms, dropped {outcome.dropped_ms} ms"
        case Reply(ticket=ticket, outcome=Room()):
            return f"reply {ticket}: room"
        case Notice(kind=kind):
            return f"notice {kind}"
        case Close(termination=termination, code=code):
            return f"close {termination} {code}"
    raise AssertionError(effect)


def _sent(event: outgoing.OutgoingEvent) -> str:
    match event:
        case outgoing.ConnectedEvent():
            return "connected"
        case outgoing.MediaEvent():
            return f"media {event.media.chunk}: {len(event.media.payload)}"
        case outgoing.MarkEvent():
            return f"mark {event.mark.name}"
        case outgoing.ClearEvent():
            return "clear"
        case outgoing.EndEvent():
            return f"end {event.stream_sid} {event.call_sid}"


class Platform:
    """The far end's playout clock. Unrealistic: no latency, and its clock runs exactly as fast as ours."""

    def __init__(self) -> None:
        self.dry_at = 0.0

    def take(self, event: outgoing.OutgoingEvent, now: float) -> None:
        """Play audio behind what is buffered; forget the buffer at a `clear`."""
        if isinstance(event, outgoing.MediaEvent):
            self.dry_at = max(self.dry_at, now) + len(event.media.payload) / 8000
        elif isinstance(event, outgoing.ClearEvent):
            self.dry_at = min(self.dry_at, now)

    def ahead(self, now: float) -> float:
        """Return how many seconds of audio are buffered."""
        return max(0.0, self.dry_at - now)


class Driver:
    """One session with its clock, and all that it has done. `give` what happens; `run` along the deadlines."""

    def __init__(self, **settings: object) -> None:
        self.settings = msgspec.convert(settings, SessionSettings)
        self.session = Session(self.settings)
        self.platform = Platform()
        self.now = 0.0
        self.effects: list[Effect] = []
        self.audio = b""
        self.greeting = self.give(Opened())

    def give(self, *inputs: Input) -> list[str]:
        """Let these inputs happen now, in order; return the transcript of what the session did about them."""
        return [line(effect) for given in inputs for effect in self._handle(given)]

    def run(self, until: float) -> list[str]:
        """Tick at each deadline up to and including `until`; return the transcript, each line with its time."""
        lines = []
        while (due := self.session.deadline) is not None and due <= until + EXACT_ENOUGH:
            self.now = due
            lines += [f"{due:.3f} {said}" for said in self.give(Tick())]
        self.now = max(self.now, until)
        return lines

    def oversleep(self, until: float) -> None:
        """Let time pass, whatever is due."""
        self.now = until

    def play(self, ulaw: bytes, epoch: int = 0) -> list[str]:
        """Play audio as a handler would."""
        return self.give(Play(ulaw, epoch))

    def audio_before(self, name: str) -> bytes:
        """Return the audio sent before the mark of this name."""
        sent = [effect.event for effect in self.effects if isinstance(effect, Send)]
        marks = [event.mark.name if isinstance(event, outgoing.MarkEvent) else None for event in sent]
        before = sent[: marks.index(name)]
        return b"".join(event.media.payload for event in before if isinstance(event, outgoing.MediaEvent))

    def _handle(self, given: Input) -> list[Effect]:
        was_over = self.session.is_over
        effects = self.session.handle(given, self.now)
        self._check_deadlines(given)
        assert not was_over or all(isinstance(effect, Reply) for effect in effects), "more than answers after the end"
        closes = [effect for effect in effects if isinstance(effect, Close)]
        assert closes == ([effects[-1]] if self.session.is_over and not was_over else []), "Close is the last, once"
        for effect in effects:
            if isinstance(effect, Send):
                self.platform.take(effect.event, self.now)
                if isinstance(effect.event, outgoing.MediaEvent):
                    self.audio += effect.event.media.payload
        assert self.platform.ahead(self.now) <= self.settings.lead_seconds + EXACT_ENOUGH, "ahead of the lead"
        self.effects += effects
        return effects

    def _check_deadlines(self, given: Input) -> None:
        """Nothing is overdue after a tick; after anything else, no audio is: limits wait for the tick."""
        session = self.session
        if not session.is_over:
            due = session.deadline if isinstance(given, Tick) else session._outbound.due
            assert due is None or due > self.now, "something is overdue"


def streaming(**settings: object) -> Driver:
    """Return a driver whose stream has just started, at 0 s."""
    driver = Driver(**settings)
    driver.give(start())
    return driver


def play(ulaw: bytes, epoch: int = 0) -> Play:
    """Return a command to play."""
    return Play(ulaw, epoch)


def place(ticket: int, name: str | None = None) -> PlaceMark:
    """Return a command to place a mark."""
    return PlaceMark(ticket, name)


def room(ticket: int) -> AwaitRoom:
    """Return a command to wait for room."""
    return AwaitRoom(ticket)


def interrupt(ticket: int = 0) -> Interrupt:
    """Return a command to interrupt."""
    return Interrupt(ticket)


HANG_UP = HangUp()
