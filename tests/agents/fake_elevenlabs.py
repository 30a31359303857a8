"""ElevenLabs Agents, played; each message, both ways, is checked with what the `elevenlabs` package itself sends and takes.

The package has a type for the first message only. So what the bridge sends is compared with what the package sends in the
same place, and what the service sends is given to the package's own conversation, which plays it or not as we should.

It is unrealistic in that it numbers each piece of speech, though the real one may number otherwise.
"""

import base64
import itertools
import json
import warnings
from typing import Any

import pytest

from agents.played import Played, extras
from smartflo_bridge.agents.message import Message

pytest.importorskip("elevenlabs", reason="the vendor's types are in the extra `dev`")

with warnings.catch_warnings():  # the package names a class that websockets will drop
    warnings.simplefilter("ignore", DeprecationWarning)
    from elevenlabs.client import ElevenLabs
    from elevenlabs.conversational_ai.conversation import (
        AudioInterface,
        ClientToOrchestratorEvent,
        ContextualUpdateClientToOrchestratorEvent,
        Conversation,
        UserMessageClientToOrchestratorEvent,
    )
    from elevenlabs.types import ConversationInitiationClientDataRequestInput


class VendorsOwn(AudioInterface):
    """The package's conversation, without its threads and its socket.

    Attributes:
        played: what it would play, after the last interruption.
        sent: what it would send.
        called: the tools that it would call.
    """

    def __init__(self) -> None:
        self.played = b""
        self.sent: list[dict[str, Any]] = []
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.transcripts: list[str] = []
        self._conversation = Conversation(
            ElevenLabs(api_key="none"),
            "a1",
            requires_auth=False,
            audio_interface=self,
            callback_user_transcript=self.transcripts.append,
            callback_agent_response=self.transcripts.append,
        )
        self._conversation.client_tools.stop()
        self._conversation.client_tools.execute_tool = lambda name, parameters, _: self.called.append(
            (name, parameters)
        )

    def take(self, text: str) -> None:
        """Take a message of the service. Fails if the package does."""
        self._conversation._handle_message(json.loads(text), self)

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def start(self, input_callback: Any) -> None: ...

    def stop(self) -> None: ...

    def output(self, audio: bytes) -> None:
        self.played += audio

    def interrupt(self) -> None:
        self.played = b""


def check_client(message: Message) -> dict[str, Any]:
    """Return a message of the bridge; fail if the package would send another one in its place."""
    found: dict[str, Any] = json.loads(message)
    if "user_audio_chunk" in found:
        assert list(found) == ["user_audio_chunk"]
        assert base64.b64decode(found["user_audio_chunk"], validate=True)
        return found
    match ClientToOrchestratorEvent(found["type"]) if found["type"] != "pong" else "pong":
        case ClientToOrchestratorEvent.CONVERSATION_INITIATION_CLIENT_DATA:
            told = ConversationInitiationClientDataRequestInput.model_validate(
                {name: value for name, value in found.items() if name != "type"}
            )
            assert not extras(told), extras(told)
        case ClientToOrchestratorEvent.USER_MESSAGE:
            assert found == UserMessageClientToOrchestratorEvent(found["text"]).to_dict()
        case ClientToOrchestratorEvent.CONTEXTUAL_UPDATE:
            assert found == ContextualUpdateClientToOrchestratorEvent(found["text"]).to_dict()
        case ClientToOrchestratorEvent.CLIENT_TOOL_RESULT:
            kinds = {name: type(value) for name, value in found.items()}
            assert kinds == {"type": str, "tool_call_id": str, "result": str, "is_error": bool}
        case "pong":
            package = VendorsOwn()
            package.take(server_message("ping", ping_event={"event_id": found["event_id"], "ping_ms": None}))
            assert package.sent == [found]
        case other:
            raise AssertionError(other)
    return found


def server_message(kind: str, **members: object) -> str:
    """Return a message of the service."""
    return json.dumps({"type": kind, **members})


class FakeElevenLabs(Played):
    """One conversation.

    Attributes:
        initiation: what it was told at first.
        formats: in and out, as they are set on the agent.
        package: what the vendor's own package makes of all that is said.
    """

    def __init__(self, speech: bytes, *, formats: tuple[str, str] = ("ulaw_8000", "ulaw_8000"), **more: Any) -> None:
        super().__init__(speech, **more)
        self.initiation: dict[str, Any] = {}
        self.formats = formats
        self.pongs: list[int] = []
        self.package = VendorsOwn()
        self._pieces_sent = itertools.count(1)
        self._newest = 0

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        found = check_client(message)
        match found.get("type"):
            case None:
                self.heard += base64.b64decode(found["user_audio_chunk"])
            case "conversation_initiation_client_data":
                self._open(found)
            case "user_message":
                self.texts.append(found["text"])
                self.respond()
            case "contextual_update":
                self.story = found["text"]
            case "client_tool_result":
                self.results[found["tool_call_id"]] = found["result"]
                self.respond()
            case "pong":
                self.pongs.append(found["event_id"])

    def _open(self, initiation: dict[str, Any]) -> None:
        self.initiation = initiation
        metadata = {
            "conversation_id": "conv_1",
            "user_input_audio_format": self.formats[0],
            "agent_output_audio_format": self.formats[1],
        }
        self.say("conversation_initiation_metadata", conversation_initiation_metadata_event=metadata)
        self.say("ping", ping_event={"event_id": 1, "ping_ms": None})
        if initiation["conversation_config_override"].get("agent", {}).get("first_message"):
            self.greetings += 1
            self.respond()

    def say(self, kind: str, **members: object) -> None:
        """Say something."""
        text = server_message(kind, **members)
        self.package.take(text)
        self.connection.say(text)

    def begin_turn(self) -> None:
        """It says beforehand what it will say."""
        self.say("agent_response", agent_response_event={"agent_response": "What the agent said.", "event_id": 1})

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        self._speak(ulaw, next(self._pieces_sent))

    def _speak(self, ulaw: bytes, number: int) -> None:
        self._newest = number
        audio = {"audio_base_64": base64.b64encode(ulaw).decode(), "event_id": number}
        self.say("audio", audio_event=audio)

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """It says nothing of a caller who does not interrupt it."""
        if is_over:
            return
        numbers = [next(self._pieces_sent) for _ in late]
        last = numbers[-1] if numbers else self._newest
        self.say("interruption", interruption_event={"event_id": last})
        for piece, number in zip(late, numbers, strict=True):
            self._speak(piece, number)

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """Ask for a function."""
        call = {"tool_name": name, "tool_call_id": identity, "parameters": arguments, "event_id": 1}
        self.say("client_tool_call", client_tool_call=call)

    def fail(self) -> None:
        """It says why, and would close."""
        event = {"code": 1008, "error_type": "override_error", "message": "sk-12345 may not override the prompt"}
        self.say("error", error_event=event)
