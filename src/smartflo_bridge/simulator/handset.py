"""The caller's half of a simulated call: what is said and pressed, and when. Pure: the other half is the line.

`release(now)` returns what has fallen due, `deadline` says when there is more. The caller's audio lies on one track, of
which each cadence cuts off the next piece: audio is sent when it has been spoken, never earlier. What the plan does not
know beforehand, because it answers what was heard, is added with `act`.
"""

import random
from collections import deque

import msgspec

from smartflo_bridge.core.audio import BYTES_PER_MS, SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.simulator.plan import (
    Action,
    CallPlan,
    FallSilent,
    HangUp,
    Mute,
    Press,
    ReadAt,
    SendRaw,
    Speak,
    StopReading,
)


class Utter(msgspec.Struct, frozen=True, gc=False):
    """One chunk of the caller's audio is complete. `delay_seconds` is how much later than that the plan has it sent."""

    at_seconds: float
    ulaw: bytes
    delay_seconds: float = 0.0

    @property
    def timestamp_ms(self) -> int:
        """Its time on the wire."""
        return round(self.at_seconds * 1000)


Deed = Press | StopReading | ReadAt | FallSilent | SendRaw | HangUp
Due = Utter | Deed

_TOLERANCE_SECONDS = 1e-6
"""A deadline that went through a timer is met, not missed."""


class Handset:
    """Says and presses what a plan wants, on an absolute clock: a late `release` returns all that is overdue.

    Args:
        plan: what is known beforehand.
        hangs_up: the plan's end is the call's end. Without it, a `HangUp` comes from the plan or through `act`.
    """

    def __init__(self, plan: CallPlan, *, hangs_up: bool = True) -> None:
        self._speech: list[tuple[int, bytes]] = []  # where on the track, and what: shared between calls, not copied
        self._said = 0  # so many of them are over
        self._mouth_free_at = 0  # where the track ends
        self._cadence_ms = plan.cadence_ms
        self._jitter_seconds = plan.jitter_seconds
        self._chance = random.Random(plan.seed)  # noqa: S311 - the same jitter each time, and no secret
        self._chunks = 0
        self._is_muted = False
        self._delay_seconds = self._next_delay(0.0)
        self._actions: deque[Deed | Mute] = deque()
        timed = sorted(plan.actions, key=lambda action: action.at_seconds)
        for action in timed:
            self.act(action)
        if hangs_up and not any(isinstance(action, HangUp) for action in timed):
            last = max([self._mouth_free_at / SAMPLE_RATE_HZ, *(action.at_seconds for action in timed)])
            self._actions.append(HangUp(last + plan.linger_seconds))

    @property
    def deadline(self) -> float:
        """When the next thing falls due."""
        return min(self._next_chunk_seconds, self._next_action_seconds)

    @property
    def spoken(self) -> bytes:
        """What the caller has said so far: mu-law, on the call's axis."""
        return self._cut(0, self._chunks * self._cadence_ms * BYTES_PER_MS)

    def act(self, action: Action) -> None:
        """Add what the caller or the platform does, at its time, or at once if that has passed."""
        if isinstance(action, Speak):
            start = max(self._mouth_free_at, round(action.at_seconds * SAMPLE_RATE_HZ))
            self._speech.append((start, action.ulaw))
            self._mouth_free_at = start + len(action.ulaw)
            return
        is_last = not self._actions or self._actions[-1].at_seconds <= action.at_seconds
        self._actions.append(action)
        if not is_last:
            self._actions = deque(sorted(self._actions, key=lambda one: one.at_seconds))

    def release(self, now: float) -> list[Due]:
        """Return what has fallen due by `now`, in its order. Call it no more once a `HangUp` came: that is always the last."""
        due: list[Due] = []
        while self.deadline <= now + _TOLERANCE_SECONDS:
            if self._next_chunk_seconds <= self._next_action_seconds:
                chunk = self._chunk()
                due += [] if self._is_muted else [chunk]
                continue
            action = self._actions.popleft()
            if isinstance(action, Mute):
                self._is_muted = action.is_muted
                continue
            due.append(action)
            if isinstance(action, HangUp):
                break
        return due

    @property
    def _next_chunk_seconds(self) -> float:
        return (self._chunks + 1) * self._cadence_ms / 1000 + self._delay_seconds

    @property
    def _next_action_seconds(self) -> float:
        return self._actions[0].at_seconds if self._actions else float("inf")

    def _next_delay(self, last: float) -> float:
        """Draw how late the next chunk is: by chance, but not so early that it would overtake the last one."""
        if not self._jitter_seconds:
            return 0.0
        return max(self._chance.random() * self._jitter_seconds, last - self._cadence_ms / 1000)

    def _chunk(self) -> Utter:
        self._chunks += 1
        length = self._cadence_ms * BYTES_PER_MS
        end = self._chunks * length
        ulaw = self._cut(end - length, end, self._said)
        self._said += sum(at + len(spoken) <= end for at, spoken in self._speech[self._said :])
        delay_seconds, self._delay_seconds = self._delay_seconds, self._next_delay(self._delay_seconds)
        return Utter(self._chunks * self._cadence_ms / 1000, ulaw, delay_seconds)

    def _cut(self, start: int, end: int, first: int = 0) -> bytes:
        """Return the track between two positions, silence where nothing is said; begin to look at the `first` entry."""
        track = bytearray()
        for at, ulaw in self._speech[first:]:
            piece = ulaw[max(start - at, 0) : max(end - at, 0)]
            if piece:
                track += SILENCE * (max(at - start, 0) - len(track)) + piece
        return bytes(track).ljust(end - start, SILENCE)
