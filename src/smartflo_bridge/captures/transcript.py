"""A capture read once, and sorted: what the caller sent when, what we sent, every other message in its words.

The fold under `story`: it decodes each record, lets `playback`, `turns` and both folds of `rules` follow the call, and keeps what the picture
shows. A message that is not audio is kept as text, cut where it is absurdly long; a message of audio as its numbers.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from smartflo_bridge.captures.format import Header, Record
from smartflo_bridge.captures.playback import Playback
from smartflo_bridge.captures.rules import OurRules, PlatformRules
from smartflo_bridge.captures.turns import WireTurns
from smartflo_bridge.core import incoming, outgoing
from smartflo_bridge.core.commands import Command, HangUp, MuteRecording, PlaceMark, Play
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import DECODE_ERRORS, parse_incoming_event
from smartflo_bridge.core.muting import MUTED_DIGIT
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
    """The caller pressed a key, `?` while the call was muted; `message` is its index in what was said."""

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
        self.platform = PlatformRules()
        self.ours = OurRules()
        self.turns = WireTurns()
        self.start: incoming.StartEvent | None = None
        self.stop_reason: str | None = None
        self.peer_lost: PeerLost | None = None
        self.termination: str | None = None
        self.close_code: int | None = None
        self.ledger: dict[str, Any] | None = None
        self.ended_ns = 0
        for record in records:
            self.ended_ns = max(self.ended_ns, record.t)
            self._take(record)
        self._end()

    def _end(self) -> None:
        self.playback.end(self.ended_ns)
        self.turns.end()
        # A connection that the platform closed, or made us close, has no code of ours to be judged.
        is_ours = self.peer_lost is None and self.termination != Termination.PROTOCOL_ERROR
        self.ours.end(self.ended_ns, self.close_code if is_ours else None)

    def _take(self, record: Record) -> None:
        wire = record.wire
        self.ours.advance(record.t)
        if record.dir == "in" and wire is not None:
            self._hear(record.t, wire)
        elif record.dir == "out" and wire is not None:
            self._send(record.t, wire)
        elif record.command is not None:
            self._obey(record.t, record.command)
        elif record.signal is not None:
            self._signal(record.t, record.signal)
        elif record.dir == "end":
            self.termination, self.close_code, self.ledger = record.termination, record.code, record.ledger

    # --- The platform's messages

    def _hear(self, at_ns: int, wire: bytes) -> None:
        try:
            event = parse_incoming_event(wire)
        except ProtocolError as error:
            self.platform.hear_malformed(at_ns, str(error), self._keep(at_ns, Speaker.PLATFORM, "malformed", wire))
            return
        self.turns.hear(event, at_ns / 1e9)
        if isinstance(event, incoming.MediaEvent):
            self.platform.hear(at_ns, event)
            self._hear_media(at_ns, event)
            return
        message = self._keep(at_ns, Speaker.PLATFORM, _KINDS[type(event)], wire)
        self.platform.hear(at_ns, event, message)
        match event:
            case incoming.DTMFEvent():
                self.keys.append(Key(at_ns, "?" if event.digit == MUTED_DIGIT else event.digit, message))
            case incoming.MarkEvent():
                if self.playback.marks.echo(at_ns, event.name, message):
                    self.ours.echo(at_ns, event.name)
                else:
                    self.platform.hear_unknown_mark(at_ns, message)
            case incoming.StartEvent() if self.start is None:
                self.start = event
                if event.sid is not None:
                    self.ours.start(at_ns, event.sid)
            case incoming.StopEvent():
                self.stop_reason = event.reason or ""
                self.ours.stop(at_ns)
            case _:
                pass

    def _hear_media(self, at_ns: int, event: incoming.MediaEvent) -> None:
        if not event.ulaw or self.start is None or event.stream_sid not in self.start.sids:
            return
        media = event.media
        numbers = (_number(event.sequence_number), _number(media.chunk), _number(media.timestamp))
        self.arrivals.append(Arrival(at_ns, event.ulaw, *numbers))

    # --- Ours

    def _send(self, at_ns: int, wire: bytes) -> None:
        try:
            event = _outgoing.decode(wire)
        except DECODE_ERRORS:
            self.ours.say(at_ns, wire, self._keep(at_ns, Speaker.US, "malformed", wire))
            return
        if isinstance(event, outgoing.MediaEvent):
            self.ours.say(at_ns, wire, None)
            self.playback.send(at_ns, event.media.payload, event.media.chunk)
            self.turns.say(event.media.payload, at_ns / 1e9)
            return
        message = self._keep(at_ns, Speaker.US, _OUR_KINDS[type(event)], wire)
        self.ours.say(at_ns, wire, message)
        match event:
            case outgoing.MarkEvent(mark=mark):
                self.playback.send_mark(at_ns, mark.name, message)
            case outgoing.ClearEvent():
                self.playback.clear(at_ns, message)
                self.turns.clear(at_ns / 1e9)
            case _:
                pass

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
            case MuteRecording(is_muted=is_muted):
                kind = "mute" if is_muted else "unmute"
                self._keep(at_ns, Speaker.BRIDGE, kind, msgspec.json.encode(command))
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

_OUR_KINDS: dict[type[outgoing.OutgoingEvent], str] = {
    outgoing.MarkEvent: "mark",
    outgoing.ClearEvent: "clear",
    outgoing.ConnectedEvent: "connected",
    outgoing.EndEvent: "end",
}

_outgoing: msgspec.json.Decoder[outgoing.OutgoingEvent] = msgspec.json.Decoder(outgoing.OutgoingEvent)


def _number(value: int | str | None) -> int:
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 16 else -1
    return -1 if value is None else min(value, 2**53)
