"""What Sarvam is told: the keys of the configuration, the two addresses, and the first message made of them."""

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlencode

from msgspec import Meta

from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.settings import AnswerSettings, Text, WebSocketUrl
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ

SYNTHESIS = "synthesis"
"""The name of the connection that speaks; the first one is the one that hears."""

Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}-IN\Z")]


class SarvamSettings(AnswerSettings, frozen=True, kw_only=True):
    """The keys of `kind = "sarvam"`.

    Attributes:
        url: of the service.
        language: of the speech, and of the caller.
        detect_language: the caller may speak any other; what was said is then in that one.
        greeting: what is said first; empty waits for the caller.
        sorry: what is said when the function fails, or takes too long.
        recognition_model: as Sarvam names it.
        recognition_mode: what is written down: the words, or a translation into English, and so on.
        stream_type: of the recognition: early, or right.
        input_format: of the caller's audio; mu-law is passed on untouched.
        threshold: from 0 to 1: how loud speech has to be.
        silence_ms: so much silence ends the caller's turn.
        synthesis_model: as Sarvam names it.
        voice: as Sarvam names it.
        pace: of the speech; 1 is normal.
    """

    needs_key: ClassVar[bool] = True

    url: WebSocketUrl = "wss://api.sarvam.ai"
    language: Language = "hi-IN"
    detect_language: bool = False
    greeting: str = ""
    sorry: Text = "Sorry, could you say that again?"
    recognition_model: Text = "saaras:v3-realtime"
    recognition_mode: Literal["transcribe", "translate", "verbatim", "translit", "codemix"] = "transcribe"
    stream_type: Literal["fast", "balanced", "simulated"] = "balanced"
    input_format: Literal["mulaw", "pcm16"] = "mulaw"
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    silence_ms: Annotated[int, Meta(ge=100, le=5000)] = 500
    synthesis_model: Text = "bulbul:v3"
    voice: Text = "shubh"
    pace: Annotated[float, Meta(ge=0.3, le=3)] = 1.0


def endpoints(settings: SarvamSettings, key: str) -> Endpoint:
    """Return where the caller is heard, and beside it where speech is made."""
    base = settings.url.rstrip("/")
    headers = {"Api-Subscription-Key": key}
    hearing = {
        "language_code": "auto" if settings.detect_language else settings.language,
        "model": settings.recognition_model,
        "mode": settings.recognition_mode,
        "stream_type": settings.stream_type,
        "endpointing": "vad",
        "encoding": "mulaw" if settings.input_format == "mulaw" else "linear16",
        "sample_rate": SAMPLE_RATE_HZ,
        "threshold": settings.threshold,
        "silence_duration_ms": settings.silence_ms,
    }
    speaking = {"model": settings.synthesis_model, "send_completion_event": "true"}
    synthesis = Endpoint(f"{base}/text-to-speech/ws?{urlencode(speaking)}", headers)
    return Endpoint(f"{base}/speech-to-text-realtime/ws?{urlencode(hearing)}", headers, beside={SYNTHESIS: synthesis})


def synthesis_config(settings: SarvamSettings) -> dict[str, object]:
    """Return what the synthesis is told first."""
    return {
        "type": "config",
        "data": {
            "language_code": settings.language,
            "speaker": settings.voice,
            "pace": settings.pace,
            "speech_sample_rate": SAMPLE_RATE_HZ,
            "output_audio_codec": "mulaw",
            "min_buffer_size": 50,
            "max_chunk_length": 150,
        },
    }
