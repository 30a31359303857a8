"""What a handler may ask of its call. Values: they cross threads, and a capture holds them.

A `ticket` is a number that the asker chose; the session answers it with one `Reply` effect, whatever happens.
"""

import msgspec


class _Command(msgspec.Struct, frozen=True, tag_field="type", gc=False):
    """Tagged, so that a capture can be decoded again."""


class Play(_Command, frozen=True, tag="play", gc=False):
    """Queue audio: mu-law, 8000 Hz, any number of bytes.

    `epoch` is the number of interrupts that the asker had made when this utterance began; audio of an older epoch is
    dropped and counted.
    """

    ulaw: bytes
    epoch: int


class PlaceMark(_Command, frozen=True, tag="mark", gc=False):
    """Name the point after all audio queued so far. Without a name one is made up. Answered with a `MarkOutcome`."""

    ticket: int
    name: str | None = None


class AwaitRoom(_Command, frozen=True, tag="room", gc=False):
    """Ask to be told when the queue has room again. Answered with a `Room`."""

    ticket: int


class Interrupt(_Command, frozen=True, tag="interrupt", gc=False):
    """Drop all queued audio and empty the platform's buffer: a new epoch. Answered with an `InterruptOutcome`."""

    ticket: int


class HangUp(_Command, frozen=True, tag="hang_up", gc=False):
    """End the call when the queued audio has been played."""


class MuteRecording(_Command, frozen=True, tag="mute_recording", gc=False):
    """Hide what is said, played and pressed from recordings and captures from now on, or no more of it. See `muting`."""

    is_muted: bool


Command = Play | PlaceMark | AwaitRoom | Interrupt | HangUp | MuteRecording
