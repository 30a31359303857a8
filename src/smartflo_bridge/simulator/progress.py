"""What can be told about a simulated call while it runs: one frozen struct a kind, each with its time.

`at_seconds` counts from the sending of `start`, which is the zero of every time axis of the simulator. The line returns
some of these, the caller adds the others; whoever shows or judges a call dispatches on them with `match`.
"""

from enum import StrEnum

import msgspec

from smartflo_bridge.simulator.rules import Fault, Violation


class EndedBy(StrEnum):
    """Who ended a call."""

    CALLER = "caller"
    BRIDGE = "bridge"
    LOST = "lost"
    """The connection died without a word from either."""


class FirstAudio(msgspec.Struct, frozen=True):
    """The first audio of the bridge has arrived."""

    at_seconds: float


class MarkPlaced(msgspec.Struct, frozen=True):
    """A mark of the bridge has arrived."""

    at_seconds: float
    name: str


class MarkEchoed(msgspec.Struct, frozen=True):
    """A mark was reached, or cleared: it is to be echoed now."""

    at_seconds: float
    name: str


class Cleared(msgspec.Struct, frozen=True):
    """The bridge emptied the buffer. `dropped_seconds` is the audio that the caller will not hear."""

    at_seconds: float
    dropped_seconds: float


class EndAsked(msgspec.Struct, frozen=True):
    """The bridge hangs up by `end`."""

    at_seconds: float


class FaultSeen(msgspec.Struct, frozen=True):
    """The bridge broke a rule of the wire: the line's word to the referee, who makes a violation of it."""

    at_seconds: float
    fault: Fault


Heard = FirstAudio | MarkPlaced | MarkEchoed | Cleared | EndAsked
LineProgress = Heard | FaultSeen


class Answered(msgspec.Struct, frozen=True):
    """The connection is open and `start` is sent."""

    at_seconds: float


class KeyPressed(msgspec.Struct, frozen=True):
    """The caller pressed a key."""

    at_seconds: float
    digit: str


class AudioPassed(msgspec.Struct, frozen=True):
    """One cadence of audio, ending now: what the caller said and what the caller heard, both mu-law."""

    at_seconds: float
    spoken: bytes
    heard: bytes


class CallOver(msgspec.Struct, frozen=True):
    """The call has ended; the connection may still have to be closed."""

    at_seconds: float
    ended_by: EndedBy


Progress = Heard | Answered | KeyPressed | AudioPassed | Violation | CallOver
