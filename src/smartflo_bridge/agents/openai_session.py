"""What an OpenAI session is told: the keys of the configuration, and `session.update` made of them."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from smartflo_bridge.agents.briefing import instructions_of
from smartflo_bridge.agents.dialect import Opening, Tool
from smartflo_bridge.agents.message import Message, to_text
from smartflo_bridge.agents.settings import Text, ToolSettings, WebSocketUrl


class OpenAISettings(ToolSettings, frozen=True, kw_only=True):
    """The keys of `kind = "openai"`.

    Attributes:
        url: of the service, or of one that speaks the same.
        model: as OpenAI names it.
        voice: as OpenAI names it.
        instructions: who the agent is and what it is to do.
        greeting: what it says first; empty waits for the caller.
        language: of the caller, as ISO 639-1, for the transcript.
        format: of the audio, both ways.
        turn_detection: how the caller's turn is found: by silence, or by what was said.
        eagerness: of `semantic_vad`, to answer.
        threshold: of `server_vad`, from 0 to 1: how loud speech has to be.
        silence_ms: of `server_vad`: so much silence ends a turn.
        noise_reduction: `near_field` for a handset, `far_field` for a speakerphone, `off`.
        transcription_model: writes down what the caller says; empty does not.
    """

    needs_key: ClassVar[bool] = True

    url: WebSocketUrl = "wss://api.openai.com/v1/realtime"
    model: Text = "gpt-realtime"
    voice: Text = "marin"
    instructions: str = ""
    greeting: str = ""
    language: str = ""
    format: Literal["mulaw", "pcm16"] = "mulaw"
    turn_detection: Literal["server_vad", "semantic_vad"] = "server_vad"
    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    silence_ms: Annotated[int, Meta(ge=100, le=5000)] = 500
    noise_reduction: Literal["near_field", "far_field", "off"] = "off"
    transcription_model: str = "gpt-4o-mini-transcribe"
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 15.0


def session_update(settings: OpenAISettings, opening: Opening) -> Message:
    """Return the message that configures a session."""
    wire: dict[str, object] = (
        {"type": "audio/pcmu"} if settings.format == "mulaw" else {"type": "audio/pcm", "rate": 24000}
    )
    listening: dict[str, object] = {"format": wire, "turn_detection": _turn_detection(settings)}
    if settings.transcription_model:
        language = {"language": settings.language} if settings.language else {}
        listening["transcription"] = {"model": settings.transcription_model} | language
    if settings.noise_reduction != "off":
        listening["noise_reduction"] = {"type": settings.noise_reduction}
    session = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": instructions_of(settings.instructions, opening),
        "audio": {"input": listening, "output": {"format": wire, "voice": settings.voice}},
        "tools": [_function(tool) for tool in opening.tools],
        "tool_choice": "auto",
    }
    return to_text({"type": "session.update", "session": session})


def _turn_detection(settings: OpenAISettings) -> dict[str, object]:
    both = {"type": settings.turn_detection, "create_response": True, "interrupt_response": True}
    if settings.turn_detection == "semantic_vad":
        return both | {"eagerness": settings.eagerness}
    return both | {
        "threshold": settings.threshold,
        "prefix_padding_ms": 300,
        "silence_duration_ms": settings.silence_ms,
    }


def _function(tool: Tool) -> dict[str, object]:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
