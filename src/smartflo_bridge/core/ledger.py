"""What became of every byte of audio and every message of a call: counted, so that nothing is lost unnoticed.

The session owns it. Two equations hold whenever a call is over, and tests check them everywhere:
received = delivered + dropped, and accepted + padding = sent + dropped, each drop by its reason. What is delivered here has been
handed to the delivery queue; what the handler was too slow for comes back as a drop.
"""

from collections import Counter

import msgspec

MAX_TURNS = 1024
"""Turns kept of a call: of more than an hour of quick talk. Those beyond are only counted."""


class Turn(msgspec.Struct, frozen=True):
    """The caller fell silent, and we answered: times of the session, in seconds. See `turns`."""

    fell_silent_at: float
    answered_at: float

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.answered_at - self.fell_silent_at


class Ledger(msgspec.Struct):
    """The counts of one call. Bytes are mu-law bytes: 8000 a second."""

    messages_in: int = 0
    received_bytes: int = 0
    delivered_bytes: int = 0
    inbound_drops: Counter[str] = msgspec.field(default_factory=Counter)
    accepted_bytes: int = 0
    sent_bytes: int = 0
    padding_bytes: int = 0
    outbound_drops: Counter[str] = msgspec.field(default_factory=Counter)
    marks_placed: int = 0
    marks: Counter[str] = msgspec.field(default_factory=Counter)
    anomalies: Counter[str] = msgspec.field(default_factory=Counter)
    worst_lateness_seconds: float = 0.0
    gaps: int = 0
    last_sequence: int | None = None
    turn_count: int = 0
    turns: list[Turn] = msgspec.field(default_factory=list)

    def note_turn(self, turn: Turn) -> None:
        """Enter an answer to the caller."""
        self.turn_count += 1
        if len(self.turns) < MAX_TURNS:
            self.turns.append(turn)

    def turn_seconds(self, percent: int) -> float | None:
        """Return what so many percent of the turns did not exceed (nearest rank); None without a turn."""
        ranked = sorted(turn.seconds for turn in self.turns)
        return ranked[max(0, -(-len(ranked) * percent // 100) - 1)] if ranked else None

    def note_sequence(self, number: int | str | None) -> None:
        """Count a gap in the platform's sequence numbers. Published samples have them, so it is never an error."""
        if number is None:
            return
        try:
            sequence = int(number)
        except ValueError:
            self.anomalies["bad_sequence_number"] += 1
            return
        if self.last_sequence is not None and sequence != self.last_sequence + 1:
            self.anomalies["sequence_gap"] += 1
        self.last_sequence = sequence

    def note_after_end(self, byte_count: int) -> None:
        """Count audio that came when the call was over."""
        self.messages_in += 1
        self.received_bytes += byte_count
        self.inbound_drops["after_end"] += byte_count

    def note_undelivered(self, byte_count: int, reason: str) -> None:
        """Count as dropped what was delivered and never reached the handler."""
        self.delivered_bytes -= byte_count
        self.inbound_drops[reason] += byte_count

    @property
    def balanced(self) -> bool:
        """True if no byte is unaccounted for. Only meaningful when nothing is queued any more."""
        inbound = self.delivered_bytes + self.inbound_drops.total()
        outbound = self.sent_bytes + self.outbound_drops.total()
        return inbound == self.received_bytes and outbound == self.accepted_bytes + self.padding_bytes
