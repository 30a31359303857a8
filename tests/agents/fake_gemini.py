"""Google's Gemini Live service, played; each message, both ways, is checked with the types of the `google-genai` package.

It is unrealistic in that it never cuts a connection unless it is told to, and in that a handle always resumes.
"""

import audioop
import base64
import json
from typing import Any

import pytest

from agents.played import Played
from smartflo_bridge.agents.message import Message
from smartflo_bridge.core.resampling import Resampler

pytest.importorskip("google.genai", reason="the vendor's types are in the extra `dev`")
from google.genai import types


def check_client(message: Message) -> types.LiveClientMessage:
    """Return a message of the bridge as the vendor's type, which forbids members that it does not know."""
    found = json.loads(message)
    assert len(found) == 1, "a message is one of a kind"
    if "setup" in found:
        # The one member of `setup` that the package has a type for, but not in its place: its client writes it there.
        types.RealtimeInputConfig.model_validate_json(json.dumps(found["setup"].pop("realtimeInputConfig")))
    return types.LiveClientMessage.model_validate_json(json.dumps(found))


def server_message(**members: object) -> str:
    """Return a message of the service, which the vendor's types accept."""
    text = json.dumps(members)
    types.LiveServerMessage.model_validate_json(text)
    return text


class FakeGemini(Played):
    """One connection of a session.

    Attributes:
        setup: what it was told at first.
        rate_hz: of its speech.
    """

    def __init__(self, speech: bytes, *, rate_hz: int = 8000, **more: Any) -> None:
        super().__init__(speech, **more)
        self.rate_hz = rate_hz
        self.setup: Any = None

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        event = check_client(message)
        if event.setup is not None:
            self._open(event.setup)
        elif event.tool_response is not None:
            for response in event.tool_response.function_responses:
                self.results[response.id] = json.dumps(response.response)
            self.respond()
        elif event.realtime_input.audio is not None:
            self._hear(event.realtime_input.audio)
        else:
            self.texts.append(event.realtime_input.text)
            self.greetings += event.realtime_input.text.startswith("Greet")
            self.respond()

    def _open(self, setup: types.LiveClientSetup) -> None:
        self.setup = setup
        told = setup.system_instruction.parts[0].text if setup.system_instruction else ""
        self.story = told.partition("Said on this call before")[2]
        self.say(setupComplete={})
        self.say(sessionResumptionUpdate={"newHandle": f"handle_{next(self.numbers)}", "resumable": True})

    def _hear(self, blob: types.Blob) -> None:
        rate_hz = int(blob.mime_type.removeprefix("audio/pcm;rate="))
        pcm = blob.data if rate_hz == 8000 else audioop.ratecv(blob.data, 2, 1, rate_hz, 8000, None)[0]
        self.heard += audioop.lin2ulaw(pcm, 2)

    def say(self, **members: object) -> None:
        """Say something."""
        self.connection.say(server_message(**members))

    def begin_turn(self) -> None:
        """The voice is a new one each turn, so that no turn's filter has to do with another's."""
        self._resampler = Resampler(8000, self.rate_hz) if self.rate_hz != 8000 else None

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        pcm = audioop.ulaw2lin(ulaw, 2)
        self._speak_pcm(pcm if self._resampler is None else self._resampler.convert(pcm))

    def _speak_pcm(self, pcm: bytes) -> None:
        blob = {"mimeType": f"audio/pcm;rate={self.rate_hz}", "data": base64.b64encode(pcm).decode()}
        self.say(serverContent={"modelTurn": {"role": "model", "parts": [{"inlineData": blob}]}})

    def finish(self) -> None:
        """All was sent."""
        if self._resampler is not None:
            self._speak_pcm(self._resampler.flush())
        self.say(serverContent={"outputTranscription": {"text": "What the agent "}})
        self.say(serverContent={"outputTranscription": {"text": "said."}})
        self.say(serverContent={"generationComplete": True})

    def end_turn(self) -> None:
        """All was heard."""
        self.say(serverContent={"turnComplete": True}, usageMetadata={"totalTokenCount": 7})

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """It says nothing of a caller who does not interrupt it."""
        if is_over:
            return
        self.say(serverContent={"interrupted": True})
        for piece in late:
            self.speak(piece)
        self.say(serverContent={"turnComplete": True})

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """Ask for a function."""
        self.say(toolCall={"functionCalls": [{"id": identity, "name": name, "args": arguments}]})

    def fail(self) -> None:
        """It closes, and says why."""
        self.connection.lose(1007, "API key not valid. Please pass a valid API key, not sk-12345.")

    def go_away(self, seconds: float) -> None:
        """Announce the connection's end."""
        self.say(goAway={"timeLeft": f"{seconds:g}s"})
