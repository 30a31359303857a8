"""What a Deepgram Voice Agent is told: the keys of the configuration, and the `Settings` message made of them."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from smartflo_bridge.agents.briefing import instructions_of
from smartflo_bridge.agents.dialect import Opening
from smartflo_bridge.agents.message import Message, to_text
from smartflo_bridge.agents.settings import Text, ToolSettings, WebSocketUrl


class DeepgramSettings(ToolSettings, frozen=True, kw_only=True):
    """The keys of `kind = "deepgram"`.

    Attributes:
        url: of the service, or of one that speaks the same.
        agent_id: of an agent configuration that is kept there, in place of all keys below.
        instructions: who the agent is and what it is to do.
        greeting: what it says first; empty waits for the caller.
        listen_model: recognises the caller; one of the Flux models finds the caller's turns by what is said.
        language: of the caller, as BCP 47, or `multi` for several in one call; a Flux model finds it itself.
        think_provider: whose language model it is.
        think_model: that model, as its provider names it.
        voice: Deepgram's name for it, which has the language in it.
        mip_opt_out: the call is not used to improve the service's models, at its price.
    """

    needs_key: ClassVar[bool] = True

    url: WebSocketUrl = "wss://agent.deepgram.com/v1/agent/converse"
    agent_id: str = ""
    instructions: str = ""
    greeting: str = ""
    listen_model: Text = "nova-3"
    language: str = "multi"
    think_provider: Literal["open_ai", "anthropic", "google", "groq", "deepgram"] = "open_ai"
    think_model: Text = "gpt-4o-mini"
    voice: Text = "aura-2-thalia-en"
    mip_opt_out: bool = False
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 15.0


def settings_message(settings: DeepgramSettings, opening: Opening) -> Message:
    """Return the message that configures a conversation: mu-law both ways, without a container."""
    wire: dict[str, object] = {"encoding": "mulaw", "sample_rate": 8000}
    told: dict[str, object] = {
        "type": "Settings",
        "audio": {"input": wire, "output": wire | {"container": "none"}},
        "agent": settings.agent_id or _agent(settings, opening),
        # It would repeat each transcript as a message of its own.
        "flags": {"history": False},
    }
    if settings.mip_opt_out:
        told["mip_opt_out"] = True
    return to_text(told)


def _agent(settings: DeepgramSettings, opening: Opening) -> dict[str, object]:
    think: dict[str, object] = {
        "provider": {"type": settings.think_provider, "model": settings.think_model},
        "prompt": instructions_of(settings.instructions, opening),
    }
    if opening.tools:
        think["functions"] = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in opening.tools
        ]
    agent: dict[str, object] = {
        "listen": {"provider": _listen(settings)},
        "think": think,
        "speak": {"provider": {"type": "deepgram", "model": settings.voice}},
    }
    if opening.is_first and settings.greeting:
        agent["greeting"] = settings.greeting
    if opening.said:
        agent["context"] = {
            "messages": [
                {"type": "History", "role": "user" if said.is_caller else "assistant", "content": said.text}
                for said in opening.said
            ]
        }
    return agent


def _listen(settings: DeepgramSettings) -> dict[str, object]:
    is_flux = settings.listen_model.startswith("flux")
    listen: dict[str, object] = {
        "type": "deepgram",
        "version": "v2" if is_flux else "v1",
        "model": settings.listen_model,
    }
    if settings.language and not is_flux:
        listen["language"] = settings.language
    return listen
