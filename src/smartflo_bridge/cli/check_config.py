"""`smartflo-bridge check-config`: what a configuration comes to, without serving."""

import json
from pathlib import Path

import click

from smartflo_bridge.config import DEFAULT_FILE, Config, load_config
from smartflo_bridge.handlers.lookup import find_handler
from smartflo_bridge.server.access import open_access, refuse_exposure
from smartflo_bridge.server.proxies import TrustedProxies
from smartflo_bridge.server.resolver import open_resolver
from smartflo_bridge.server.tls import open_certificate


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Default: smartflo.toml, if it is there.")
def command(file: Path | None) -> None:
    """Check a configuration, the files that it names and its handler, and print every key as it is in force."""
    config = load_config(file)
    config_dir = (file or DEFAULT_FILE).resolve().parent
    access = open_access(config, config_dir)
    open_resolver(config, config_dir)
    open_certificate(config, config_dir)
    TrustedProxies(config.trusted_proxies)
    refuse_exposure(access, config, config.host)
    find_handler(config.handler)
    default = Config()
    for name in Config.__struct_fields__:
        value = getattr(config, name)
        note = "" if value == getattr(default, name) else "  # not the default"
        click.echo(f"{name.replace('_', '-')} = {json.dumps(value)}{note}")
    who = "anybody who reaches it" if access.is_open else "whoever has a token"
    click.echo(f"# {file or DEFAULT_FILE}: fine. {who} may open a stream on {config.host}:{config.port}{config.path}")
