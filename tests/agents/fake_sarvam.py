"""Sarvam's recognition and synthesis, played; each message, both ways, is checked with the types of the `sarvamai` package.

It hears no words: the test says what the caller said. It makes speech of every flush, whatever the text was, and one
`final` event after it. It is unrealistic in that it speaks of the newest flush only, and never of two one after the other.
"""

import asyncio
import base64
import json
from typing import Any

import pytest

from agents.played import Played, ServiceEnd, extras
from smartflo_bridge.agents.message import Message

pytest.importorskip("sarvamai", reason="the vendor's types are in the extra `dev`")
from sarvamai import types

HEARD = {
    "audio_input": types.RealtimeAudioInput,
    "end": types.RealtimeEnd,
}
RECOGNISED = {
    "session.begin": types.RealtimeSessionBegin,
    "vad.speech_start": types.RealtimeVadSpeechStart,
    "vad.speech_end": types.RealtimeVadSpeechEnd,
    "transcript.partial": types.RealtimeTranscriptPartial,
    "transcript.final": types.RealtimeTranscriptFinal,
    "pong": types.RealtimePong,
    "session.end": types.RealtimeSessionEnd,
    "error": types.RealtimeError,
}
TO_SPEAK = {
    "config": types.ConfigureConnection,
    "text": types.SendText,
    "flush": types.FlushSignal,
    "ping": types.PingSignal,
}
SPOKEN = {
    "audio": types.AudioOutput,
    "event": types.EventResponse,
    "error": types.ErrorResponse,
}


def checked(text: Message, kinds: dict[str, Any], tag: str) -> Any:
    """Return a message as the vendor's type; fail if it is none, or has members that the type has not."""
    model = kinds[json.loads(text)[tag]].model_validate_json(text)
    assert not extras(model), (extras(model), text)
    return model


def recognised(name: str, **members: Any) -> str:
    """Return a message of the recognition."""
    text = json.dumps({"event": name, **members})
    checked(text, RECOGNISED, "event")
    return text


def spoken(name: str, **data: Any) -> str:
    """Return a message of the synthesis."""
    text = json.dumps({"type": name, "data": data})
    checked(text, SPOKEN, "type")
    return text


class FakeSarvam(Played):
    """One line: two connections.

    Attributes:
        config: of the synthesis.
        pings: that the synthesis had.
    """

    connections = 2

    def __init__(self, speech: bytes, **more: Any) -> None:
        super().__init__(speech, **more)
        self.config: Any = None
        self.pings = 0
        self._has_text = False
        self._is_making = False

    async def serve(self, connection: ServiceEnd) -> None:
        """Serve one of the two."""
        if connection.path.startswith("/speech-to-text-realtime"):
            self.connection = connection
            connection.say(recognised("session.begin", request_id="r1"))
            take = self.take
        else:
            self.synthesis = connection
            take = self._take_text
        while (message := await connection.hear()) is not None:
            take(message)
        self._stop()

    def take(self, message: Message) -> None:
        """Take the caller's audio."""
        event = checked(message, HEARD, "event")
        if event.event == "audio_input":
            self.heard += base64.b64decode(event.audio)

    def _take_text(self, message: Message) -> None:
        word = checked(message, TO_SPEAK, "type")
        match word.type:
            case "config":
                self.config = word.data
            case "text":
                self._has_text = True
                self.texts.append(word.data.text)
                self.greetings += word.data.text == "Hello!"
            case "ping":
                self.pings += 1
            case "flush" if self._has_text:
                self._has_text, self._is_making = False, True
                super().respond()
            case "flush":
                self.finish()

    def respond(self) -> None:
        """The caller has said something, which is asked of the function, whose answer is to be spoken."""
        said = self.calls.pop(0)[0].replace("_", " ") if self.calls else "Something."
        self.connection.say(recognised("vad.speech_end", utterance_idx=0))
        self.connection.say(recognised("transcript.final", utterance_idx=0, text=said))

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        audio = base64.b64encode(ulaw).decode()
        self.synthesis.say(spoken("audio", content_type="audio/mulaw", audio=audio))

    def finish(self) -> None:
        """All of a flush is made."""
        self._is_making = False
        self.synthesis.say(spoken("event", event_type="final"))

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """The recognition says that the caller speaks; the synthesis knows nothing of it, and ends what it makes."""
        self.connection.say(recognised("vad.speech_start", utterance_idx=0))
        asyncio.get_running_loop().call_later(0.01, self._come_late, late, self._is_making)

    def _come_late(self, late: list[bytes], is_making: bool) -> None:
        for piece in late:
            self.speak(piece)
        if is_making:
            self.finish()

    def fail(self) -> None:
        """It does not like what it was asked for."""
        self.connection.lose(4000, "sk-12345")
