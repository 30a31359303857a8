"""The services that are played, under their names, and calls to them on the virtual clock."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agents.answers import repeat
from agents.played import Played
from agents.support import Service, dial_leg
from calls.support import Dialled
from smartflo_bridge.agents.answering import Answering
from smartflo_bridge.agents.dialect import Dialect, HttpRequest, Opening
from smartflo_bridge.agents.kinds import KINDS
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.calls.home import HandlerLoop


class PlayedKind(NamedTuple):
    """One service, as it is played.

    Attributes:
        keys: with which the caller's and the agent's audio arrive unchanged, and a call is greeted.
        fake: module and class of its player.
        has_tools: it calls functions of ours.
        answer: the function that answers for it, where it has no model.
    """

    keys: dict[str, Any]
    fake: tuple[str, str]
    has_tools: bool = True
    answer: object = None

    def player(self) -> Callable[..., Played]:
        """Return what plays it; skips the test where the vendor's package is not installed."""
        module, name = self.fake
        found: Callable[..., Played] = getattr(importlib.import_module(module), name)
        return found


PLAYED = {
    "gemini": PlayedKind({"greeting": "Hello!", "input_format": "pcm16;8000"}, ("agents.fake_gemini", "FakeGemini")),
    "elevenlabs": PlayedKind({"greeting": "Hello!", "agent_id": "a1"}, ("agents.fake_elevenlabs", "FakeElevenLabs")),
    "deepgram": PlayedKind({"greeting": "Hello!"}, ("agents.fake_deepgram", "FakeDeepgram")),
    "pipecat": PlayedKind(
        {"url": "ws://127.0.0.1:8765/", "input_rate_hz": 8000, "output_rate_hz": 8000},
        ("agents.fake_pipecat", "FakePipecat"),
        has_tools=False,
    ),
    "ultravox": PlayedKind({"greeting": "Hello!"}, ("agents.fake_ultravox", "FakeUltravox")),
    "sarvam": PlayedKind(
        {"greeting": "Hello!", "answer": "agents.answers:repeat"},
        ("agents.fake_sarvam", "FakeSarvam"),
        has_tools=False,
        answer=repeat,
    ),
}


def dial(
    dialect: Callable[[Any, Opening], Dialect], fakes: Sequence[Played], settings: AgentSettings, **plan: Any
) -> tuple[Service, Dialled]:
    """Return a call to an agent; the connections of each line are served by the next of the fakes."""
    left = [fake for fake in fakes for _ in range(fake.connections)]

    async def serve(connection: Any) -> None:
        await left.pop(0).serve(connection)

    def answer(request: HttpRequest) -> bytes:
        return left[0].answer(request)

    service = Service(serve, answer=answer)
    return service, dial_leg(service, dialect, settings, plan=plan)


def dial_kind(name: str, fakes: Sequence[Played], keys: dict[str, Any] | None = None, **plan: Any) -> Any:
    """Return the service and a call to it, by its name; of the keys it is given those that it has."""
    kind = KINDS[name]
    if PLAYED[name].answer is not None:
        plan["answering"] = Answering(PLAYED[name].answer, HandlerLoop.main(), 5.0)
    own = {key: value for key, value in (keys or {}).items() if key in kind.settings.__struct_fields__}
    settings = kind.settings(**(PLAYED[name].keys | own))
    return dial(kind.dialect, fakes, settings, **plan)
