"""Our half of the talk: what the handler has asked to be played and marked, on its way to the platform.

Holds the playout, the marks, the epoch and their accounts, and turns them into effects. `session` decides whether the
stream is in a state to be spoken to; here it always is.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from smartflo_bridge.core import outgoing
from smartflo_bridge.core.audio import BYTES_PER_MS, SAMPLE_RATE_HZ, SILENCE, whole_frames
from smartflo_bridge.core.commands import AwaitRoom, Interrupt, PlaceMark, Play
from smartflo_bridge.core.effects import Effect, InterruptOutcome, MarkOutcome, MarkResult, Reply, Room, Send
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.core.marks import Marks
from smartflo_bridge.core.muting import Muting
from smartflo_bridge.core.playout import Cleared, Playout, QueuedMark
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.turns import Turns

MAX_PENDING_MARKS = 256
"""Marks queued or awaiting their echo; one more is discarded at once. Reliability, section 8."""


class Refusal(StrEnum):
    """Why nothing of the handler's may be queued; also the reason under which its audio is counted."""

    BEFORE_START = "before_start"
    HANGING_UP = "hanging_up"
    CALL_ENDED = "call_ended"


class Outbound:
    """Speech and marks of one stream. Each method that can make something due is followed by `release`."""

    def __init__(self, settings: SessionSettings, ledger: Ledger, turns: Turns, muting: Muting) -> None:
        packet_bytes = whole_frames(round(settings.packet_seconds * SAMPLE_RATE_HZ))
        self._playout = Playout(settings.lead_seconds, packet_bytes)
        self._marks = Marks()
        self._max_queue_bytes = 2 * round(settings.queue_seconds * SAMPLE_RATE_HZ)
        self._slack = settings.mark_slack_seconds
        self._queue_bytes = round(settings.queue_seconds * SAMPLE_RATE_HZ)
        self._ledger = ledger
        self._turns = turns
        self._muting = muting
        self._muted_until = 0  # what was queued while muted ends here, a position of the playout
        self._waiting_for_room: list[int] = []
        self._queued_names: set[str] = set()
        self._mark_number = 0
        self._chunk_number = 0
        self.stream_sid = ""
        self.epoch = 0
        self.farewell_is_over = False
        self.due = math.inf  # when audio, or a mark's time-out, falls due next, as the last release left it

    @property
    def queued_bytes(self) -> int:
        """Audio not yet released."""
        return self._playout.queued_bytes

    @property
    def room_bytes(self) -> int:
        """How much audio must leave the full queue before a handler is told: a second's, or half of a short queue."""
        return min(SAMPLE_RATE_HZ, self._queue_bytes // 2)

    def is_idle(self, now: float) -> bool:
        """Return True if the caller has heard all there is, and no mark is open."""
        return self._playout.is_idle(now) and not self._marks

    def obey(
        self, command: Play | PlaceMark | AwaitRoom | Interrupt, now: float, refusal: Refusal | None
    ) -> list[Effect]:
        """Do what the handler asks, or, where it is refused, account for it and answer all the same."""
        match command:
            case Play():
                return self.play(command, now, refusal)
            case PlaceMark(ticket=ticket, name=name):
                if refusal is None:
                    return self._place(ticket, name, now)
                return [Reply(ticket, MarkOutcome(name or "", MarkResult.DISCARDED, 0))]
            case AwaitRoom(ticket=ticket):
                self._waiting_for_room.append(ticket)
                return []
            case Interrupt(ticket=ticket):
                # While we hang up, the caller may well talk over the goodbye.
                if refusal in (None, Refusal.HANGING_UP):
                    return self._interrupt(ticket, now)
                return [Reply(ticket, InterruptOutcome(0, 0))]
            case _:
                assert_never(command)

    def play(self, command: Play, now: float, refusal: str | None) -> list[Effect]:
        """Queue audio, or count it as dropped: for the given reason, a stale epoch, or a queue twice as long as allowed.

        A handler waits for room between pieces of a second, so only one that does not wait meets the last.
        """
        size = len(command.ulaw)
        self._ledger.accepted_bytes += size
        if command.epoch != self.epoch:
            refusal = "interrupted"
        elif refusal is None and self._playout.queued_bytes + size > self._max_queue_bytes:
            refusal = "queue_full"
        if refusal is not None:
            self._ledger.outbound_drops[refusal] += size
            return []
        is_muted = self._muting.is_muted
        if not is_muted and (packets := self._playout.pass_on(command.ulaw, now)):
            return self._send(packets, size, now)
        self._playout.enqueue(command.ulaw, now)
        if is_muted:
            self._muted_until = self._playout.end
        self.due = self._due()
        return []

    def _place(self, ticket: int, name: str | None, now: float) -> list[Effect]:
        """Queue a mark under a name that is free, or discard it if too many are open."""
        self._ledger.marks_placed += 1
        free_name = self._free_name(name)
        if len(self._marks) + len(self._queued_names) >= MAX_PENDING_MARKS:
            return self._resolve(QueuedMark(ticket, free_name, 0, 0), MarkResult.DISCARDED, 0)
        self._queued_names.add(free_name)
        self._playout.place(ticket, free_name, now)
        return []

    def _interrupt(self, ticket: int, now: float) -> list[Effect]:
        """Begin a new epoch: drop the queue, clear the platform's buffer, resolve all marks as discarded."""
        cleared, effects = self._discard(now, "interrupted")
        self._turns.interrupt(now)
        self.epoch += 1
        unheard_bytes = cleared.dropped_bytes + cleared.in_flight_bytes
        outcome = InterruptOutcome(
            cleared.heard_ms, cleared.dropped_bytes // BYTES_PER_MS, unheard_bytes // BYTES_PER_MS
        )
        return [Send(outgoing.ClearEvent(self.stream_sid)), *effects, Reply(ticket, outcome)]

    def place_farewell(self, now: float) -> None:
        """Queue the session's own last mark; `farewell_is_over` when the audio before it has been heard, or dropped."""
        name = self._free_name("goodbye")
        self._queued_names.add(name)
        self._playout.place(None, name, now)

    def echo(self, name: str, now: float) -> tuple[bool, list[Effect]]:
        """Take the platform's echo of a mark; the first value is True if it resolves one of the handler's as played."""
        if self._marks.forget(name):
            return False, []
        mark = self._marks.echo(name)
        if mark is None:
            self._ledger.anomalies["unknown_mark"] += 1
            return False, []
        self._playout.reach(mark)
        return mark.ticket is not None, self._resolve(mark, MarkResult.PLAYED, self._playout.heard_ms_before(mark, now))

    def close(self, now: float) -> list[Effect]:
        """Give up what is queued and open: the call is over."""
        _, effects = self._discard(now, "call_ended")
        self._ledger.worst_lateness_seconds = self._playout.worst_lateness_seconds
        self._ledger.gaps = self._playout.gaps
        return effects

    def release(self, now: float) -> list[Effect]:
        """Return everything that is due: audio, marks, time-outs, and answers to those who waited for room."""
        playout = self._playout
        before = playout.released
        items = playout.release(now)
        effects: list[Effect] = self._send(items, playout.released - before, now) if items else []
        if self._marks.sent and self._marks.deadline <= now:
            for mark in self._marks.expire(now):
                effects += self._resolve(mark, MarkResult.TIMED_OUT, self._playout.heard_ms_before(mark, now))
        if self._waiting_for_room and self._playout.queued_bytes + self.room_bytes <= self._queue_bytes:
            effects += self._tell_room()
        self._ledger.padding_bytes = playout.padding_bytes
        self.due = self._due()
        return effects

    def _due(self) -> float:
        due = self._playout.due
        return min(due, self._marks.deadline) if self._marks.sent else due

    def _send(self, items: Sequence[bytes | QueuedMark], left: int, now: float) -> list[Effect]:
        """Say what has been released: so many bytes, which play without a break, up to the horizon; and marks."""
        effects: list[Effect] = []
        playout = self._playout
        for item in items:
            if isinstance(item, bytes):
                size = len(item)
                is_muted = self._muting.is_muted or playout.released - left < self._muted_until
                self._turns.speak(SILENCE * size if is_muted else item, playout.horizon - left / SAMPLE_RATE_HZ)
                left -= size
                self._chunk_number += 1
                self._ledger.sent_bytes += size
                media = outgoing.Media(item, self._chunk_number)
                effects.append(Send(outgoing.MediaEvent(self.stream_sid, media), is_muted))
            else:
                self._queued_names.discard(item.name)
                self._marks.add(item, max(playout.horizon, now) + self._slack)
                effects.append(Send(outgoing.MarkEvent(self.stream_sid, outgoing.Mark(item.name))))
        return effects

    def _discard(self, now: float, reason: str) -> tuple[Cleared, list[Effect]]:
        effects: list[Effect] = []
        for mark in [*self._marks.flush(), *self._playout.queued_marks]:
            effects += self._resolve(mark, MarkResult.DISCARDED, self._playout.heard_ms_before(mark, now))
        cleared = self._playout.clear(now)
        self._muted_until = 0
        self._queued_names.clear()
        if cleared.dropped_bytes:
            self._ledger.outbound_drops[reason] += cleared.dropped_bytes
        self._ledger.padding_bytes = self._playout.padding_bytes
        return cleared, effects + self._tell_room()

    def _tell_room(self) -> list[Effect]:
        tickets, self._waiting_for_room = self._waiting_for_room, []
        return [Reply(ticket, Room()) for ticket in tickets]

    def _resolve(self, mark: QueuedMark, result: MarkResult, heard_ms: int) -> list[Effect]:
        if mark.ticket is None:
            self.farewell_is_over = True
            return []
        self._ledger.marks[result] += 1
        return [Reply(mark.ticket, MarkOutcome(mark.name, result, heard_ms))]

    def _free_name(self, name: str | None) -> str:
        """Return a name that no echo can be mistaken for: the wanted one, or with a number behind it."""
        free = name or None
        while free is None or free in self._marks or free in self._queued_names:
            self._mark_number += 1
            free = f"{name}.{self._mark_number}" if name else f"m{self._mark_number}"
        return free
