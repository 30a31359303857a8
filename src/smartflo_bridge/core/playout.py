"""Playout: queued audio and marks, released at their due time, and what the caller has heard of them.

The platform plays what it gets at once, in real time, and its buffer is unpublished. So audio is sent a bounded `lead`
ahead of real time: enough to cover jitter, little enough for an interrupt to bite. The clock is absolute: audio sent
since the playout began, in bytes, tells when the platform will run dry (`horizon`). Nothing adds up rounding or drifts.

After a stall the timeline restarts at `now`: the caller hears all of the audio, later. Skipping some to catch up would
garble speech, and a burst to catch up would break the bound of the lead.

This module knows nothing of epochs' owners, tickets' meaning or the wire; `session` does.
"""

import msgspec

from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ, SILENCE

TAIL_SECONDS = 0.2
"""How long a remainder below one frame waits for more before it is padded: two of the platform's 100 ms chunks, so that
a live source which delivers odd lengths at the platform's own cadence is never padded inside speech."""


MAX_UTTERANCES = 8
"""Beyond so many, those that have been heard are forgotten even if nobody asks about them."""


class QueuedMark(msgspec.Struct, frozen=True):
    """A mark at a place in the audio. Positions count bytes since the call began; `ticket` None is the session's own."""

    ticket: int | None
    name: str
    utterance_start: int
    position: int


class Cleared(msgspec.Struct, frozen=True):
    """What an interrupt dropped: bytes never sent, bytes sent and not played any more, and what was heard of the utterance."""

    dropped_bytes: int
    heard_ms: int
    in_flight_bytes: int


class Playout:
    """The outbound audio of one call. `release` whenever the time is known; nothing is due between calls before `deadline`.

    Args:
        lead_seconds: how far ahead of real time audio may be sent.
        packet_bytes: the most audio in one release, a multiple of a frame. It must fit into the lead.
    """

    def __init__(self, lead_seconds: float, packet_bytes: int) -> None:
        self._lead = lead_seconds
        self._packet_bytes = packet_bytes
        self._audio = bytearray()
        self._marks: list[QueuedMark] = []  # few, and most calls have none: a deque begins with 600 bytes
        self._released = 0  # bytes sent since the call began
        self._began = 0.0  # when, and at which position, the platform last began to play
        self._began_position = 0
        self.horizon = 0.0  # when the platform will have played everything released so far
        self._utterances = [0]  # start positions; the first is the one being heard, or the last that was
        self._reached = 0  # no earlier than here, as the platform's mark echoes show
        self._fed = 0.0  # when audio was queued last
        self._promised: float | None = None  # when the audio left in the queue falls due
        self.worst_lateness_seconds = 0.0
        self.gaps = 0
        self.padding_bytes = 0

    @property
    def queued_bytes(self) -> int:
        """Audio not yet released."""
        return len(self._audio)

    @property
    def end(self) -> int:
        """The position behind all audio queued so far."""
        return self._released + len(self._audio)

    @property
    def queued_marks(self) -> list[QueuedMark]:
        """Marks not yet released."""
        return list(self._marks)

    @property
    def deadline(self) -> float | None:
        """When `release` has something to do next, or None."""
        if not self._audio:
            return None
        due = self._due(self._packet_bytes)
        return self._tail_due if due is None else due

    @property
    def _tail_due(self) -> float | None:
        """When a remainder that nothing follows is filled up: not before the platform runs dry."""
        return max(self.horizon, self._fed + TAIL_SECONDS) if 0 < len(self._audio) < FRAME_BYTES else None

    def is_idle(self, now: float) -> bool:
        """Return True if nothing is queued and the platform has played all it was sent."""
        return not self._audio and not self._marks and self.horizon <= now

    def enqueue(self, ulaw: bytes, now: float) -> None:
        """Queue audio of any length behind what is queued already."""
        if not ulaw:
            return
        if self.is_idle(now):
            self._utterances = [self._released]
        self._audio += ulaw
        self._fed = now

    def place(self, ticket: int | None, name: str) -> None:
        """Queue a mark behind the audio queued so far. It ends the utterance, so the last frame is filled up first."""
        self.finish()
        self._marks.append(QueuedMark(ticket, name, self._utterances[-1], self.end))
        self._begin_utterance()

    def finish(self) -> None:
        """End the utterance: fill its last frame with silence."""
        missing = -len(self._audio) % FRAME_BYTES
        self._audio += SILENCE * missing
        self.padding_bytes += missing

    def clear(self, now: float) -> Cleared:
        """Drop everything queued, and forget what the platform still holds: the timeline restarts."""
        self._note_lateness(now)
        in_flight = self._released - self.played_bytes(now)
        cleared = Cleared(len(self._audio), self.heard_ms(now), in_flight)
        self._audio.clear()
        self._marks.clear()
        self._utterances = [self._released]
        self._reached = self._released
        self.horizon = 0.0
        self._promised = None
        return cleared

    def release(self, now: float) -> list[bytes | QueuedMark]:
        """Return what is due by `now`, in order: audio of n x 160 bytes, and marks right behind their audio."""
        out: list[bytes | QueuedMark] = []
        if not self._audio and not self._marks:
            return out
        self._note_lateness(now)
        while True:
            if self._marks and self._marks[0].position == self._released:
                out.append(self._marks.pop(0))
            elif packet := self._packet(now):
                out.append(packet)
            elif (tail_due := self._tail_due) is not None and tail_due <= now:
                self.finish()
            else:
                break
        self._promised = self._due(self._packet_bytes) if self._audio else None
        if len(self._utterances) > MAX_UTTERANCES:
            self._forget_before(self.played_bytes(now))
        return out

    def heard_ms(self, now: float) -> int:
        """Return how much of the utterance being played, or played last, the caller has heard."""
        position = self.played_bytes(now)
        self._forget_before(position)
        return (position - self._utterances[0]) // BYTES_PER_MS

    def heard_ms_before(self, mark: QueuedMark, now: float) -> int:
        """Return how much of the audio that belongs to a mark the caller has heard."""
        heard = min(self.played_bytes(now), mark.position) - mark.utterance_start
        return max(heard, 0) // BYTES_PER_MS

    def played_bytes(self, now: float) -> int:
        """Return the position that the caller has reached, by our clock and by the marks echoed so far.

        Latency to the platform cancels out: it delays what the caller hears and the `clear` alike.
        """
        ahead = max(0, round((self.horizon - now) * SAMPLE_RATE_HZ))
        return max(self._released - ahead, self._reached)

    def reach(self, mark: QueuedMark) -> None:
        """Note that the platform has echoed a mark, so all audio before it has been played."""
        self._reached = max(self._reached, mark.position)
        self._forget_before(self._reached)

    def _forget_before(self, position: int) -> None:
        """Let the first utterance be the one at `position`; a finished one stays until there is audio behind it."""
        while len(self._utterances) > 1 and self._utterances[1] <= position and self._utterances[1] < self.end:
            del self._utterances[0]

    def _begin_utterance(self) -> None:
        if self._utterances[-1] != self.end:
            self._utterances.append(self.end)

    def _available(self, limit: int) -> int:
        """Return how many bytes, in whole frames, the next packet would have."""
        size = min(limit, len(self._audio))
        if self._marks:
            size = min(size, self._marks[0].position - self._released)
        return size - size % FRAME_BYTES

    def _due(self, limit: int) -> float | None:
        """Return when the next packet may leave without exceeding the lead; None if no whole frame is queued."""
        size = self._available(limit)
        return self.horizon + size / SAMPLE_RATE_HZ - self._lead if size else None

    def _packet(self, now: float) -> bytes | None:
        """Take the next packet if it is due. The first of a playout is one frame, so that it begins as early as can be."""
        is_dry = self.horizon <= now
        size = self._available(FRAME_BYTES if is_dry else self._packet_bytes)
        if not size or self.horizon + size / SAMPLE_RATE_HZ - self._lead > now:
            return None
        if is_dry:
            self._began, self._began_position = now, self._released
        packet = bytes(self._audio[:size]) if size < len(self._audio) else bytes(self._audio)
        del self._audio[:size]
        self._released += size
        self.horizon = self._began + (self._released - self._began_position) / SAMPLE_RATE_HZ
        return packet

    def _note_lateness(self, now: float) -> None:
        if self._promised is None or now <= self._promised:
            return
        self.worst_lateness_seconds = max(self.worst_lateness_seconds, now - self._promised)
        self.gaps += now > self.horizon
