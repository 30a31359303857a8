"""The caller's half of a simulated call: what is said and pressed, and when. Pure: the other half is the line.

`release(now)` returns what has fallen due, `deadline` says when there is more. The caller's audio lies on one track, of
which each cadence cuts off the next piece: audio is sent when it has been spoken, never earlier.
"""

from collections import deque

import msgspec

from smartflo_bridge.core.audio import BYTES_PER_MS, SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Press, Speak, StopReading


class Utter(msgspec.Struct, frozen=True, gc=False):
    """One chunk of the caller's audio is complete."""

    at_seconds: float
    ulaw: bytes

    @property
    def timestamp_ms(self) -> int:
        """Its time on the wire."""
        return round(self.at_seconds * 1000)


Due = Utter | Press | StopReading | HangUp

_TOLERANCE_SECONDS = 1e-6
"""A deadline that went through a timer is met, not missed."""


class Handset:
    """Says and presses what a plan wants, on an absolute clock: a late `release` returns all that is overdue."""

    def __init__(self, plan: CallPlan) -> None:
        self._track = bytearray()
        self._cadence_ms = plan.cadence_ms
        self._chunks = 0
        self._actions: deque[Press | StopReading | HangUp] = deque()
        timed = sorted(plan.actions, key=lambda action: action.at_seconds)
        for action in timed:
            if isinstance(action, Speak):
                self._speak(action)
            else:
                self._actions.append(action)
        if not any(isinstance(action, HangUp) for action in timed):
            last = max([len(self._track) / SAMPLE_RATE_HZ, *(action.at_seconds for action in timed)])
            self._actions.append(HangUp(last + plan.linger_seconds))

    @property
    def deadline(self) -> float:
        """When the next thing falls due."""
        return min(self._next_chunk_seconds, self._next_action_seconds)

    @property
    def spoken(self) -> bytes:
        """What the caller has said so far: mu-law, on the call's axis."""
        end = self._chunks * self._cadence_ms * BYTES_PER_MS
        return bytes(self._track[:end]).ljust(end, SILENCE)

    def release(self, now: float) -> list[Due]:
        """Return what has fallen due by `now`, in its order. Call it no more once a `HangUp` came: that is always the last."""
        due: list[Due] = []
        while self.deadline <= now + _TOLERANCE_SECONDS:
            if self._next_chunk_seconds <= self._next_action_seconds:
                due.append(self._chunk())
                continue
            due.append(self._actions.popleft())
            if isinstance(due[-1], HangUp):
                break
        return due

    @property
    def _next_chunk_seconds(self) -> float:
        return (self._chunks + 1) * self._cadence_ms / 1000

    @property
    def _next_action_seconds(self) -> float:
        return self._actions[0].at_seconds if self._actions else float("inf")

    def _speak(self, action: Speak) -> None:
        start = max(len(self._track), round(action.at_seconds * SAMPLE_RATE_HZ))
        self._track += SILENCE * (start - len(self._track)) + action.ulaw

    def _chunk(self) -> Utter:
        at_seconds = self._next_chunk_seconds
        length = self._cadence_ms * BYTES_PER_MS
        start = self._chunks * length
        self._chunks += 1
        return Utter(at_seconds, bytes(self._track[start : start + length]).ljust(length, SILENCE))
