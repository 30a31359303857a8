"""A capture read once, and sorted: what the caller sent when, what we sent, every other message in its words.

The fold under `story`: it decodes each record, lets `playback` and `rules` follow the call, and keeps what the picture
shows. A message that is not audio is kept as text, cut where it is absurdly long; a message of audio as its numbers.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from smartflo_bridge.captures.format import Header, Record
from smartflo_bridge.captures.playback import Playback
from smartflo_bridge.captures.rules import Rules
from smartflo_bridge.core import incoming, outgoing
from smartflo_bridge.core.commands import Command, HangUp, PlaceMark, Play
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import DECODE_ERRORS, parse_incoming_event
from smartflo_bridge.core.signals import Drained, HandlerDone, PeerLost, Refused, Signal

MAX_TEXT = 4000
"""Characters kept of one message; the longest that makes sense, a `start`, has some 500."""

MAX_SAID = 50_000
"""Messages kept that are not audio. An hour of pressing keys without a pause has 14,000."""


class Speaker(StrEnum):
    """Where a message came from; `bridge` stands for what happened inside."""

    PLATFORM = "platform"
    US = "us"
    BRIDGE = "bridge"


class Said(msgspec.Struct, frozen=True):
    """A message that is not audio, or a signal inside the bridge, in its own words."""

    at_ns: int
    speaker: Speaker
    kind: str
    text: str


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One audio message of the caller; a number that was not there, or is none, is -1."""

    at_ns: int
    ulaw: bytes
    sequence: int
    chunk: int
    timestamp: int


class Key(msgspec.Struct, frozen=True):
    """The caller pressed a key; `message` is its index in what was said."""

    at_ns: int
    digit: str
    message: int


class Transcript:
    """What a capture holds. `ended_ns` is its last moment, whether or not the call was over then."""

    def __init__(self, header: Header, records: Iterable[Record]) -> None:
        self.said: list[Said] = []
        self.arrivals: list[Arrival] = []
        self.keys: list[Key] = []
        self.playback = Playback(header.settings)
        self.rules = Rules()
        self.start: incoming.StartEvent | None = None
        self.stop_reason: str | None = None
        self.peer_lost: PeerLost | None = None
        self.termination: str | None = None
        self.ledger: dict[str, Any] | None = None
        self.ended_ns = 0
        for record in records:
            self.ended_ns = max(self.ended_ns, record.t)
            self._take(record)
        self.playback.end(self.ended_ns)

    def _take(self, record: Record) -> None:
        wire = record.wire
        if record.dir == "in" and wire is not None:
            self._hear(record.t, wire)
        elif record.dir == "out" and wire is not None:
            self._send(record.t, wire)
        elif record.command is not None:
            self._obey(record.t, record.command)
        elif record.signal is not None:
            self._signal(record.t, record.signal)
        elif record.dir == "end":
            self.termination, self.ledger = record.termination, record.ledger

    # --- The platform's messages

    def _hear(self, at_ns: int, wire: bytes) -> None:
        try:
            event = parse_incoming_event(wire)
        except ProtocolError as error:
            self.rules.hear_malformed(at_ns, str(error), self._keep(at_ns, Speaker.PLATFORM, "malformed", wire))
            return
        if isinstance(event, incoming.MediaEvent):
            self.rules.hear(at_ns, event)
            self._hear_media(at_ns, event)
            return
        message = self._keep(at_ns, Speaker.PLATFORM, _KINDS[type(event)], wire)
        self.rules.hear(at_ns, event, message)
        match event:
            case incoming.DTMFEvent():
                self.keys.append(Key(at_ns, event.digit, message))
            case incoming.MarkEvent():
                if not self.playback.marks.echo(at_ns, event.name, message):
                    self.rules.hear_unknown_mark(at_ns, message)
            case incoming.StartEvent():
                self.start = self.start or event
            case incoming.StopEvent():
                self.stop_reason = event.reason or ""
            case _:
                pass

    def _hear_media(self, at_ns: int, event: incoming.MediaEvent) -> None:
        sid = self.start.sid if self.start else None
        if not event.ulaw or event.stream_sid not in (None, sid):
            return
        media = event.media
        numbers = (_number(event.sequence_number), _number(media.chunk), _number(media.timestamp))
        self.arrivals.append(Arrival(at_ns, event.ulaw, *numbers))

    # --- Ours

    def _send(self, at_ns: int, wire: bytes) -> None:
        try:
            event = _outgoing.decode(wire)
        except DECODE_ERRORS:
            self.rules.say_malformed(at_ns, self._keep(at_ns, Speaker.US, "malformed", wire))
            return
        name = event.mark.name if isinstance(event, outgoing.MarkEvent) else ""
        self.rules.say(at_ns, event, mark_is_open=self.playback.marks.is_open(name))
        match event:
            case outgoing.MediaEvent():
                self.playback.send(at_ns, event.media.payload, event.media.chunk)
            case outgoing.MarkEvent():
                self.playback.send_mark(at_ns, name, self._keep(at_ns, Speaker.US, "mark", wire))
            case outgoing.ClearEvent():
                self.playback.clear(at_ns, self._keep(at_ns, Speaker.US, "clear", wire))
            case outgoing.ConnectedEvent():
                self._keep(at_ns, Speaker.US, "connected", wire)
            case outgoing.EndEvent():
                self._keep(at_ns, Speaker.US, "end", wire)

    # --- Inside

    def _obey(self, at_ns: int, command: Command) -> None:
        match command:
            case Play():
                self.playback.queue(len(command.ulaw), command.epoch)
            case PlaceMark():
                self.playback.place_mark(at_ns, command.name)
            case HangUp():
                self.playback.hang_up()
                self._keep(at_ns, Speaker.BRIDGE, "hang_up", msgspec.json.encode(command))
            case _:
                pass

    def _signal(self, at_ns: int, signal: Signal) -> None:
        if isinstance(signal, HandlerDone):
            self.playback.hang_up()
        elif isinstance(signal, PeerLost):
            self.peer_lost = signal
        if isinstance(signal, HandlerDone | PeerLost | Refused | Drained):
            text = msgspec.json.encode(signal)
            self._keep(at_ns, Speaker.BRIDGE, msgspec.json.decode(text)["type"], text)

    def _keep(self, at_ns: int, speaker: Speaker, kind: str, text: bytes) -> int:
        """Keep a message; return its index, or that of the last one kept if there is no room."""
        if len(self.said) < MAX_SAID:
            words = text[: 4 * MAX_TEXT].decode(errors="backslashreplace")
            self.said.append(Said(at_ns, speaker, kind, words if len(words) <= MAX_TEXT else f"{words[:MAX_TEXT]}..."))
        return len(self.said) - 1


_KINDS: dict[type[incoming.IncomingEvent], str] = {
    incoming.ConnectedEvent: "connected",
    incoming.StartEvent: "start",
    incoming.DTMFEvent: "dtmf",
    incoming.MarkEvent: "mark",
    incoming.StopEvent: "stop",
    incoming.UnknownEvent: "unknown",
}

_outgoing: msgspec.json.Decoder[outgoing.OutgoingEvent] = msgspec.json.Decoder(outgoing.OutgoingEvent)


def _number(value: int | str | None) -> int:
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 16 else -1
    return -1 if value is None else min(value, 2**53)
