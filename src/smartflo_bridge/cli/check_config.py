"""`smartflo-bridge check-config`: what a configuration comes to, without serving."""

import json
from pathlib import Path

import click
import msgspec

from smartflo_bridge.agents.lookup import Agent
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.config import DEFAULT_FILE, Config, load_config
from smartflo_bridge.handlers.lookup import find_handler
from smartflo_bridge.server.access import refuse_exposure
from smartflo_bridge.server.doors import open_doors
from smartflo_bridge.server.proxies import TrustedProxies
from smartflo_bridge.server.tls import open_certificate


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Default: smartflo.toml, if it is there.")
def command(file: Path | None) -> None:
    """Check a configuration, the files that it names and its handler, and print every key as it is in force."""
    config = load_config(file)
    folder = (file or DEFAULT_FILE).resolve().parent
    access = open_doors(config, folder).access
    open_certificate(config, folder)
    TrustedProxies(config.trusted_proxies)
    refuse_exposure(access, config, config.host)
    find_handler(config.handler)
    agent = Agent(config.agent, folder) if config.agent else None
    _show(config, Config(), left_out={"agent", "handler"} if agent else {"agent"})
    who = "anybody who reaches it" if access.is_open else "whoever has a token"
    if config.agent and agent:
        _show_agent(config.agent, agent, "agent")
    click.echo(f"# {file or DEFAULT_FILE}: fine. {who} may open a stream on {config.host}:{config.port}{config.path}")


def _show(table: msgspec.Struct, default: msgspec.Struct | None, left_out: set[str]) -> None:
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if name not in left_out:
            note = "" if default is None or value == getattr(default, name) else "  # not the default"
            click.echo(f"{name.replace('_', '-')} = {_toml(value)}{note}")


def _toml(value: object) -> str:
    """Write a value as the file has it: JSON is TOML but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def _show_agent(settings: AgentSettings, agent: Agent, where: str) -> None:
    """Print an agent's table. Its key stays in its file: that one is there has been checked."""
    click.echo(f'[{where}]\nkind = "{agent.kind}"')
    _show(settings, None, left_out={"fallback_agent"})
    if settings.fallback_agent and agent.fallback:
        _show_agent(settings.fallback_agent, agent.fallback, f"{where}.fallback-agent")
