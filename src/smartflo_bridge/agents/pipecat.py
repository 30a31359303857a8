"""A pipecat bot on its own WebSocket server, with its own serializer: protobuf frames of PCM16, at any rate.

The bot finds the caller's turns itself, stops its speech, and says so with an `interruption` frame; what comes after that
is new. It paces what it says by itself. Beside audio, messages of RTVI go both ways, pipecat's protocol for clients: we
say that we are ready, what the bot may know of the call, and the caller's keys; it says when it has finished speaking, and
what was said. A bot without RTVI ignores them. Its functions are its own, and it hangs up by ending its pipeline.

Source: `frames.proto`, `serializers/protobuf.py` and `processors/frameworks/rtvi/models.py` of pipecat-ai 1.14. All
messages, both ways, are checked with these in `tests/agents/test_pipecat.py`.
"""

from enum import IntEnum
from typing import Annotated, Any, Literal

from msgspec import Meta

from smartflo_bridge.agents.dialect import Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    BargeIn,
    Failed,
    HangUpAsked,
    Ignored,
    LegEvent,
    Ready,
    Speech,
    SpeechDone,
    Transcript,
)
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.message import Message, json_object, to_text
from smartflo_bridge.agents.protobuf import bytes_field, fields, number_field
from smartflo_bridge.agents.settings import KeySettings, WebSocketUrl
from smartflo_bridge.version import __version__


class Kind(IntEnum):
    """What a `Frame` is one of, by the number of its field."""

    TEXT = 1
    AUDIO = 2
    TRANSCRIPTION = 3
    MESSAGE = 4
    INTERRUPTION = 5


_KINDS = frozenset(Kind)

RTVI_VERSION = "2.2.0"
"""Of what we say; keys are from 2.1.0 on."""

KEYS = frozenset("0123456789*#")
"""What the bot knows as a key."""

RATES_HZ = range(8000, 48001)
"""In which a bot may speak."""

STALE_SECONDS = 1.0
"""A bot paces its speech. One that speaks on for so long after it was to stop has not stopped, and is heard again."""

Rate = Annotated[int, Meta(ge=8000, le=48000)]


class PipecatSettings(KeySettings, frozen=True, kw_only=True):
    """The keys of `kind = "pipecat"`.

    Attributes:
        url: of the bot.
        key_file: a token that is sent as `Authorization: Bearer ...`; empty sends none.
        input_rate_hz: of the caller's audio, which has to be the pipeline's `audio_in_sample_rate`.
        output_rate_hz: of the bot's speech, its `audio_out_sample_rate`; if its frames name another, that counts.
        interruptions: how the bot says that the caller speaks over it: by its `interruption` frames, or, before
            pipecat 1.0, by RTVI only; or not at all, and the bridge listens itself.
    """

    url: WebSocketUrl
    input_rate_hz: Rate = 16000
    output_rate_hz: Rate = 24000
    interruptions: Literal["frames", "rtvi", "bridge"] = "frames"


class PipecatDialect(Dialect):
    """One connection to a bot."""

    awaits_ready = False

    def __init__(self, settings: PipecatSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = AudioFormat("pcm", settings.input_rate_hz)
        self.speaks = AudioFormat("pcm", settings.output_rate_hz)
        self.notices_barge_in = settings.interruptions != "bridge"
        self._stale_bytes = 0  # that may still come of what was interrupted

    # --- The connection

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the bot's address, with the token where there is one."""
        assert answer is None
        key = self._opening.key
        return Endpoint(self._settings.url, {"Authorization": f"Bearer {key}"} if key else {})

    def opening(self) -> list[Message]:
        """Say that we are ready, for which some bots wait, and what the bot may know of the call."""
        about = {"library": "smartflo-bridge", "library_version": __version__}
        facts = self._opening.facts
        known = {
            "call": facts.call_sid,
            "direction": facts.direction,
            "from": facts.from_number,
            "to": facts.to_number,
            "custom": facts.custom_parameters,
            "resumed": not self._opening.is_first,
        }
        told = {name: value for name, value in known.items() if value is not None}
        return [
            _rtvi("client-ready", version=RTVI_VERSION, about=about),
            _rtvi("client-message", t="call", d=told),
        ]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take one frame."""
        try:
            number, frame = _frame(message)
            if number not in _KINDS:
                return [Ignored("unknown")]
            kind, parts = Kind(number), dict(fields(frame))
        except ValueError:
            return [Ignored(MALFORMED)]
        match kind:
            case Kind.AUDIO:
                return self._hear_speech(parts)
            case Kind.MESSAGE:
                return self._hear_rtvi(parts.get(1))
            case Kind.INTERRUPTION:
                event = self._barge_in()
                self._stale_bytes = 0
                return [event]
            case _:
                return [Ignored(kind.name.lower())]

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """A bot whose pipeline ends closes its server, with 1001."""
        match code:
            case 1001:
                return HangUpAsked()
            case 1013:
                return Failed("it serves one caller at a time, and has one", may_retry=True)
            case 4003:
                return Failed("it does not accept the token")
            case _:
                return super().closed(code, reason)

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send audio."""
        if not audio:
            return []
        frame = bytes_field(3, audio) + number_field(4, self._settings.input_rate_hz) + number_field(5, 1)
        return [bytes_field(Kind.AUDIO, frame)]

    def press(self, digit: str) -> list[Message]:
        """Send a key as a key."""
        return [_rtvi("dtmf", buttons=[digit])] if digit in KEYS else []

    # --- The bot's speech

    def interrupt(self) -> list[Message]:
        """Have the bot stop."""
        self._expect_stale()
        return [bytes_field(Kind.INTERRUPTION, b"")]

    # --- Inside

    def _hear_speech(self, parts: dict[int, int | bytes]) -> list[LegEvent]:
        audio, rate_hz, channels = parts.get(3, b""), parts.get(4, self.speaks.rate_hz), parts.get(5, 1)
        if isinstance(audio, int) or isinstance(rate_hz, bytes) or isinstance(channels, bytes):
            return [Ignored(MALFORMED)]
        if rate_hz not in RATES_HZ or channels != 1:
            return [
                Failed(f"its speech is at {rate_hz} Hz on {channels} channels, where one at up to 48000 Hz is taken")
            ]
        if self._stale_bytes > 0:
            self._stale_bytes -= len(audio)
            return [Ignored("stale speech")]
        if rate_hz == self.speaks.rate_hz:
            return [Speech(audio)]
        self.speaks = AudioFormat("pcm", rate_hz)
        return [Ready(self.speaks), Speech(audio)]

    def _hear_rtvi(self, text: int | bytes | None) -> list[LegEvent]:
        message = json_object(text) if isinstance(text, bytes) else None
        if message is None:
            return [Ignored(MALFORMED)]
        if message.get("label") != "rtvi-ai":  # a pipeline may have words of its own for a client of its own
            return [Ignored("message")]
        found = message.get("data")
        data: dict[str, Any] = found if isinstance(found, dict) else {}
        match name := str(message.get("type"))[:64]:
            case "user-started-speaking" | "bot-interrupted" if self._settings.interruptions == "rtvi":
                event = self._barge_in()
                self._expect_stale()
                return [event]
            case "bot-started-speaking":
                self._stale_bytes = 0
                return [Ignored(name)]
            case "bot-stopped-speaking":
                self._stale_bytes = 0
                return [SpeechDone()]
            case "user-input" if data.get("final") is True:
                return [Transcript(is_caller=True, text=str(data.get("text", "")))]
            case "bot-output" if data.get("spoken_status") == "completed":
                return [Transcript(is_caller=False, text=str(data.get("text", "")))]
            case "error" if data.get("fatal") is True:
                return [Failed("it reports a fatal error", may_retry=True)]
            case _:
                return [Ignored(name)]

    def _barge_in(self) -> LegEvent:
        """The bot has stopped; or it says so once more, or because we asked for it."""
        return Ignored("interruption") if self._stale_bytes > 0 else BargeIn()

    def _expect_stale(self) -> None:
        self._stale_bytes = round(STALE_SECONDS * 1000 * self.speaks.bytes_per_ms)


def _frame(message: Message) -> tuple[int, bytes]:
    """Return the number of the kind and content of a `Frame`: of several, the last counts, as protobuf has it.

    Raises:
        ValueError: it is none.
    """
    if isinstance(message, str):
        msg = "a text message"
        raise ValueError(msg)  # noqa: TRY004 - the peer's fault, not the caller's
    found = [(number, content) for number, content in fields(message) if isinstance(content, bytes)]
    if not found:
        msg = "an empty message"
        raise ValueError(msg)
    return found[-1]


def _rtvi(kind: str, **data: Any) -> Message:  # noqa: ANN401 - whatever JSON holds
    text = to_text({"label": "rtvi-ai", "type": kind, "id": kind, "data": data})
    return bytes_field(Kind.MESSAGE, bytes_field(1, text.encode()))
