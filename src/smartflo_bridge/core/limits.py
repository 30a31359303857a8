"""The limits of a call by the clock: how long it may be silent, not begin, or last, and how fast it may come in.

All by our own clock. Limits that depend on the peer's messages have failed elsewhere.
"""

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.effects import Close, Send, Termination
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.core.outgoing import ConnectedEvent
from smartflo_bridge.core.settings import SessionSettings

AUTO_CONNECTED_SECONDS = 0.5
"""How long a silent peer is given before we say `connected` first; protocol.md, section 2."""

STOP_WAIT_SECONDS = 2.0
"""How long the platform has to answer our `end` with its `stop`; protocol.md, section 5."""


MESSAGE_BURST_SECONDS = 2.0
"""How long a peer may send at twice its allowed rate: 400 messages at once at 200 a second; reliability, section 8."""

JUDGED_SECONDS = 1.0
"""How long a peer's pace is taken for what it was: within its allowance nothing is worked out for each message."""

AUDIO_WINDOW_SECONDS = 5.0
"""Over which audio may come at the allowed speed; reliability, section 8: `audio_rate_max`."""

MESSAGES_PER_SECOND = 50
"""The platform's own pace, at its shortest cadence of 20 ms."""


class Allowance:
    """How much may still come: a bucket that fills at the allowed rate, up to a burst.

    After a silence it may hold more than the burst: what a peer that kept its own pace has in store when the network
    lets it through again. So a line that stalls for ten seconds costs no call.
    """

    def __init__(self, per_second: float, burst: float, own_pace: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._own_pace = own_pace
        self._left = burst

    @property
    def left(self) -> float:
        """How much may come at once."""
        return self._left

    def take(self, amount: float, silence_seconds: float, earlier: float = 0.0, earlier_seconds: float = 0.0) -> bool:
        """Take so much, so long after the last; return False if that is more than there was.

        `earlier` is what came before that silence and has not been taken yet, within so many seconds.
        """
        left = self._left - earlier
        filled = left + (earlier_seconds + silence_seconds) * self._per_second
        self._left = max(left, min(filled, self._burst + silence_seconds * self._own_pace)) - amount
        return self._left >= 0


class Limits:
    """What the clock alone brings about. Times are the session's: seconds since the connection was accepted."""

    def __init__(self, settings: SessionSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._last_heard = 0.0
        self.flood: Close | None = None  # how the call ends, once too much has come too fast
        messages, bytes_ = settings.max_messages_per_second, settings.max_audio_speed * SAMPLE_RATE_HZ
        self._messages = Allowance(messages, messages * MESSAGE_BURST_SECONDS, MESSAGES_PER_SECOND)
        self._audio = Allowance(bytes_, bytes_ * AUDIO_WINDOW_SECONDS, SAMPLE_RATE_HZ)
        self._judged_at = 0.0  # then there was room for so many messages, and so much audio
        self._message_room, self._audio_room = self._messages.left, self._audio.left
        self._new_messages = self._new_bytes = 0  # since
        self._connected_due: float | None = None
        self._stop_due: float | None = None
        self.due = self.deadline(is_streaming=False)  # or earlier: reading it costs nothing

    @property
    def awaits_stop(self) -> bool:
        """True once we have said `end`."""
        return self._stop_due is not None

    def hear(self, now: float, audio_bytes: int = 0) -> None:
        """Note that the peer has said anything at all, and how much audio was in it."""
        silence_seconds, self._last_heard = now - self._last_heard, now
        self._connected_due = None
        self._new_messages += 1
        self._new_bytes += audio_bytes
        if (
            self._new_messages > self._message_room
            or self._new_bytes > self._audio_room
            or now - self._judged_at > JUDGED_SECONDS
        ):
            self._judge_pace(now, silence_seconds, audio_bytes)

    def _judge_pace(self, now: float, silence_seconds: float, audio_bytes: int) -> None:
        """Take from the allowances this message, and what has come since the last one that was taken."""
        seconds, self._judged_at = now - self._judged_at - silence_seconds, now
        if not self._messages.take(1, silence_seconds, self._new_messages - 1, seconds):
            self._note_flood("message_flood", "too many messages")
        if not self._audio.take(audio_bytes, silence_seconds, self._new_bytes - audio_bytes, seconds):
            self._note_flood("audio_flood", "audio comes too fast")
        self._message_room, self._audio_room = self._messages.left, self._audio.left
        self._new_messages = self._new_bytes = 0

    def await_connected(self, now: float) -> None:
        """Say `connected` ourselves if the peer stays silent."""
        self._connected_due = now + AUTO_CONNECTED_SECONDS
        self.due = min(self.due, self._connected_due)

    def await_stop(self, now: float) -> None:
        """Give the platform its time to answer `end`."""
        self._stop_due = now + STOP_WAIT_SECONDS
        self.due = min(self.due, self._stop_due)

    def deadline(self, *, is_streaming: bool) -> float:
        """Return when the next of these clocks runs out."""
        due = min(self._last_heard + self._settings.idle_seconds, self._settings.max_call_seconds)
        if not is_streaming:
            due = min(due, self._settings.start_deadline_seconds)
        if self._connected_due is not None and self._connected_due < due:
            due = self._connected_due
        return due if self._stop_due is None else min(due, self._stop_due)

    def fallen_due(self, now: float, *, is_streaming: bool) -> Close | Send | None:
        """Return what the clocks ask for by now, and find out when they will ask again."""
        asked: Close | Send | None = self.broken(now, is_streaming=is_streaming)
        if asked is None and self.connected_is_due(now):
            asked = Send(ConnectedEvent())
        self.due = self.deadline(is_streaming=is_streaming)
        return asked

    def connected_is_due(self, now: float) -> bool:
        """Return True, once, when it is time to say `connected` first."""
        if self._connected_due is None or now < self._connected_due:
            return False
        self._connected_due = None
        return True

    def broken(self, now: float, *, is_streaming: bool) -> Close | None:
        """Return how the call ends because of its clocks; None while all is well."""
        settings = self._settings
        if self.flood is not None:
            return self.flood
        if self._stop_due is not None and now >= self._stop_due:
            return Close(Termination.HUNG_UP, 1000, "")
        if now >= settings.max_call_seconds:
            return Close(Termination.LIMIT, 1000, "maximum length of a call")
        if not is_streaming and now >= settings.start_deadline_seconds:
            return Close(Termination.LIMIT, 1008, "no start")
        if now >= self._last_heard + settings.idle_seconds:
            return Close(Termination.LIMIT, 1001, "nothing heard")
        return None

    def _note_flood(self, kind: str, reason: str) -> None:
        self._ledger.anomalies[kind] += 1
        self.flood = Close(Termination.LIMIT, 1008, reason)
        self.due = 0.0
