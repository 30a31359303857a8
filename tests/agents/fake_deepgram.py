"""Deepgram's Voice Agent, played; each message, both ways, is checked with the types of the `deepgram-sdk` package.

It is unrealistic in that it understands every word, and in that it sends `AgentStartedSpeaking` never, as the real one does
without its experimental features.
"""

import json
import warnings
from typing import Any

import pytest

from agents.played import Played, extras
from smartflo_bridge.agents.message import Message

pytest.importorskip("deepgram", reason="the vendor's types are in the extra `dev`")
with warnings.catch_warnings():  # the package names classes that websockets will drop
    warnings.simplefilter("ignore", DeprecationWarning)
    from deepgram.agent.v1 import types
    from deepgram.types import think_settings_v1

CLIENT: dict[str, Any] = {
    "Settings": types.AgentV1Settings,
    "InjectUserMessage": types.AgentV1InjectUserMessage,
    "KeepAlive": types.AgentV1KeepAlive,
    "FunctionCallResponse": types.AgentV1SendFunctionCallResponse,
}
SERVER: dict[str, Any] = {
    "Welcome": types.AgentV1Welcome,
    "SettingsApplied": types.AgentV1SettingsApplied,
    "UserStartedSpeaking": types.AgentV1UserStartedSpeaking,
    "ConversationText": types.AgentV1ConversationText,
    "AgentThinking": types.AgentV1AgentThinking,
    "AgentStartedSpeaking": types.AgentV1AgentStartedSpeaking,
    "AgentAudioDone": types.AgentV1AgentAudioDone,
    "FunctionCallRequest": types.AgentV1FunctionCallRequest,
    "FunctionCallCancelled": types.AgentV1FunctionCallCancelled,
    "LatencyReport": types.AgentV1LatencyReport,
    "InjectionRefused": types.AgentV1InjectionRefused,
    "Warning": types.AgentV1Warning,
    "Error": types.AgentV1Error,
}


def check_client(message: Message) -> Any:
    """Return a message of the bridge as the vendor's type; fail if it has members that no type has."""
    found = json.loads(message)
    event = CLIENT[found["type"]].model_validate(found)
    assert not extras(event), (extras(event), message)
    if found["type"] == "Settings" and isinstance(found["agent"], dict):
        # The types take anything for what they do not recognise: these are the ones that are meant.
        assert isinstance(event.agent, types.AgentV1SettingsAgent)
        assert isinstance(event.agent.think, think_settings_v1.ThinkSettingsV1)
    return event


def server_message(kind: str, **members: object) -> str:
    """Return a message of the service, which the vendor's types accept."""
    text = json.dumps({"type": kind, **members})
    event = SERVER[kind].model_validate_json(text)
    assert not extras(event), extras(event)
    return text


class FakeDeepgram(Played):
    """One conversation.

    Attributes:
        settings: what it was told at first.
        alive: how often it was told that the bridge is still there.
    """

    def __init__(self, speech: bytes, **more: Any) -> None:
        super().__init__(speech, **more)
        self.settings: Any = None
        self.alive = 0

    def begin(self) -> None:
        """It speaks first."""
        self.say("Welcome", request_id="r1")

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        if isinstance(message, bytes):
            assert self.settings is not None, "audio before the settings"
            self.heard += message
            return
        event = check_client(message)
        match event.type:
            case "Settings":
                self._open(event)
            case "KeepAlive":
                self.alive += 1
            case "InjectUserMessage":
                self.texts.append(event.content)
                self.say("ConversationText", role="user", content=event.content)
                self.respond()
            case "FunctionCallResponse":
                self.results[event.id] = event.content
                self.respond()

    def _open(self, settings: Any) -> None:
        self.settings = settings
        self.story = settings.agent.context.model_dump_json() if settings.agent.context else ""
        self.say("SettingsApplied")
        if settings.agent.greeting:
            self.greetings += 1
            self.respond()

    def say(self, kind: str, **members: object) -> None:
        """Say something."""
        self.connection.say(server_message(kind, **members))

    def begin_turn(self) -> None:
        """It says beforehand what it will say."""
        self.say("ConversationText", role="assistant", content="What the agent said.")

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        self.connection.say(ulaw)

    def finish(self) -> None:
        """All was sent."""
        self.say("AgentAudioDone")

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """It says so each time, whether there is something to stop or not."""
        self.say("UserStartedSpeaking")
        for piece in late:
            self.speak(piece)

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """Ask for a function."""
        function = {"id": identity, "name": name, "arguments": json.dumps(arguments), "client_side": True}
        self.say("FunctionCallRequest", functions=[function])

    def fail(self) -> None:
        """It says why, and would close."""
        self.say("Error", code="INVALID_SETTINGS", description="sk-12345 is not a model")
