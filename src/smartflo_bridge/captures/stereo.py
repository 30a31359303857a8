"""Both voices of a call on one time axis, as the caller hears them: the pure half of a recording.

The axis is the media clock's: the caller's audio lies on it end to end, as the platform sent it, so it never drifts. Ours
is laid as the platform plays it: at the time that it is sent, or behind what is playing still. What a `clear` takes back is
not in it, nor what is still to be played when the call ends. Where there is nothing, there is silence.

What has been heard cannot change any more; `take` hands it out in blocks, so the memory is bounded: by what we send ahead,
and by `STALL_SECONDS`. `now` is the session's time. `recording` feeds it and writes what it hands out.
"""

from collections.abc import Iterator

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE, ulaw_to_pcm
from smartflo_bridge.core.incoming import Counter
from smartflo_bridge.core.mediaclock import MediaClock

BLOCK_BYTES = SAMPLE_RATE_HZ // 2
"""Of each voice: half a second, the most that a killed process loses beside what is in the queue."""

STALL_SECONDS = 10.0
"""The caller's audio may be held up for so long and still be where it belongs; what comes later than that is left out."""


class Stereo:
    """The two voices of one call.

    Args:
        now: when the stream started.
    """

    def __init__(self, now: float) -> None:
        self._clock = MediaClock(now)
        self._taken = 0  # the position up to which both voices have been handed out
        self._caller = bytearray()  # from there on
        self._ours = bytearray()
        self._is_muted = False
        self._muted_until = 0

    def hear(self, ulaw: bytes, now: float, timestamp: Counter) -> None:
        """Take the caller's audio."""
        start = self._clock.place(len(ulaw), now, timestamp)
        hidden = len(ulaw) if self._is_muted else min(max(self._muted_until - start, 0), len(ulaw))
        known = self._taken + len(self._caller)
        self._caller += SILENCE * (start - known)
        self._caller += (SILENCE * hidden + ulaw[hidden:])[max(known - start, 0) :]

    def say(self, ulaw: bytes, now: float) -> None:
        """Take audio that we send."""
        self._ours += SILENCE * (self._ahead(now) - len(self._ours))
        self._ours += SILENCE * len(ulaw) if self._is_muted else ulaw

    def clear(self, now: float) -> None:
        """The platform plays nothing more of what it was sent."""
        del self._ours[self._ahead(now) :]

    def mute(self, now: float) -> None:
        """Keep silent what is said, sent or heard from now on. A chunk that comes now was spoken before: it is silent too."""
        self._is_muted = True
        ahead = self._ahead(now)
        self._ours[ahead:] = SILENCE * (len(self._ours) - ahead)

    def unmute(self, now: float) -> None:
        """Let both voices be heard again, but for what was spoken before and has not come yet."""
        self._is_muted = False
        self._muted_until = self._clock.position_at(now)

    def take(self, now: float) -> Iterator[bytes]:
        """Hand out what is settled by now, in whole blocks of PCM16, two channels."""
        heard = self._clock.position_at(now)
        missing = heard - round(STALL_SECONDS * SAMPLE_RATE_HZ)
        settled = min(heard, max(self._taken + len(self._caller), missing))
        while settled - self._taken >= BLOCK_BYTES:
            yield self._block(BLOCK_BYTES)

    def finish(self, now: float) -> Iterator[bytes]:
        """Hand out the rest: the call is over."""
        self.clear(now)
        while size := min(BLOCK_BYTES, max(len(self._caller), len(self._ours))):
            yield self._block(size)

    def _ahead(self, now: float) -> int:
        """Return how much of our voice, behind what was handed out, has been heard by now."""
        return max(self._clock.position_at(now) - self._taken, 0)

    def _block(self, size: int) -> bytes:
        both = bytearray(2 * size)
        for side, voice in enumerate((self._caller, self._ours)):
            both[side::2] = voice[:size].ljust(size, SILENCE)
            del voice[:size]
        self._taken += size
        return ulaw_to_pcm(bytes(both))
