"""The steps of a scenario, as values. `wording` makes them of text, `script` carries them out.

Each keeps the text it was written as, so that whoever tells what became of it uses its author's words. `within_seconds` is
how long a step may take before it has failed.
"""

from enum import StrEnum

import msgspec

from smartflo_bridge.simulator.plan import Ending

PATIENCE_SECONDS = 10.0
"""How long a step waits for the far end if it does not say."""


class Since(StrEnum):
    """From when an expectation counts, if not from the step before it."""

    TALKING_OVER = "talking over"
    PRESSING = "pressing"
    HANGING_UP = "hanging up"


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class Say(_Step, frozen=True, kw_only=True):
    """The caller says mu-law audio; the step ends with it."""

    ulaw: bytes


class TalkOver(_Step, frozen=True, kw_only=True):
    """Once the far end has spoken for so long, the caller begins to say this; the step ends when that begins."""

    after_seconds: float
    ulaw: bytes
    within_seconds: float = PATIENCE_SECONDS


class Pause(_Step, frozen=True, kw_only=True):
    """Nothing happens for so long."""

    seconds: float


class PressKeys(_Step, frozen=True, kw_only=True):
    """The caller presses keys, one after the other."""

    digits: str


class SetMute(_Step, frozen=True, kw_only=True):
    """The platform sends no audio at all, not even the caller's silence; or it does so again."""

    is_muted: bool


class SetReading(_Step, frozen=True, kw_only=True):
    """The platform reads nothing (0), so many bytes a second, or all there is (None)."""

    bytes_per_second: float | None


class GoHalfOpen(_Step, frozen=True, kw_only=True):
    """The platform neither reads nor sends, and the connection stays."""


class SendText(_Step, frozen=True, kw_only=True):
    """The platform sends this message as it stands, but for `{streamSid}`."""

    message: str


class EndCall(_Step, frozen=True, kw_only=True):
    """The caller hangs up, and the platform ends the call in this way."""

    ending: Ending


class AwaitSpeech(_Step, frozen=True, kw_only=True):
    """Wait until the far end speaks (or has spoken since the step before), or until it is silent."""

    is_speech: bool
    within_seconds: float = PATIENCE_SECONDS


class AwaitMark(_Step, frozen=True, kw_only=True):
    """Wait until the caller has heard up to a mark: the named one, or the next."""

    name: str | None = None
    within_seconds: float = PATIENCE_SECONDS


class AwaitClear(_Step, frozen=True, kw_only=True):
    """Wait until the far end clears."""

    within_seconds: float = PATIENCE_SECONDS


class ExpectFirstAudio(_Step, frozen=True, kw_only=True):
    """The first audio has come so soon after the call began."""

    within_seconds: float


class ExpectSpeech(_Step, frozen=True, kw_only=True):
    """The far end speaks within so long: it did at the beginning of that time, or began since."""

    within_seconds: float
    since: Since | None = None


class ExpectSilence(_Step, frozen=True, kw_only=True):
    """The far end is silent within so long."""

    within_seconds: float
    since: Since | None = None


class ExpectQuiet(_Step, frozen=True, kw_only=True):
    """The far end does not speak for so long."""

    seconds: float


class ExpectMark(_Step, frozen=True, kw_only=True):
    """The caller has heard up to a mark within so long."""

    within_seconds: float
    name: str | None = None


class ExpectClear(_Step, frozen=True, kw_only=True):
    """The far end clears within so long."""

    within_seconds: float
    since: Since | None = None


class ExpectClose(_Step, frozen=True, kw_only=True):
    """The far end closes the connection, with this code if one is named."""

    code: int | None = None
    within_seconds: float = PATIENCE_SECONDS


Action = Say | TalkOver | Pause | PressKeys | SetMute | SetReading | GoHalfOpen | SendText | EndCall
Wait = AwaitSpeech | AwaitMark | AwaitClear
Expectation = ExpectFirstAudio | ExpectSpeech | ExpectSilence | ExpectQuiet | ExpectMark | ExpectClear | ExpectClose
Step = Action | Wait | Expectation


class StepOutcome(msgspec.Struct, frozen=True):
    """What became of a step.

    Attributes:
        number: its place in the scenario, from 1.
        text: as it was written.
        has_passed: False: it failed, or was never come to.
        was_reached: False: it was never come to.
        detail: what was measured or what happened instead; may be empty.
        at_seconds: when it was decided.
    """

    number: int
    text: str
    has_passed: bool
    detail: str
    at_seconds: float
    was_reached: bool = True
