"""What a Gemini Live session is told: the keys of the configuration, and the `setup` message made of them."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from smartflo_bridge.agents.briefing import instructions_and_story, instructions_of
from smartflo_bridge.agents.dialect import Opening, Tool
from smartflo_bridge.agents.message import Message, to_text
from smartflo_bridge.agents.settings import Text, ToolSettings, WebSocketUrl


class GeminiSettings(ToolSettings, frozen=True, kw_only=True):
    """The keys of `kind = "gemini"`.

    Attributes:
        url: of the service, or of one that speaks the same.
        model: as Google names it, with or without `models/`.
        voice: as Google names it; empty is the service's choice.
        instructions: who the agent is and what it is to do.
        greeting: what it says first; empty waits for the caller.
        language: of the agent, as BCP 47; empty lets the model find it, and most models know no other way.
        input_format: in which the service is given the caller: 16 kHz is its own rate, it converts 8 kHz itself.
        start_sensitivity: how easily the caller's speech is found; `low` takes less noise for speech.
        end_sensitivity: how easily its end is found; `low` answers later.
        prefix_ms: so much speech has to be there before it counts as such.
        silence_ms: so much silence ends the caller's turn.
        transcripts: both sides are written down, so that a session that cannot be resumed is told what was said.
    """

    needs_key: ClassVar[bool] = True

    url: WebSocketUrl = (
        "wss://generativelanguage.googleapis.com/ws/"
        "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    )
    model: Text = "gemini-3.1-flash-live-preview"
    voice: str = ""
    instructions: str = ""
    greeting: str = ""
    language: str = ""
    input_format: Literal["pcm16;16000", "pcm16;8000"] = "pcm16;16000"
    start_sensitivity: Literal["high", "low"] = "high"
    end_sensitivity: Literal["high", "low"] = "high"
    prefix_ms: Annotated[int, Meta(ge=0, le=2000)] = 100
    silence_ms: Annotated[int, Meta(ge=50, le=5000)] = 500
    transcripts: bool = True
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 20.0


def setup(settings: GeminiSettings, opening: Opening) -> Message:
    """Return the message that opens a session, or goes on with one where there is a handle."""
    made: dict[str, object] = {
        "model": settings.model if "/" in settings.model else f"models/{settings.model}",
        "generationConfig": {"responseModalities": ["AUDIO"]} | _speech(settings),
        "realtimeInputConfig": {"automaticActivityDetection": _turn_detection(settings)},
        "sessionResumption": {"handle": opening.handle} if opening.handle else {},
        # Without it a session of audio ends after 15 minutes.
        "contextWindowCompression": {"slidingWindow": {}},
    }
    brief = instructions_of if opening.handle else instructions_and_story  # what a handle stands for, it knows
    if told := brief(settings.instructions, opening):
        made["systemInstruction"] = {"parts": [{"text": told}]}
    if opening.tools:
        made["tools"] = [{"functionDeclarations": [_function(tool) for tool in opening.tools]}]
    if settings.transcripts:
        made |= {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
    return to_text({"setup": made})


def _speech(settings: GeminiSettings) -> dict[str, object]:
    speech: dict[str, object] = {}
    if settings.voice:
        speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": settings.voice}}
    if settings.language:
        speech["languageCode"] = settings.language
    return {"speechConfig": speech} if speech else {}


def _turn_detection(settings: GeminiSettings) -> dict[str, object]:
    return {
        "startOfSpeechSensitivity": f"START_SENSITIVITY_{settings.start_sensitivity.upper()}",
        "endOfSpeechSensitivity": f"END_SENSITIVITY_{settings.end_sensitivity.upper()}",
        "prefixPaddingMs": settings.prefix_ms,
        "silenceDurationMs": settings.silence_ms,
    }


def _function(tool: Tool) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
