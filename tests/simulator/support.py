"""What the simulator's tests share: messages of a far end, voices, and a referee with its line, by numbers for time."""

import audioop
import base64
import functools
import json
import random
from collections.abc import Iterable

from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.arrivals import arrival_of
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.referee import Referee, RefereeSettings
from smartflo_bridge.simulator.rules import Rule, Violation

SID = "MZ1"
FRAME = 160
SILENT = b"\xff"


def noise(frames: int) -> bytes:
    """Make so many frames of loud noise, never the same twice: no click, no PCM, no speech, no repetition."""
    return bytes(_CHANCE.choices(_LOUD_BYTES, k=FRAME * frames))


_CHANCE = random.Random(7)
_LOUD_BYTES = [*range(0x10, 0x30), *range(0x90, 0xB0)]


@functools.cache
def speech(seconds: float) -> bytes:
    """Return real speech: the IVR's prompts, one behind the other."""
    whole = b"".join(prompt(name) for name in ("greeting", "menu", "echo", "record", "still-there", "goodbye"))
    return whole[: int(seconds * 8000)]


@functools.cache
def caller_voice() -> bytes:
    """Return the simulator's own caller, who is another speaker."""
    return built_in_voice()


def slowed(ulaw: bytes, factor: float) -> bytes:
    """Return the audio as it sounds if its rate is taken for another: so many times slower."""
    pcm, _ = audioop.ratecv(audioop.ulaw2lin(ulaw, 2), 2, 1, 8000, int(8000 * factor), None)
    return audioop.lin2ulaw(pcm, 2)


def say(event: str, sid: str | None = SID, **members: object) -> str:
    """Word a message of the far end."""
    return json.dumps({"event": event, **({"streamSid": sid} if sid else {}), **members})


class FarEnd:
    """A far end before a referee: what it sends arrives the moment it is sent, and our own loop never stalls."""

    def __init__(self, settings: RefereeSettings | None = None, stalls: Iterable[tuple[float, float]] = ()) -> None:
        self.line = Line(SID)
        self.referee = Referee(settings or RefereeSettings())
        self.chunks = 0
        self._stalls = list(stalls)

    def stalled(self, start: float, end: float) -> float:
        """Say how long our loop did not run."""
        return sum(max(0.0, min(until, end) - max(since, start)) for since, until in self._stalls)

    def send(self, message: str | bytes, now: float) -> list[Violation]:
        """Send anything."""
        arrival = arrival_of(message)
        progress = self.line.take(arrival, now)
        return self.referee.hear(arrival, progress, now, self.line.buffered_bytes)

    def play(self, ulaw: bytes, now: float) -> list[Violation]:
        """Send audio, rightly numbered."""
        self.chunks += 1
        payload = base64.b64encode(ulaw).decode()
        return self.send(say("media", media={"payload": payload, "chunk": self.chunks}), now)

    def stream(self, ulaw: bytes, now: float, step: int = 800) -> float:
        """Send audio in real time from `now` on; return when it is over."""
        for at in range(0, len(ulaw), step):
            self.play(ulaw[at : at + step], now + at / 8000)
        return now + len(ulaw) / 8000

    def mark(self, name: str, now: float) -> list[Violation]:
        """Place a mark."""
        return self.send(say("mark", mark={"name": name}), now)

    def clear(self, now: float) -> list[Violation]:
        """Clear."""
        return self.send(say("clear"), now)

    def wait(self, now: float) -> list[Violation]:
        """Let time pass."""
        return self.referee.advance(self.line.advance(now), now, self.stalled)

    @property
    def broken(self) -> set[Rule]:
        """The rules that were broken so far."""
        return set(self.referee.broken)
