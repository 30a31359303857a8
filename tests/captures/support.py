"""What the tests of captures share: a call that is driven on numbers and captured as the actor would capture it."""

import base64
import re
from pathlib import Path

from core.support import SID, message, start_message
from smartflo_bridge.captures.file import create
from smartflo_bridge.captures.fold import fold, input_in
from smartflo_bridge.captures.format import (
    FORMAT_VERSION,
    Header,
    Record,
    encode_line,
    end_record,
    given_record,
    message_record,
    read_capture,
)
from smartflo_bridge.core.commands import Play
from smartflo_bridge.core.effects import Send
from smartflo_bridge.core.outgoing import encode_outgoing_event
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Opened, Tick

VOICE = bytes([0x10, 0x90]) * 400
"""100 ms at nearly full scale: speech to every detector."""

QUIET = b"\xff" * 800


class Captured:
    """A call that is driven on numbers, and its capture so far. Times are seconds.

    Unrealistic: the handler's half is whatever the test gives, and nobody echoes marks unless the test says so.
    """

    def __init__(self, **settings):
        self.header = Header(FORMAT_VERSION, "0.1.0", "2026-11-24T06:36:04Z", SessionSettings(**settings))
        self.session = Session(self.header.settings)
        self.records: list[Record] = []
        self.now = 0.0
        self.give(Opened())

    def say(self, text: bytes) -> None:
        """Let the platform send a message."""
        self._handle(message_record(self._ns, "in", text))

    def start(self, sid=SID, **details) -> None:
        """Let the stream start."""
        self.say(start_message(sid, **details))

    def give(self, given) -> None:
        """Give the session a command or a signal."""
        self._handle(given_record(self._ns, given))

    def run(self, seconds: float) -> None:
        """Let time pass, with the ticks that the session wants; each comes half a millisecond late, as a real one."""
        until = self.now + seconds
        while (due := self.session.deadline) is not None and due + 0.0005 <= until:
            self.now = max(due + 0.0005, self.now)
            self.give(Tick())
        self.now = until

    def end(self) -> None:
        """Write the last line."""
        self.records.append(end_record(self._ns, self.session))

    def write(self, file: Path) -> Path:
        """Write the capture; compressed if the name says so."""
        return write(file, self.header, self.records)

    @property
    def said(self) -> list[bytes]:
        """What the bridge said."""
        return [record.wire for record in self.records if record.dir == "out"]

    @property
    def _ns(self) -> int:
        return round(self.now * 1e9)

    def _handle(self, record: Record) -> None:
        given, muting = input_in(record), self.session.muting
        if record.dir == "in":
            self.records.append(message_record(record.t, "in", muting.message(record.wire, given)))
        else:
            self.records.append(given_record(record.t, muting.given(given)))
        for effect in self.session.handle(given, record.t / 1e9):
            if isinstance(effect, Send):
                self.records.append(message_record(record.t, "out", encode_outgoing_event(effect.shown)))


def minute_of_talk() -> Captured:
    """Return 60 s of audio both ways, at the platform's cadence."""
    call = Captured()
    call.start()
    for number in range(600):
        call.say(media_message(VOICE, number))
        call.give(Play(VOICE, 0))
        call.run(0.1)
    return call


def write(file: Path, header: Header, records) -> Path:
    """Write a capture."""
    stream = create(file)
    for value in (header, *records):
        stream.write(encode_line(value))
    stream.close()
    return file


def folded(file: Path):
    """Read a capture and fold it."""
    return fold(*read_capture(file))


def media_message(ulaw: bytes, number: int | None = None, sid=SID) -> bytes:
    """Return audio of the caller, as the platform writes it."""
    head = {} if number is None else {"sequenceNumber": str(number)}
    return message("media", **head, streamSid=sid, media={"payload": base64.b64encode(ulaw).decode()})


def form(text: str) -> str:
    """Return a text's form: its length and the class of each of its characters."""
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", text)))
