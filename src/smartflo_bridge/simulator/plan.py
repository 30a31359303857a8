"""What will happen in a simulated call: a timed list of the caller's actions, and the platform's manners. Values only.

Every `at_seconds` counts from the sending of `start`.
"""

from enum import StrEnum

import msgspec

CADENCE_MS = 100
"""The platform's documented cadence: 800 bytes. Protocol, section 3."""

LINGER_SECONDS = 1.0
"""How long the caller stays on the line when everything is said; long enough for an answer to begin."""


class Ending(StrEnum):
    """How the platform ends the call when the caller has hung up."""

    STOP = "stop"
    """As documented: `stop`, then it waits for the bridge to close, and closes itself if that does not happen."""
    STOP_ONLY = "stop_only"
    """`stop`, and it leaves the closing to the bridge for good."""
    CLOSE = "close"
    """It closes the connection and never says `stop`."""
    DROP = "drop"
    """The TCP connection ends without a close frame."""


class Variant(StrEnum):
    """A way in which the platform's messages may differ from its examples. Protocol, "From the platform"."""

    COUNTERS_AS_NUMBERS = "counters-as-numbers"
    NO_SEQUENCE = "no-sequence"
    SEQUENCE_GAPS = "sequence-gaps"
    SID_OUTSIDE_ONLY = "sid-outside-only"
    SID_INSIDE_ONLY = "sid-inside-only"
    NUMBERS_OUTSIDE = "numbers-outside"
    NO_DIRECTION = "no-direction"
    NO_MEDIA_FORMAT = "no-media-format"
    FORMAT_AS_STRINGS = "format-as-strings"
    PARAMETERS_AS_TEXT = "parameters-as-text"
    PARAMETERS_NESTED = "parameters-nested"
    PARAMETERS_AS_PAIRS = "parameters-as-pairs"
    PARAMETERS_NULL = "parameters-null"
    NO_PARAMETERS = "no-parameters"
    TWILIO_MEMBERS = "twilio-members"
    UNKNOWN_MEMBERS = "unknown-members"
    UNKNOWN_EVENT = "unknown-event"
    NO_CONNECTED = "no-connected"
    START_TWICE = "start-twice"
    BARE_STOP = "bare-stop"
    STOP_WITHOUT_REASON = "stop-without-reason"


class Speak(msgspec.Struct, frozen=True):
    """The caller says this mu-law audio, after what was said before if that takes longer."""

    at_seconds: float
    ulaw: bytes


class Press(msgspec.Struct, frozen=True):
    """The caller presses a key."""

    at_seconds: float
    digit: str


class Mute(msgspec.Struct, frozen=True):
    """The platform sends no audio any more, not even the caller's silence; or it does so again."""

    at_seconds: float
    is_muted: bool = True


class StopReading(msgspec.Struct, frozen=True):
    """The platform reads nothing from the connection any more, and goes on sending."""

    at_seconds: float


class ReadAt(msgspec.Struct, frozen=True):
    """The platform reads so many bytes a second; None: all there is, as at first."""

    at_seconds: float
    bytes_per_second: float | None = None


class FallSilent(msgspec.Struct, frozen=True):
    """The platform sends nothing any more, and reads nothing."""

    at_seconds: float


class SendRaw(msgspec.Struct, frozen=True):
    """The platform sends a text of the scenario's own. `{streamSid}` in it is filled in."""

    at_seconds: float
    text: str


class HangUp(msgspec.Struct, frozen=True):
    """The call ends, and nothing that was planned for later happens."""

    at_seconds: float
    ending: Ending = Ending.STOP


Action = Speak | Press | Mute | StopReading | ReadAt | FallSilent | SendRaw | HangUp


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Without a `HangUp` the caller hangs up `linger_seconds` after the last action.

    Attributes:
        wait_for_connected: an old-order client: it says nothing until the bridge has said `connected`.
        wait_seconds: bounds every wait for the far end: for the upgrade, for that `connected`, for the close after `stop`.
        start_after_seconds: between `connected` and `start`, so that what is said too early shows.
        jitter_seconds: each chunk of the caller's audio is late by a chance share of this. `seed` decides the chances.
        variants: how the platform's messages differ from its examples.
        keeps_audio: what both said is kept for the report. Hundreds of calls need the memory.
    """

    actions: tuple[Action, ...] = ()
    linger_seconds: float = LINGER_SECONDS
    cadence_ms: int = CADENCE_MS
    from_number: str = "919800000001"
    to_number: str = "918000000099"
    direction: str = "inbound"
    custom_parameters: dict[str, str] = msgspec.field(default_factory=dict)
    wait_for_connected: bool = False
    wait_seconds: float = 10.0
    start_after_seconds: float = 0.0
    jitter_buffer_seconds: float = 0.0
    jitter_seconds: float = 0.0
    seed: int = 1
    variants: frozenset[Variant] = frozenset()
    keeps_audio: bool = True

    def __post_init__(self) -> None:
        """Refuse a cadence that would never let the clock advance."""
        if self.cadence_ms < 1:
            raise ValueError(f"the cadence is at least 1 ms; not {self.cadence_ms}")
