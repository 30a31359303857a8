"""Ultravox, played. There is no vendor's package with its messages: livekit's plugin for it has types, and they check all.

They are another company's reading of the documentation, from May 2025; what is newer, `hang_up`, is checked against the
documentation itself, and so is the request that makes a call, whose published schema is repeated here as far as we use it.
"""

import audioop
import contextlib
import functools
import http.server
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Literal

import msgspec
import pytest

from agents.played import Played
from bots.running import ROOT, only_one, pip_installs
from smartflo_bridge.agents.dialect import HttpRequest
from smartflo_bridge.agents.message import Message

LIVEKIT = "livekit-plugins-ultravox==1.8.9"


@functools.cache
def livekit_events() -> ModuleType:
    """Return the plugin's module of messages, alone; skips the test where it cannot be had."""
    folder = ROOT / ".cache" / LIVEKIT
    path = folder / "livekit" / "plugins" / "ultravox" / "realtime" / "events.py"
    with only_one(folder):
        if not path.exists():
            # Without what it needs to run: some hundred MB, of which its messages need none.
            why = pip_installs("install", "--no-compile", "--no-deps", "--target", folder, LIVEKIT)
            if why:
                pytest.skip(f"{LIVEKIT} cannot be installed from the package index: {why}")
    spec = importlib.util.spec_from_file_location("livekit_events", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["livekit_events"] = module  # its annotations are looked up there
    spec.loader.exec_module(module)
    return module


def check(message: dict[str, Any]) -> dict[str, Any]:
    """Fail if a message is not one that the types know, with members that they know."""
    event = livekit_events().parse_ultravox_event(message)
    unknown = set(message) - set(event.model_dump(by_alias=True))
    assert not unknown, (unknown, message)
    assert event.type == message["type"]
    return message


class _Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    pass


class _WebSocketMedium(_Part):
    input_sample_rate: int
    output_sample_rate: int
    client_buffer_size_ms: int


class _Medium(_Part):
    server_web_socket: _WebSocketMedium


class _InitialMessage(_Part):
    role: Literal["MESSAGE_ROLE_USER", "MESSAGE_ROLE_AGENT"]
    text: str


class _AgentGreeting(_Part):
    text: str


class _FirstSpeaker(_Part):
    user: dict[str, Any] | None = None
    agent: _AgentGreeting | None = None


class _DynamicParameter(_Part):
    name: str
    location: Literal["PARAMETER_LOCATION_BODY"]
    schema: dict[str, Any]
    required: bool


class _TemporaryTool(_Part):
    model_tool_name: str
    description: str
    dynamic_parameters: list[_DynamicParameter]
    timeout: str
    client: dict[str, Any]


class _SelectedTool(_Part):
    temporary_tool: _TemporaryTool


class _VadSettings(_Part):
    turn_endpoint_delay: str
    minimum_interruption_duration: str


class StartAgentCall(_Part):
    """`POST /api/agents/{agent_id}/calls`, as far as we use it: an agent's own settings are not among it."""

    medium: _Medium
    max_duration: str
    first_speaker_settings: _FirstSpeaker | None = None
    initial_messages: list[_InitialMessage] = []
    template_context: dict[str, Any] = {}


class StartCall(_Part):
    """`POST /api/calls`, as far as we use it."""

    medium: _Medium
    max_duration: str
    model: str
    system_prompt: str
    first_speaker_settings: _FirstSpeaker
    vad_settings: _VadSettings
    voice: str = ""
    language_hint: str = ""
    selected_tools: list[_SelectedTool] = []
    initial_messages: list[_InitialMessage] = []


class FakeUltravox(Played):
    """One call there.

    Attributes:
        asked: what it was made with.
        address: where it is joined.
    """

    def __init__(self, speech: bytes, **more: Any) -> None:
        super().__init__(speech, **more)
        livekit_events()  # to be had before a loop runs, which would stand still for it
        self.asked: StartCall | None = None
        self.address = "wss://voice.example.com/calls/1/server_web_socket"

    def answer(self, request: HttpRequest) -> bytes:
        """Make a call."""
        assert request.url.endswith("/api/calls")
        assert request.body is not None
        self.asked = msgspec.json.decode(request.body, type=StartCall)
        self.story = " ".join(said.text for said in self.asked.initial_messages)
        return json.dumps({"callId": "1", "joinUrl": self.address}).encode()

    @contextlib.contextmanager
    def front(self, url: str, seen: list[str]) -> Iterator[str]:
        """Answer over HTTP, in a thread."""
        self.address, fake = url, self

        class Api(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.extend(self.headers.values())
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = fake.answer(HttpRequest(self.path, body=body))
                self.send_response(201)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Not to the tests' output."""

        with http.server.HTTPServer(("127.0.0.1", 0), Api) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"ws://127.0.0.1:{server.server_port}/api"
            finally:
                server.shutdown()
                thread.join()

    def begin(self) -> None:
        """The call starts; the agent greets if it was told to speak first."""
        self._say("call_started", callId="1")
        self._say("state", state="idle")
        if self.asked is not None and self.asked.first_speaker_settings.agent is not None:
            self.greetings += 1
            self.respond()

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        if isinstance(message, bytes):
            self.heard += audioop.lin2ulaw(message, 2)
            return
        found = json.loads(message)
        if found == {"type": "hang_up"}:
            return
        match check(found):
            case {"type": "user_text_message", "text": text, "urgency": "immediate"}:
                self.texts.append(text)
                self.respond()
            case {"type": "client_tool_result", "invocationId": identity, "result": result}:
                self.results[identity] = result
                self.respond()
            case other:
                pytest.fail(f"not expected: {other}")

    def _say(self, kind: str, **members: Any) -> None:
        self.connection.say(json.dumps(check({"type": kind, **members})))

    def begin_turn(self) -> None:
        """It thinks, and speaks."""
        self._say("state", state="thinking")
        if not self.calls:
            self._say("state", state="speaking")

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        self.connection.say(audioop.ulaw2lin(ulaw, 2))

    def finish(self) -> None:
        """All was sent, and is written down."""
        said = {"role": "agent", "medium": "voice", "ordinal": next(self.numbers)}
        self._say("transcript", **said, delta="What the agent ", final=False)
        self._say("transcript", **said, delta="said.", final=True)

    def end_turn(self) -> None:
        """All was heard."""
        self._say("state", state="listening")

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """What it has sent is not to be heard any more; what is late comes before it says so."""
        for piece in late:
            self.speak(piece)
        if not is_over:
            self._say("playback_clear_buffer")
            self._say("state", state="listening")

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """Ask for a function."""
        self._say("client_tool_invocation", toolName=name, invocationId=identity, parameters=arguments)

    def fail(self) -> None:
        """It closes, for what we did."""
        self.connection.lose(1008, "sk-12345 is not allowed")
