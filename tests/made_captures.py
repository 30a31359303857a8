"""Makes captures without waiting: a session, a platform that echoes its marks, and numbers for time.

Unrealistic in that a message arrives the moment it is sent, and that nothing is ever late unless a test says so.
"""

import random
from importlib import resources
from pathlib import Path

import msgspec

from smartflo_bridge.captures.format import FORMAT_VERSION, Header, Record, encode_line, given_record, message_record
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.core.commands import Command, Interrupt, PlaceMark, Play
from smartflo_bridge.core.effects import Send
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import parse_incoming_event
from smartflo_bridge.core.outgoing import ClearEvent, MarkEvent, MediaEvent, OutgoingEvent, encode_outgoing_event
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Opened, PeerLost, Signal, Tick

SID = "MZ0a1"
CADENCE_BYTES = 800
STEP_SECONDS = 0.02
LOUD = bytes([0x10, 0x90])
"""Two samples at nearly full scale: speech with edges that are known to the sample."""


def loud(seconds: float) -> bytes:
    """Return speech, as far as an energy rule is concerned."""
    return LOUD * round(seconds * SAMPLE_RATE_HZ / 2)


class MadeCall:
    """One call from its first message on. Each method acts at `now`; `until` lets time pass."""

    def __init__(self, settings: SessionSettings | None = None, line_noise: bytes = SILENCE * CADENCE_BYTES) -> None:
        self.settings = settings or SessionSettings()
        self.session = Session(self.settings)
        self.records: list[Record] = []
        self.now = 0.0
        self.echoes_marks = True
        self._horizon = 0.0
        self._open: list[tuple[float, str]] = []  # marks to be echoed, and when
        self._line_noise = line_noise  # a multiple of the cadence: what is heard while the caller is silent
        self._voice = bytearray()
        self._sequence = 0
        self._chunks = 0
        self._ticket = 0
        self._epoch = 0
        self._cadence = 0
        self.give(Opened())
        self.message({"event": "connected"})

    # --- The caller

    def start(self, **details: object) -> "MadeCall":
        """Begin the stream, and with it the caller's audio."""
        self._cadence = int(self.now * 10)
        self.message({"event": "start", "streamSid": SID, "start": {"streamSid": SID, "callSid": "1.2", **details}})
        return self

    def says(self, ulaw: bytes) -> None:
        """Let the caller say something, from now on or when they have said what they are saying."""
        self._voice += ulaw

    def presses(self, digit: str) -> None:
        """Let the caller press a key."""
        self.message({"event": "dtmf", "streamSid": SID, "dtmf": {"digit": digit}})

    def message(self, event: dict[str, object]) -> None:
        """Send a message of the platform."""
        if event["event"] != "connected":
            self._sequence += 1
            event = {"sequenceNumber": str(self._sequence), **event}
        self.receive(msgspec.json.encode(event))

    def receive(self, text: bytes) -> None:
        """Send any text as the platform; malformed text reaches the capture only."""
        try:
            event = parse_incoming_event(text)
        except ProtocolError:
            self.records.append(message_record(self._now_ns, "in", text))
            return
        self.records.append(message_record(self._now_ns, "in", self.session.muting.message(text, event)))
        self._handle(event)

    def stop(self, reason: str = "caller ended the call") -> None:
        """End the stream, and the capture with it."""
        self.message({"event": "stop", "streamSid": SID, "stop": {"reason": reason}})
        self.give(PeerLost(1000))
        ledger = msgspec.to_builtins(self.session.ledger)
        self.records.append(Record(self._now_ns, "end", termination=str(self.session.termination), ledger=ledger))

    # --- The handler

    def plays(self, ulaw: bytes) -> None:
        """Let the handler queue audio."""
        self.give(Play(ulaw, self._epoch))

    def marks(self, name: str | None) -> None:
        """Let the handler place a mark."""
        self._ticket += 1
        self.give(PlaceMark(self._ticket, name))

    def interrupts(self) -> None:
        """Let the handler interrupt itself."""
        self._ticket += 1
        self._epoch += 1
        self.give(Interrupt(self._ticket))

    # --- Time

    def until(self, seconds: float) -> None:
        """Let time pass: the caller's audio comes, ours goes, marks come back."""
        step = round(self.now / STEP_SECONDS) + 1
        while step * STEP_SECONDS <= seconds + 1e-9:
            self._tick_until(step * STEP_SECONDS)
            self.now = step * STEP_SECONDS
            self._echo()
            if self.session.stream_sid and step * STEP_SECONDS * 10 >= self._cadence + 1 - 1e-9:
                self._cadence += 1
                self._say()
            step += 1
        self._tick_until(seconds)
        self.now = seconds

    def give(self, given: Command | Signal) -> None:
        """Give the session a command or a signal."""
        self.records.append(given_record(self._now_ns, self.session.muting.given(given)))
        self._handle(given)

    def send(self, text: bytes) -> None:
        """Put a message of ours into the capture that no session would send."""
        self.records.append(message_record(self._now_ns, "out", text))

    def header(self) -> Header:
        """Return the capture's header."""
        return Header(FORMAT_VERSION, "0.1.0", "2026-11-24T06:00:00Z", self.settings)

    def write(self, path: Path) -> Path:
        """Write the capture."""
        with path.open("wb") as out:
            out.write(encode_line(self.header()))
            out.writelines(map(encode_line, self.records))
        return path

    @property
    def _now_ns(self) -> int:
        return round(self.now * 1e9)

    def _tick_until(self, seconds: float) -> None:
        while (due := self.session.deadline) is not None and due <= seconds:
            self.now = max(due, self.now)
            self.give(Tick())

    def _say(self) -> None:
        ulaw = bytes(self._voice[:CADENCE_BYTES])
        del self._voice[:CADENCE_BYTES]
        at = self._chunks * CADENCE_BYTES % len(self._line_noise)
        ulaw += self._line_noise[at + len(ulaw) : at + CADENCE_BYTES]
        self._chunks += 1
        media = {"chunk": str(self._chunks), "timestamp": str(self._chunks * 100), "payload": ulaw}
        self.message({"event": "media", "streamSid": SID, "media": media})

    def _handle(self, given: Input) -> None:
        for effect in self.session.handle(given, self.now):
            if isinstance(effect, Send):
                self.send(encode_outgoing_event(effect.shown))
                self._take(effect.event)

    def _take(self, event: OutgoingEvent) -> None:
        match event:
            case MediaEvent():
                self._horizon = max(self._horizon, self.now) + len(event.media.payload) / SAMPLE_RATE_HZ
            case MarkEvent():
                self._open.append((max(self._horizon, self.now), event.mark.name))
            case ClearEvent():
                self._horizon = self.now
                self._open = [(self.now, name) for _, name in self._open]
            case _:
                pass

    def _echo(self) -> None:
        while self.echoes_marks and self._open and self._open[0][0] <= self.now + 1e-9:
            self.message({"event": "mark", "streamSid": SID, "mark": {"name": self._open.pop(0)[1]}})


def conversation(seconds: float) -> MadeCall:
    """Make a call of any length: recorded speech on a noisy line, answers, a barge-in and a key now and then."""
    rng = random.Random(7)
    noise = bytes(rng.choices(b"\xff\x7f\xfe\x7e\xfd\x7d\xfc\x7c", k=100 * CADENCE_BYTES))
    voice = (resources.files("smartflo_bridge.simulator") / "caller.ulaw").read_bytes()
    prompts = resources.files("smartflo_bridge.handlers") / "prompts"
    answers = [prompts.joinpath(f"{name}.ulaw").read_bytes() for name in ("menu", "goodbye", "greeting", "still-there")]
    call = MadeCall(line_noise=noise).start(**{"from": "+919812345678", "to": "918045671234"})
    number = 0
    while call.now < seconds - 20:
        number += 1
        length = rng.choice((8000, 16_000, 24_000))
        call.says(voice[16_000 : 16_000 + length])
        call.until(call.now + length / SAMPLE_RATE_HZ + rng.choice((0.4, 0.7, 1.1)))
        call.plays(answers[number % len(answers)])
        call.marks(f"u{number}")
        call.until(call.now + 2)
        if number % 3 == 0:
            call.says(voice[16_000:20_000])
            call.until(call.now + 0.3)
            call.interrupts()
        if number % 7 == 0:
            call.presses(rng.choice("0123456789*#"))
        call.until(call.now + rng.choice((4, 6, 9)))
    call.until(seconds)
    call.stop()
    return call
