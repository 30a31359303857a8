"""What is kept from taps while a handler mutes its call: what the caller says and presses, and what we say.

A muted call is not served otherwise: handler and platform have everything. But recordings and captures, and whatever else
watches, get silence of the same length for audio, and `MUTED_DIGIT` for a key, so that a card number is nowhere to be found.
The session measures turns in the same silence: so a capture of a muted call still folds to the byte.

It hides what arrives, is queued or is sent while it is muted; audio of the caller that was spoken before the unmuting, and
comes after it; and audio of ours that was queued before it, and is sent after it (`outbound`). Pure; `session` owns it.
"""

import msgspec

from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.core.commands import Command, Play
from smartflo_bridge.core.incoming import DTMF, DTMFEvent, IncomingEvent, MediaEvent, UnknownEvent
from smartflo_bridge.core.signals import Malformed, Signal
from smartflo_bridge.core.turns import Turns

MUTED_DIGIT = "muted"
"""Instead of a key. No key has this name, so that nobody takes it for one that was pressed."""

_UNKNOWN = b'{"event":"unknown"}'
"""Instead of an event that nobody knows: it may hold anything, and means nothing to a session."""

_encoder = msgspec.json.Encoder()


class Muting:
    """What one call hides.

    Args:
        turns: which know where the caller's audio is.
    """

    def __init__(self, turns: Turns) -> None:
        self.is_muted = False
        self.hides_audio = False  # of the caller: while muted, and until what was spoken meanwhile has come
        self._turns = turns
        self._muted_until = 0

    def mute(self, now: float, *, is_muted: bool) -> None:
        """Hide what comes from now on, or no more of it."""
        if self.is_muted and not is_muted:
            self._muted_until = self._turns.position_at(now)
        self.is_muted = is_muted
        self.hides_audio = is_muted or self._turns.position < self._muted_until

    def audio(self, event: MediaEvent) -> bytes:
        """Return the caller's audio, with silence where it is hidden. Asked before the turns hear it."""
        ulaw = event.media.payload
        if not self.hides_audio:
            return ulaw
        hidden = len(ulaw) if self.is_muted else min(self._muted_until - self._turns.position, len(ulaw))
        self.hides_audio = hidden > 0
        return SILENCE * hidden + ulaw[hidden:] if hidden > 0 else ulaw

    def message(self, text: bytes, given: IncomingEvent | Malformed) -> bytes:
        """Return a message of the platform, which was taken for `given`, as taps may see it."""
        match given:
            case MediaEvent():
                ulaw = self.audio(given)
                if ulaw is given.media.payload:
                    return text
                media = msgspec.structs.replace(given.media, payload=ulaw)
                return _encoder.encode(msgspec.structs.replace(given, media=media))
            case DTMFEvent() if self.is_muted:
                return _encoder.encode(msgspec.structs.replace(given, dtmf=DTMF(MUTED_DIGIT)))
            case UnknownEvent() if self.is_muted:
                return _UNKNOWN
            case Malformed() if self.is_muted:
                return b""
            case _:
                return text

    def given(self, given: Command | Signal) -> Command | Signal:
        """Return what else the session is given as taps may see it."""
        if self.is_muted and isinstance(given, Play):
            return Play(SILENCE * len(given.ulaw), given.epoch)
        return given
