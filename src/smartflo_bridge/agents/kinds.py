"""All kinds of agents: what each is called in the configuration, its keys, and its dialect. A new one is a line here."""

from collections.abc import Callable
from typing import Any, NamedTuple

from smartflo_bridge.agents.deepgram import DeepgramDialect
from smartflo_bridge.agents.deepgram_session import DeepgramSettings
from smartflo_bridge.agents.dialect import Dialect, Opening
from smartflo_bridge.agents.elevenlabs import ElevenLabsDialect
from smartflo_bridge.agents.elevenlabs_session import ElevenLabsSettings
from smartflo_bridge.agents.gemini import GeminiDialect
from smartflo_bridge.agents.gemini_session import GeminiSettings
from smartflo_bridge.agents.openai import OpenAIDialect
from smartflo_bridge.agents.openai_session import OpenAISettings
from smartflo_bridge.agents.pipecat import PipecatDialect, PipecatSettings
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from smartflo_bridge.agents.sarvam import SarvamDialect
from smartflo_bridge.agents.sarvam_session import SarvamSettings
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.agents.twilio import TwilioDialect, TwilioSettings
from smartflo_bridge.agents.ultravox import UltravoxDialect
from smartflo_bridge.agents.ultravox_session import UltravoxSettings
from smartflo_bridge.tables import ConfigKeyError, struct_from


class Kind(NamedTuple):
    """One service: the struct of its keys, and what makes its dialect of them."""

    settings: type[AgentSettings]
    dialect: Callable[[Any, Opening], Dialect]


KINDS: dict[str, Kind] = {
    "twilio": Kind(TwilioSettings, TwilioDialect),
    "raw": Kind(RawSettings, RawDialect),
    "openai": Kind(OpenAISettings, OpenAIDialect),
    "gemini": Kind(GeminiSettings, GeminiDialect),
    "elevenlabs": Kind(ElevenLabsSettings, ElevenLabsDialect),
    "deepgram": Kind(DeepgramSettings, DeepgramDialect),
    "pipecat": Kind(PipecatSettings, PipecatDialect),
    "ultravox": Kind(UltravoxSettings, UltravoxDialect),
    "sarvam": Kind(SarvamSettings, SarvamDialect),
}


def kind_of(settings: AgentSettings) -> str:
    """Return what an agent's kind is called."""
    return next(name for name, kind in KINDS.items() if type(settings) is kind.settings)


def agent_settings(table: dict[str, Any], where: str = "agent") -> AgentSettings:
    """Make an agent's settings of its table.

    Raises:
        ConfigKeyError: a kind or key that does not exist, or a value that it does not take.
    """
    rest = dict(table)
    name = rest.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise ConfigKeyError("kind", f"is one of {', '.join(KINDS)}, not {name!r}", where)
    if (other := rest.get("fallback-agent")) is not None:
        if not isinstance(other, dict):
            raise ConfigKeyError("fallback-agent", f"takes a table, not {other!r:.60}", where)
        rest["fallback-agent"] = agent_settings(other, f"{where}.fallback-agent")
    return struct_from(KINDS[name].settings, rest, where)
