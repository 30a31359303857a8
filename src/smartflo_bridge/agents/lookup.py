"""From the configuration's `[agent]` to something that answers calls."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from smartflo_bridge.agents.answering import Answering, checked_answer
from smartflo_bridge.agents.connection import dial
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.http import ask
from smartflo_bridge.agents.kinds import KINDS, kind_of
from smartflo_bridge.agents.leg import serve_with
from smartflo_bridge.agents.line import Network
from smartflo_bridge.agents.plan import LegPlan
from smartflo_bridge.agents.settings import AgentSettings, AnswerSettings, KeySettings, ToolSettings
from smartflo_bridge.agents.tls import client_tls
from smartflo_bridge.agents.tools import HANG_UP, Function, Tools
from smartflo_bridge.agents.transfer import TRANSFER, Transfer
from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.home import Handler, HandlerLoop
from smartflo_bridge.calls.rates import rate_converter
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.errors import ConfigError, HandlerError
from smartflo_bridge.credentials import credential_lines
from smartflo_bridge.handlers.lookup import BUILT_IN, find_object


def network_of(*, fast_frames: bool) -> Network:
    """Return the network as it is; with `fast_frames` off, the library parses what services send."""
    return Network(partial(dial, fast_frames=fast_frames), ask)


NETWORK = network_of(fast_frames=True)


class Agent:
    """Answers calls with a service.

    Attributes:
        kind: its name.
        fallback: the agent that takes its calls when it is lost, if that is configured.

    Args:
        settings: as configured.
        config_dir: where the configuration is, for its key.
        network: how services are reached.

    Raises:
        ConfigError: a key that cannot be read, tools that are none, or an extra that is not installed.
    """

    def __init__(self, settings: AgentSettings, config_dir: Path, network: Network = NETWORK) -> None:
        self.kind = kind_of(settings)
        self._settings = settings
        self._network = network
        self._key = _key_of(settings, config_dir)
        self._functions = _functions_of(settings)
        self._answer = _answer_of(settings)
        self._transfer = _transfer_of(settings, config_dir, network)
        self.fallback = Agent(settings.fallback_agent, config_dir, network) if settings.fallback_agent else None
        self._home: HandlerLoop | None = None
        self._plan: LegPlan | None = None
        self._check()

    def open(self) -> Handler:
        """Return the handler that serves calls; on the loop that runs now. `close` ends what it needed."""
        settings = self._settings
        client_tls()  # now, not while calls wait for the loop
        tools = answering = None
        if self._functions and isinstance(settings, ToolSettings):
            self._home = HandlerLoop.in_thread()
            tools = Tools(self._functions, self._home, settings.tool_seconds)
        if self._answer is not None and isinstance(settings, AnswerSettings):
            self._home = HandlerLoop.in_thread()
            answering = Answering(self._answer, self._home, settings.function_seconds)
        self._plan = LegPlan(
            kind=self.kind,
            settings=settings,
            open_dialect=lambda opening: KINDS[self.kind].dialect(settings, opening),
            network=self._network,
            chance=random.random,
            key=self._key,
            tools=tools,
            answering=answering,
            may_hang_up=isinstance(settings, ToolSettings) and settings.may_hang_up,
            transfer=self._transfer,
            fallback=self.fallback.open() if self.fallback else BUILT_IN.get(settings.fallback),
        )
        return self.answer

    async def answer(self, call: Call) -> None:
        """Serve one call."""
        assert self._plan is not None, "not open"
        await serve_with(self._plan, call)

    def close(self, timeout_seconds: float) -> bool:
        """Stop running tools; return False if one still blocks its thread after the time-out."""
        mine = self._home is None or self._home.stop(timeout_seconds)
        return mine and (self.fallback is None or self.fallback.close(timeout_seconds))

    @property
    def failures(self) -> Counter[str]:
        """How often tools, and what answers in the place of a model, have raised; of the fallback's too."""
        mine = self._home.failures if self._home else Counter[str]()
        return mine + (self.fallback.failures if self.fallback else Counter[str]())

    def _check(self) -> None:
        """Find out now what would fail with the first call."""
        if (self._settings.fallback == "agent") != (self.fallback is not None):
            msg = 'agent.fallback: "agent" needs the table [agent.fallback-agent], and the other way round'
            raise ConfigError(msg)
        dialect = KINDS[self.kind].dialect(self._settings, Opening(CallFacts("MZ"), self._key))
        try:
            for audio in (dialect.hears, dialect.speaks):
                rate_converter(SAMPLE_RATE_HZ, audio.rate_hz)
        except HandlerError as error:
            msg = f"agent: {error}"
            raise ConfigError(msg) from None


def _key_of(settings: AgentSettings, config_dir: Path) -> str:
    if not isinstance(settings, KeySettings):
        return ""
    if not settings.key_file:
        if settings.needs_key:
            msg = f'agent.key-file: kind = "{kind_of(settings)}" needs one'
            raise ConfigError(msg)
        return ""
    if _is_open_line(str(getattr(settings, "url", ""))):
        msg = "agent.url: a key is sent over wss:// only, or to this machine"
        raise ConfigError(msg)
    return _secret("agent.key-file", settings.key_file, config_dir, "key")


def _transfer_of(settings: AgentSettings, config_dir: Path, network: Network) -> Transfer | None:
    """Return the tool `transfer`, where it is configured."""
    if not isinstance(settings, ToolSettings) or not settings.transfer_to:
        return None
    if not settings.smartflo_token_file:
        msg = "agent.smartflo-token-file: transfer-to needs one"
        raise ConfigError(msg)
    if _is_open_line(settings.smartflo_url):
        msg = "agent.smartflo-url: a token is sent over https:// only, or to this machine"
        raise ConfigError(msg)
    token = _secret("agent.smartflo-token-file", settings.smartflo_token_file, config_dir, "token")
    return Transfer(settings.transfer_to, settings.smartflo_url, token, network.ask, settings.tool_seconds)


def _is_open_line(address: str) -> bool:
    """Return whether others could read what is sent there."""
    url = urlsplit(address)
    return url.scheme in ("ws", "http") and url.hostname not in ("localhost", "127.0.0.1", "::1")


def _secret(key: str, name: str, config_dir: Path, word: str) -> str:
    """Return the one line of a file."""
    file, lines = credential_lines(key, name, config_dir)
    if len(lines) != 1 or not lines[0].isascii() or not lines[0].isprintable() or " " in lines[0]:
        msg = f"{key}: {file} holds one line, the {word}"
        raise ConfigError(msg)
    return lines[0]


def _answer_of(settings: AgentSettings) -> Callable[..., object] | None:
    if not isinstance(settings, AnswerSettings):
        return None
    return checked_answer(find_object("agent.answer", settings.answer))


def _functions_of(settings: AgentSettings) -> Mapping[str, object]:
    if not isinstance(settings, ToolSettings) or not settings.tools:
        return {}
    found = find_object("agent.tools", settings.tools)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in found):
        msg = f"agent.tools = {settings.tools!r} is not a dictionary from names to functions"
        raise ConfigError(msg)
    ours = [HANG_UP.name] * settings.may_hang_up + [TRANSFER] * bool(settings.transfer_to)
    for name, function in found.items():
        if name in ours:
            msg = f"agent.tools: {name!r} is the name of a tool that the agent has already"
            raise ConfigError(msg)
        Function(name, function)
    return found
