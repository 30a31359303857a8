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


class Speak(msgspec.Struct, frozen=True):
    """The caller says this mu-law audio, after what was said before if that takes longer."""

    at_seconds: float
    ulaw: bytes


class Press(msgspec.Struct, frozen=True):
    """The caller presses a key."""

    at_seconds: float
    digit: str


class StopReading(msgspec.Struct, frozen=True):
    """The platform reads nothing from the connection any more, and goes on sending."""

    at_seconds: float


class HangUp(msgspec.Struct, frozen=True):
    """The call ends, and nothing that was planned for later happens."""

    at_seconds: float
    ending: Ending = Ending.STOP


Action = Speak | Press | StopReading | HangUp


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Without a `HangUp` the caller hangs up `linger_seconds` after the last action.

    `wait_for_connected` makes an old-order client: it says nothing until the bridge has said `connected`. `wait_seconds`
    bounds every wait for the far end: for the upgrade, for that `connected`, and for the close after `stop`.
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
    jitter_buffer_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a cadence that would never let the clock advance."""
        if self.cadence_ms < 1:
            raise ValueError(f"the cadence is at least 1 ms; not {self.cadence_ms}")
