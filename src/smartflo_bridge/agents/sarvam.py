"""Sarvam's recognition and synthesis, with a function of the user's between: mu-law both ways, nothing transcoded.

A line has three connections: the recognition, which is the first, the synthesis, and the user's function (`answering`). What
the caller said is asked of the function; its texts go to the synthesis as they come, and are flushed at its end. When the
caller speaks, the function is stopped. The synthesis cannot be: what it still makes of an older answer is dropped, up to as
many of its `final` events as there were flushes. Words that were not answered are asked again, with those that follow.

Source: the types of the package `sarvamai`, 0.1.39, and the documentation in them. They check all messages, both ways, in
`tests/agents/test_sarvam.py`.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from smartflo_bridge.agents.answering import FUNCTION, Asked, Stop, Told
from smartflo_bridge.agents.beside import Beside
from smartflo_bridge.agents.dialect import NORMAL_CLOSE, Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    Answer,
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
from smartflo_bridge.agents.formats import ULAW_8K, AudioFormat
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, json_object, to_text
from smartflo_bridge.agents.sarvam_session import SYNTHESIS, SarvamSettings, endpoints, synthesis_config

PIECE_CHARACTERS = 500
"""Sent to the synthesis at once, at most: the recommendation; 2500 are its limit."""

MAX_STORY = 40
"""What the function is told of the call so far: some minutes of talk."""

_HOPELESS = (400, 401, 402, 403, 404, 422)
"""HTTP statuses in an error's place after which the same again will not help."""


class _Audio(msgspec.Struct, frozen=True):
    audio: bytes


class _Synthesised(msgspec.Struct, frozen=True, tag_field="type", tag="audio"):
    """The one message that comes often, decoded without a detour."""

    data: _Audio


_audio_decoder = msgspec.json.Decoder(_Synthesised)
_told_decoder = msgspec.json.Decoder(Told)


class SarvamDialect(Dialect):
    """One line."""

    keep_alive_seconds = 20.0

    def __init__(self, settings: SarvamSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = ULAW_8K if settings.input_format == "mulaw" else AudioFormat("pcm", 8000)
        self._story: deque[Transcript] = deque(opening.said, maxlen=MAX_STORY)
        self._number = 0  # of the question
        self._is_asked = False
        self._unanswered = ""
        self._said = ""  # of the answer, so far
        self._has_text = False  # sent since the last flush
        self._flushes = self._stale_flushes = 0  # whose speech is to come, and those of them that nobody wants
        self._cuts = False  # the question is a key's: its answer cuts what is being said
        self._hangs_up = False

    # --- The connection

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return both addresses; the key is in a header."""
        assert answer is None
        return endpoints(self._settings, self._opening.key)

    def opening(self) -> list[Message]:
        """Configure the synthesis; the recognition is configured by its address."""
        return [_to(SYNTHESIS, synthesis_config(self._settings))]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take a message of one of the three."""
        match message:
            case Beside() if message.name == SYNTHESIS:
                return self._take_speech(str(message))
            case Beside():
                return self._take_answer(str(message))
            case _:
                return self._take_recognition(message)

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """Judge a close, of any of them. None is a goodbye: the function hangs up."""
        if code in (*NORMAL_CLOSE, 1008):  # 1008: it has heard nothing for too long
            return Failed("it has ended the session", may_retry=True)
        if code in (1003, 4000):
            return Failed(f"it refuses the session with {code}: the key, the quota, or a value of the configuration")
        return super().closed(code, reason)

    def keep_alive(self) -> list[Message]:
        """Keep the synthesis from closing after a minute without a text."""
        return [_to(SYNTHESIS, {"type": "ping"})]

    def end(self) -> list[Message]:
        """End the recognition, and stop the function."""
        return [to_text({"event": "end"}), _to(FUNCTION, Stop(self._number))]

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send the caller's audio."""
        return [to_text({"event": "audio_input", "audio": audio})] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Ask about a key; it cuts what is being said, as a key does."""
        if self._hangs_up:
            return []
        self._cuts = True
        return [self._ask(f"(I press {digit} on my keypad.)")]

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """Stop the function, and drop what the synthesis still makes. What it had said stays a part of the story."""
        self._tell_story()
        return self._cut()

    # --- Recognition

    def _take_recognition(self, message: Message) -> list[LegEvent]:
        event = json_object(message)
        if event is None:
            return [Ignored(MALFORMED)]
        match name := str(event.get("event"))[:64]:
            case "session.begin":
                return [Ready(), *self._greet()]
            case "vad.speech_start" if not self._hangs_up:
                return [BargeIn(), *self._tell_story(), *map(Answer, self._cut())]
            case "transcript.final" if not self._hangs_up:
                return self._hear_words(event.get("text"))
            case "error" if event.get("is_fatal") is True:
                return [_failed("recognition", event.get("status_code"))]
            case "session.end":
                return [Failed("it has ended the session", may_retry=True)]
            case _:
                return [Ignored(name)]

    def _hear_words(self, text: object) -> list[LegEvent]:
        """Ask about what was said, and about what was left unanswered; noise, which has no words, changes nothing."""
        words = text.strip() if isinstance(text, str) else ""
        asked = f"{self._unanswered} {words}".strip()
        if not asked:
            return [Ignored("transcript.final")]
        question = Answer(self._ask(asked))
        if not words:
            return [question]
        heard = Transcript(is_caller=True, text=words)
        self._story.append(heard)
        return [heard, question]

    def _ask(self, words: str) -> Message:
        """Ask the function, which stops what it was asked before."""
        self._tell_story()
        self._number += 1
        self._is_asked = True
        self._unanswered, self._said = words, ""
        return _to(FUNCTION, Asked(self._number, words, tuple(self._story)))

    # --- The function

    def _take_answer(self, message: Message) -> list[LegEvent]:
        try:
            told = _told_decoder.decode(message)
        except DECODE_ERRORS:
            return [Ignored(MALFORMED)]
        if told.number != self._number or not self._is_asked:
            return [Ignored("stale answer")]
        match told.kind:
            case "asked":
                cuts, self._cuts = self._cuts, False
                return [BargeIn(), *map(Answer, self._cut_speech())] if cuts else [Ignored("asked")]
            case "text":
                return self._say(told.text)
            case "hang_up":
                self._hangs_up = True
                return [Ignored("hang up")]
            case "failed":
                return [*self._say(self._settings.sorry), *self._finish()]
            case "done":
                return self._finish()

    def _say(self, text: str) -> list[LegEvent]:
        self._unanswered = ""
        self._said += text
        return [Answer(_to(SYNTHESIS, {"type": "text", "data": {"text": piece}})) for piece in self._pieces(text)]

    def _pieces(self, text: str) -> Iterator[str]:
        """Cut a text at its spaces. One of nothing but spaces is none: the synthesis refuses it."""
        while text.strip():
            end = len(text) if len(text) <= PIECE_CHARACTERS else text.rfind(" ", 1, PIECE_CHARACTERS + 1)
            piece, text = text[: end if end > 0 else PIECE_CHARACTERS], text[end if end > 0 else PIECE_CHARACTERS :]
            self._has_text = True
            yield piece

    def _finish(self) -> list[LegEvent]:
        """All of the answer is there."""
        self._is_asked = False
        self._unanswered = ""
        events: list[LegEvent] = [Answer(message) for message in self._flush()]
        events += self._tell_story()
        if self._hangs_up and self._flushes == 0:
            events.append(HangUpAsked())
        return events or [Ignored("done")]

    # --- Synthesis

    def _take_speech(self, message: Message) -> list[LegEvent]:
        try:
            audio = _audio_decoder.decode(message).data.audio
        except DECODE_ERRORS:  # it is another one
            return self._take_event(json_object(message))
        return [Ignored("stale speech") if self._stale_flushes else Speech(audio)]

    def _take_event(self, event: dict[str, Any] | None) -> list[LegEvent]:
        if event is None or not isinstance(data := event.get("data"), dict):
            is_known = event is None or event.get("type") in ("audio", "event", "error")
            return [Ignored(MALFORMED if is_known else "unknown")]
        if event.get("type") == "error":
            return [_failed("synthesis", data.get("code"))]
        if event.get("type") != "event" or data.get("event_type") != "final":
            return [Ignored(str(event.get("type"))[:64])]
        self._flushes = max(self._flushes - 1, 0)
        if self._stale_flushes:
            self._stale_flushes -= 1
            return [Ignored("stale speech")]
        if self._hangs_up and not self._is_asked and self._flushes == 0:
            return [SpeechDone(), HangUpAsked()]
        return [SpeechDone()]

    def _greet(self) -> list[LegEvent]:
        if not (self._opening.is_first and self._settings.greeting):
            return []
        greeting = self._say(self._settings.greeting)
        return [*greeting, *(Answer(message) for message in self._flush()), *self._tell_story()]

    def _tell_story(self) -> list[LegEvent]:
        """Note what was said, as far as it was."""
        said, self._said = self._said.strip(), ""
        if not said:
            return []
        spoken = Transcript(is_caller=False, text=said)
        self._story.append(spoken)
        return [spoken]

    def _flush(self) -> list[Message]:
        if not self._has_text:
            return []
        self._has_text = False
        self._flushes += 1
        return [_to(SYNTHESIS, {"type": "flush"})]

    def _cut(self) -> list[Message]:
        """Stop the function and what is being said."""
        self._is_asked = False
        return [_to(FUNCTION, Stop(self._number)), *self._cut_speech()]

    def _cut_speech(self) -> list[Message]:
        """Have what is still to be made made, so that its end is seen, and drop it."""
        flush = self._flush()
        self._stale_flushes = self._flushes
        return flush


def _to(name: str, message: object) -> Message:
    return Beside(name, to_text(message))


def _failed(part: str, status: object) -> Failed:
    is_known = isinstance(status, int) and 100 <= status < 600
    return Failed(f"its {part} reports {status if is_known else 'an error'}", may_retry=status not in _HOPELESS)
