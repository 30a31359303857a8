"""What an ElevenLabs conversation is told: the keys of the configuration, and the first message made of them."""

from typing import Annotated

from msgspec import Meta

from smartflo_bridge.agents.briefing import instructions_of
from smartflo_bridge.agents.dialect import Opening
from smartflo_bridge.agents.message import Message, to_text
from smartflo_bridge.agents.settings import Text, ToolSettings, WebSocketUrl


class ElevenLabsSettings(ToolSettings, frozen=True, kw_only=True):
    """The keys of `kind = "elevenlabs"`.

    Attributes:
        agent_id: of the agent that was made there.
        url: of the service; its hosts for the USA, the EU and India have other names.
        key_file: needed for a private agent; a public one is dialled without.
        instructions: in place of the agent's prompt.
        greeting: in place of its first message.
        language: in place of its own, as ISO 639-1.
        voice: in place of its own, by its id. Each of these four has to be allowed in the agent's security settings.
    """

    agent_id: Text
    url: WebSocketUrl = "wss://api.elevenlabs.io/v1/convai/conversation"
    instructions: str = ""
    greeting: str = ""
    language: str = ""
    voice: str = ""
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 15.0


def initiation(settings: ElevenLabsSettings, opening: Opening) -> Message:
    """Return the first message. An override that nobody asked for is not in it: the service refuses those not allowed."""
    agent: dict[str, object] = {}
    if settings.instructions:
        agent["prompt"] = {"prompt": instructions_of(settings.instructions, opening)}
    if settings.greeting:
        agent["first_message"] = settings.greeting if opening.is_first else ""
    if settings.language:
        agent["language"] = settings.language
    override = {"agent": agent, "tts": {"voice_id": settings.voice} if settings.voice else {}}
    facts = opening.facts
    known = {"from_number": facts.from_number, "to_number": facts.to_number} | facts.custom_parameters
    return to_text(
        {
            "type": "conversation_initiation_client_data",
            "conversation_config_override": {name: value for name, value in override.items() if value},
            "dynamic_variables": {name: value for name, value in known.items() if value is not None},
        }
    )
