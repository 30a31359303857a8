"""What the caller of a captured call said and did, to be said and done again by `player`.

All that the platform sent, but for the marks: those are echoed as the live server's audio is played. Ids are new unless
they are to be kept, because a server may know those of the capture: it may even be serving that call.
"""

import secrets
from collections.abc import Sequence

import msgspec

from smartflo_bridge.captures.format import CaptureError, Record
from smartflo_bridge.captures.json_text import Path, rewrite
from smartflo_bridge.captures.pseudonyms import Pseudonyms
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import MarkEvent, StartEvent, StopEvent, parse_incoming_event
from smartflo_bridge.core.signals import PeerLost

_IDS = {("streamSid",), ("start", "streamSid"), ("start", "callSid"), ("stop", "callSid")}


class Cue(msgspec.Struct, frozen=True):
    """One message and its time. `number_shift`: by how much its sequence number is too high, for the marks that are left out."""

    at_ns: int
    text: bytes
    number_shift: int
    is_stop: bool


class Hanging(msgspec.Struct, frozen=True):
    """The platform closed the connection, or dropped it without a word."""

    at_ns: int
    is_drop: bool


class Script(msgspec.Struct, frozen=True):
    """The cues in their order. `hanging`: how the platform ended the call, if not by `stop` or because we did."""

    cues: tuple[Cue, ...]
    stream_sid: str
    hanging: Hanging | None


def script_of(records: Sequence[Record], *, keeps_ids: bool) -> Script:
    """Return what the platform did in a capture.

    Raises:
        CaptureError: it said nothing.
    """
    pseudonyms = None if keeps_ids else Pseudonyms(secrets.token_bytes(32))
    cues: list[Cue] = []
    stream_sid = ""
    marks = 0
    for record in records:
        text = record.wire if record.dir == "in" else None
        if text is None:
            continue
        if pseudonyms is not None:
            text = _with_ids(text, pseudonyms)
        event = _parsed(text)
        if isinstance(event, MarkEvent):
            marks += 1
            continue
        if isinstance(event, StartEvent) and not stream_sid:
            stream_sid = event.sid or ""
        cues.append(Cue(record.t, text, marks, isinstance(event, StopEvent)))
    if not cues:
        msg = "the capture holds no message of the platform"
        raise CaptureError(msg)
    return Script(tuple(cues), stream_sid, _hanging(records, has_stop=any(cue.is_stop for cue in cues)))


def renumbered(text: bytes, shift: int) -> bytes:
    """Return a message with another sequence number, if it has one."""

    def replace(path: Path, value: str) -> str:
        return str(int(value) + shift) if path == ("sequenceNumber",) and value.isdecimal() else value

    return rewrite(text.decode(errors="surrogateescape"), value=replace, bare=replace).encode(errors="surrogateescape")


def started_in(record: Record) -> str | None:
    """Return the stream that a line's `start` names, "" if it names none; None for any other line."""
    text = record.wire if record.dir == "in" else None
    event = None if text is None else _parsed(text)
    return (event.sid or "") if isinstance(event, StartEvent) else None


def _with_ids(text: bytes, pseudonyms: Pseudonyms) -> bytes:
    def replace(path: Path, value: str) -> str:
        return pseudonyms.of(value) if path in _IDS else value

    whole = text.decode(errors="surrogateescape")
    return rewrite(whole, value=replace, bare=lambda _, bare: bare).encode(errors="surrogateescape")


def _parsed(text: bytes) -> object:
    try:
        return parse_incoming_event(text)
    except ProtocolError:
        return None


def _hanging(records: Sequence[Record], *, has_stop: bool) -> Hanging | None:
    """Return how the platform ended the call. That the connection is gone is told after our own close as well."""
    lost = next(((record.t, record.signal) for record in records if isinstance(record.signal, PeerLost)), None)
    ended = next((record.termination for record in reversed(records) if record.dir == "end"), None)
    if lost is None or has_stop or ended not in (Termination.COMPLETED, Termination.PEER_LOST):
        return None
    at_ns, signal = lost
    return Hanging(at_ns, signal.code is None)
