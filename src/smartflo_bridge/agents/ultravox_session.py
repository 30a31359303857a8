"""What Ultravox is told of a call: the keys of the configuration, and the request that makes a call there of them."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from smartflo_bridge.agents.briefing import instructions_of
from smartflo_bridge.agents.dialect import Opening, Tool
from smartflo_bridge.agents.settings import Text, ToolSettings, WebSocketUrl
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ


class UltravoxSettings(ToolSettings, frozen=True, kw_only=True):
    """The keys of `kind = "ultravox"`.

    Attributes:
        url: of the service; calls are made over https on the same host.
        agent_id: of an agent that was made there; empty uses the keys below it here.
        model: as Ultravox names it.
        voice: as Ultravox names it; empty is the service's choice.
        instructions: who the agent is and what it is to do.
        greeting: what it says first; empty waits for the caller, or leaves it to the agent that was made there.
        language: a hint, such as `hi-IN`; empty for none.
        silence_ms: so much silence ends the caller's turn.
        interruption_ms: so much speech of the caller's interrupts the agent.
        buffer_ms: how far ahead of the caller's ear the service may speak.
        session_seconds: the longest call there. Another one takes over before its end.
    """

    needs_key: ClassVar[bool] = True

    url: WebSocketUrl = "wss://api.ultravox.ai/api"
    agent_id: str = ""
    model: Text = "ultravox-v0.7"
    voice: str = ""
    instructions: str = ""
    greeting: str = ""
    language: str = ""
    silence_ms: Annotated[int, Meta(ge=32, le=5000)] = 384
    interruption_ms: Annotated[int, Meta(ge=32, le=5000)] = 96
    buffer_ms: Annotated[int, Meta(ge=60, le=60_000)] = 30_000
    session_seconds: Annotated[int, Meta(ge=60, le=3600)] = 3600
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 15.0


def call_request(settings: UltravoxSettings, opening: Opening) -> dict[str, Any]:
    """Return what makes a call: of an agent that was made there, or of all that the configuration says."""
    medium = {
        "inputSampleRate": SAMPLE_RATE_HZ,
        "outputSampleRate": SAMPLE_RATE_HZ,
        "clientBufferSizeMs": settings.buffer_ms,
    }
    made: dict[str, Any] = {
        "medium": {"serverWebSocket": medium},
        "maxDuration": f"{settings.session_seconds}s",
    }
    if opening.said:
        made["initialMessages"] = [
            {"role": "MESSAGE_ROLE_USER" if said.is_caller else "MESSAGE_ROLE_AGENT", "text": said.text}
            for said in opening.said
        ]
    if settings.greeting and opening.is_first:
        made["firstSpeakerSettings"] = {"agent": {"text": settings.greeting}}
    elif not (settings.agent_id and opening.is_first):
        made["firstSpeakerSettings"] = {"user": {}}
    return made | (_of_agent(opening) if settings.agent_id else _of_settings(settings, opening))


def _of_agent(opening: Opening) -> dict[str, Any]:
    """What the agent may know of the call stands where its prompt has `{{from}}`, `{{to}}`, or the parameter's name."""
    facts = opening.facts
    known = {"from": facts.from_number, "to": facts.to_number} | facts.custom_parameters
    told = {name: value for name, value in known.items() if value}
    return {"templateContext": told} if told else {}


def _of_settings(settings: UltravoxSettings, opening: Opening) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model": settings.model,
        "systemPrompt": instructions_of(settings.instructions, opening),
        "vadSettings": {
            "turnEndpointDelay": f"{settings.silence_ms / 1000}s",
            "minimumInterruptionDuration": f"{settings.interruption_ms / 1000}s",
        },
    }
    if settings.voice:
        made["voice"] = settings.voice
    if settings.language:
        made["languageHint"] = settings.language
    if opening.tools:
        made["selectedTools"] = [_selected(tool, settings.tool_seconds) for tool in opening.tools]
    return made


def _selected(tool: Tool, tool_seconds: float) -> dict[str, Any]:
    """Return a tool as the service has it: one schema a parameter, each with the definitions that it may refer to."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required")
    definitions = {"$defs": tool.parameters["$defs"]} if "$defs" in tool.parameters else {}
    return {
        "temporaryTool": {
            "modelToolName": tool.name,
            "description": tool.description,
            "dynamicParameters": [
                {
                    "name": name,
                    "location": "PARAMETER_LOCATION_BODY",
                    "schema": schema | definitions,
                    "required": isinstance(required, list) and name in required,
                }
                for name, schema in (properties.items() if isinstance(properties, dict) else ())
            ],
            "timeout": f"{tool_seconds:g}s",
            "client": {},
        }
    }
