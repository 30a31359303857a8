"""Our side of a captured call as the caller hears it: the platform's clock, told from the messages alone.

The platform plays what it gets at once and in order, so each audio message is heard when the one before it ends, or when
it was sent, whichever is later. A `clear`, and the end of the call, leave unheard what is still to come. From the same
clock follow the lead (audio sent and not yet heard), how late a message was, the gaps, and when a mark times out.

Time on the way to the platform is unknown to a capture; it delays everything here alike. A fold: `story` feeds it in the
order of the capture, and reads its lists at the end.
"""

import msgspec

from smartflo_bridge.captures.marks import MarkLog
from smartflo_bridge.captures.tracks import NS_PER_SAMPLE, Piece, samples_at
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, whole_frames
from smartflo_bridge.core.settings import SessionSettings

PAUSE_SAMPLES = 1 * SAMPLE_RATE_HZ
"""A longer silence separates two utterances, as in `simulator.earpiece`."""


class Sending(msgspec.Struct, frozen=True, gc=False):
    """One audio message of ours: how much audio the platform held before and with it, how late it was.

    It was late if the audio was queued, and the lead had room for it, so much earlier. Lateness within the lead is not
    heard.
    """

    at_ns: int
    size: int
    chunk: int
    heard_at: int
    lead_before: int
    late_ns: int


class Clear(msgspec.Struct, frozen=True):
    """A `clear`: audio that the platform dropped, and audio of ours that was queued and never sent, in bytes.

    `message` is its index in what was said.
    """

    at_ns: int
    unheard: int
    unsent: int
    message: int


class Gap(msgspec.Struct, frozen=True):
    """A silence inside an utterance, between two samples. `is_ours`: the audio was there, and we sent it too late."""

    start: int
    end: int
    is_ours: bool


class Playback:
    """What the caller hears of us. Times are the capture's, in ns."""

    def __init__(self, settings: SessionSettings) -> None:
        self.pieces: list[Piece] = []
        self.unheard: list[Piece] = []
        self.sendings: list[Sending] = []
        self.clears: list[Clear] = []
        self.gaps: list[Gap] = []
        self.marks = MarkLog(round(settings.mark_slack_seconds * 1e9))
        self._lead = round(settings.lead_seconds * SAMPLE_RATE_HZ)
        self._packet = round(settings.packet_seconds * SAMPLE_RATE_HZ)
        self._queue_limit = 2 * round(settings.queue_seconds * SAMPLE_RATE_HZ)
        self._horizon = 0
        self._queued = 0
        self._waited = 0  # of it, what was queued already when the last message was sent
        self._epoch = 0
        self._is_closed = False
        self._utterance_is_open = False

    def queue(self, size: int, epoch: int) -> None:
        """Take note of audio that the handler wants played, unless the session will refuse it."""
        if epoch == self._epoch and not self._is_closed and self._queued + size <= self._queue_limit:
            self._queued += size

    def place_mark(self, at_ns: int, name: str | None) -> None:
        """Take note of a mark that the handler wants, unless the session will refuse it."""
        if not self._is_closed:
            self.marks.place(at_ns, name)

    def hang_up(self) -> None:
        """Take note that the handler has said all it will."""
        self._is_closed = True

    def send(self, at_ns: int, ulaw: bytes, chunk: int) -> None:
        """Take one audio message of ours."""
        if not ulaw:
            return
        now, size = samples_at(at_ns), len(ulaw)
        late_ns = self._late_ns(at_ns, size)
        self._note_gap(now, is_ours=late_ns > 0)
        heard_at = max(self._horizon, now)
        lead_before = max(self._horizon - now, 0)
        self.sendings.append(Sending(at_ns, size, chunk, heard_at, lead_before, late_ns))
        self.pieces.append(Piece(heard_at, ulaw))
        self._horizon = heard_at + size
        self._queued = self._waited = max(self._queued - size, 0)
        self._utterance_is_open = True

    def send_mark(self, at_ns: int, name: str, message: int) -> None:
        """Take one mark of ours; it ends the utterance."""
        heard_ns = max(self._horizon * NS_PER_SAMPLE, at_ns)
        self.marks.send(at_ns, name, heard_ns, message)
        self._utterance_is_open = False

    def clear(self, at_ns: int, message: int) -> None:
        """Take a `clear`."""
        self.marks.clear(at_ns)
        self.clears.append(Clear(at_ns, self._drop(samples_at(at_ns)), self._queued, message))
        self._epoch += 1
        self._queued = self._waited = 0

    def end(self, at_ns: int) -> None:
        """The call is over: what the platform still held was not heard."""
        self.marks.end(at_ns)
        self._drop(samples_at(at_ns))

    def _drop(self, now: int) -> int:
        """Take back what is not heard by `now`; return how many bytes that is."""
        dropped: list[Piece] = []
        while self.pieces and self.pieces[-1].end > now:
            piece = self.pieces.pop()
            heard = max(now - piece.at, 0)
            if heard:
                self.pieces.append(Piece(piece.at, piece.ulaw[:heard]))
            dropped.append(Piece(piece.at + heard, piece.ulaw[heard:]))
            if heard:
                break
        self.unheard += reversed(dropped)
        self._horizon = min(self._horizon, now)
        self._utterance_is_open = False
        return sum(len(piece.ulaw) for piece in dropped)

    def _late_ns(self, at_ns: int, size: int) -> int:
        """Return how late a message is. It is not if its audio came after the message before it, or went with that."""
        if self._waited < size or self.sendings[-1].at_ns == at_ns:
            return 0
        # What runs dry begins with one frame; a whole packet was due.
        is_dry = self._horizon <= samples_at(at_ns)
        promised = whole_frames(min(self._packet, self._waited)) if is_dry else size
        due = self._horizon + promised - self._lead
        return max(at_ns - due * NS_PER_SAMPLE, 0)

    def _note_gap(self, now: int, *, is_ours: bool) -> None:
        silence = now - self._horizon
        if self._utterance_is_open and 0 < silence <= PAUSE_SAMPLES:
            self.gaps.append(Gap(self._horizon, now, is_ours))
