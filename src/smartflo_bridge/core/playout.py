"""Playout: queued audio and marks, released at their due time, and what the caller has heard of them.

The platform plays what it gets at once, in real time, and its buffer is unpublished. So audio is sent a bounded `lead`
ahead of real time: enough to cover jitter, little enough for an interrupt to bite. The clock is absolute: audio sent
since the playout began, in bytes, tells when the platform will run dry (`horizon`). Nothing adds up rounding or drifts.

After a stall the timeline restarts at `now`: the caller hears all of the audio, later. Skipping some to catch up would
garble speech, and a burst to catch up would break the bound of the lead.

This module knows nothing of epochs' owners, tickets' meaning or the wire; `session` does.
"""

import math

import msgspec

from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_SECONDS, SAMPLE_RATE_HZ, SILENCE

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

    Attributes:
        released: the position behind all audio released so far.
        horizon: when the platform will have played it.
        due: when `release` has something to do next: with a packet, a mark, or a remainder; `inf` for never.
    """

    def __init__(self, lead_seconds: float, packet_bytes: int) -> None:
        self._lead = lead_seconds
        self._packet_bytes = packet_bytes
        self._audio = bytearray()
        self._marks: list[QueuedMark] = []  # few, and most calls have none: a deque begins with 600 bytes
        self.released = 0
        self._began = 0.0  # when, and at which position, the platform last began to play
        self._began_position = 0
        self.horizon = 0.0
        self._utterances = [0]  # start positions; the first is the one being heard, or the last that was
        self._reached = 0  # no earlier than here, as the platform's mark echoes show
        self._fed = 0.0  # when audio was queued last
        self._next_bytes = 0  # of the packet that leaves next, in whole frames
        self._promised = math.inf  # when it falls due
        self.due = math.inf
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
        return self.released + len(self._audio)

    @property
    def queued_marks(self) -> list[QueuedMark]:
        """Marks not yet released."""
        return list(self._marks)

    def is_idle(self, now: float) -> bool:
        """Return True if nothing is queued and the platform has played all it was sent."""
        return not self._audio and not self._marks and self.horizon <= now

    def enqueue(self, ulaw: bytes, now: float) -> None:
        """Queue audio of any length behind what is queued already."""
        if not ulaw:
            return
        if not self._audio and self.is_idle(now):
            self._utterances = [self.released]
        if now > self._promised:
            self._note_lateness(now)
        self._audio += ulaw
        self._fed = now
        self._plan(now)

    def pass_on(self, ulaw: bytes, now: float) -> list[bytes]:
        """Take audio that would leave at once and whole, as a live source's does; return its packets, none for any other.

        What follows is as after `enqueue` and `release`, for less than half of the work.
        """
        size = len(ulaw)
        if self._audio or self._marks or size % FRAME_BYTES or not 0 < size <= self._packet_bytes:
            return []
        packets = [ulaw]
        if self.horizon > now:
            if self.horizon + size / SAMPLE_RATE_HZ - self._lead > now:
                return []
        else:  # it is dry: see `_packet`
            if size > FRAME_BYTES:
                packets = [ulaw[:FRAME_BYTES], ulaw[FRAME_BYTES:]]
                if now + FRAME_SECONDS + len(packets[1]) / SAMPLE_RATE_HZ - self._lead > now:
                    return []
            self._utterances = [self.released]
            self._began, self._began_position = now, self.released
        self.released += size
        self.horizon = self._began + (self.released - self._began_position) / SAMPLE_RATE_HZ
        return packets

    def place(self, ticket: int | None, name: str, now: float) -> None:
        """Queue a mark behind the audio queued so far. It ends the utterance, so the last frame is filled up first."""
        if now > self._promised:
            self._note_lateness(now)
        self.finish()
        self._marks.append(QueuedMark(ticket, name, self._utterances[-1], self.end))
        self._begin_utterance()
        self._plan(now)

    def finish(self) -> None:
        """End the utterance: fill its last frame with silence."""
        missing = -len(self._audio) % FRAME_BYTES
        self._audio += SILENCE * missing
        self.padding_bytes += missing

    def clear(self, now: float) -> Cleared:
        """Drop everything queued, and forget what the platform still holds: the timeline restarts."""
        if now > self._promised:
            self._note_lateness(now)
        in_flight = self.released - self.played_bytes(now)
        cleared = Cleared(len(self._audio), self.heard_ms(now), in_flight)
        self._audio.clear()
        self._marks.clear()
        self._utterances = [self.released]
        self._reached = self.released
        self.horizon = 0.0
        self._plan(now)
        return cleared

    def release(self, now: float) -> list[bytes | QueuedMark]:
        """Return what is due by `now`, in order: audio of n x 160 bytes, and marks right behind their audio."""
        out: list[bytes | QueuedMark] = []
        if now > self._promised:
            self._note_lateness(now)
        while self.due <= now:
            if self._next_bytes:
                out.append(self._packet(now))
            elif self._marks and self._marks[0].position == self.released:
                out.append(self._marks.pop(0))
            else:  # what nothing follows
                self.finish()
            self._plan(now)
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
        return max(self.released - ahead, self._reached)

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

    def _plan(self, now: float) -> None:
        """Work out what leaves next, and when: a packet as soon as it does not exceed the lead."""
        queued = len(self._audio)
        size = min(self._packet_bytes, queued)
        if self._marks:
            size = min(size, self._marks[0].position - self.released)
        self._next_bytes = size = size - size % FRAME_BYTES
        if size:
            self.due = due = self.horizon + size / SAMPLE_RATE_HZ - self._lead
            self._promised = due if due > now else math.inf  # what is due now leaves before anything else happens
            return
        self._promised = math.inf
        if self._marks:  # nothing is before it any more
            self.due = -math.inf
        elif queued:  # a remainder, which is filled up when nothing follows: not before the platform runs dry
            self.due = max(self.horizon, self._fed + TAIL_SECONDS)
        else:
            self.due = math.inf

    def _packet(self, now: float) -> bytes:
        """Take the next packet. The first of a playout is one frame, so that it begins as early as can be."""
        size = self._next_bytes
        if self.horizon <= now:  # it is dry
            size = FRAME_BYTES
            self._began, self._began_position = now, self.released
        packet = bytes(self._audio[:size]) if size < len(self._audio) else bytes(self._audio)
        del self._audio[:size]
        self.released += size
        self.horizon = self._began + (self.released - self._began_position) / SAMPLE_RATE_HZ
        return packet

    def _note_lateness(self, now: float) -> None:
        self.worst_lateness_seconds = max(self.worst_lateness_seconds, now - self._promised)
        self.gaps += now > self.horizon
