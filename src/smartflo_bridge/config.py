"""The configuration: smartflo.toml as one frozen struct. Every key has a default; the file says what each is for.

A mistake is one sentence that names the key, where it stands, and what is allowed.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from smartflo_bridge.agents.kinds import agent_settings
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.settings import Seconds, SessionSettings
from smartflo_bridge.tables import ConfigKeyError, struct_from

MAX_FILE_BYTES = 1 << 20
"""A configuration has 4 kB; what is a hundred times longer is another file."""

Port = Annotated[int, Meta(ge=0, le=65535)]


class Config(SessionSettings, frozen=True, kw_only=True):
    """All keys; in the file they are spelled with hyphens. The session's own are in `SessionSettings`."""

    handler: Annotated[str, Meta(min_length=1)] = "ivr"
    agent: AgentSettings | None = None
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8000
    reuse_port: bool = False
    tls_cert_file: str = ""
    tls_key_file: str = ""
    path: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~/-]*\Z")] = "/vendor-stream"
    health_host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    health_port: Port = 8001
    token_file: str = ""
    token_secret_file: str = ""
    token_seconds: Seconds = 120.0
    token_leeway_seconds: Annotated[float, Meta(ge=0, le=600)] = 5.0
    used_token_dir: str = ""
    resolver_path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~/-]*)?\Z")] = ""
    resolver_token_file: str = ""
    resolver_call_id: str = ""
    call_id_mismatch: Literal["refuse", "warn"] = "refuse"
    public_url: str = ""
    allow_unauthenticated: bool = False
    refuse_with: Literal["401", "1008"] = "401"
    trusted_proxies: list[str] = []  # noqa: RUF012 - msgspec gives each struct a list of its own
    max_calls: Annotated[int, Meta(ge=1, le=100_000)] = 300
    max_new_calls_per_second: Annotated[int, Meta(ge=1, le=100_000)] = 30
    shed_lag_seconds: Seconds = 0.25
    open_seconds: Seconds = 5.0
    ping_seconds: Seconds = 20.0
    write_deadline_seconds: Seconds = 5.0
    fast_frames: bool = True
    inbound_seconds: Annotated[float, Meta(ge=0.2, le=60)] = 2.0
    recent_audio_seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0
    handler_grace_seconds: Seconds = 5.0
    lame_duck_seconds: Annotated[float, Meta(ge=0, le=600)] = 5.0
    drain_seconds: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    capture_dir: str = ""
    capture_compress: bool = False
    capture_max_megabytes: Annotated[float, Meta(gt=0, le=100_000)] = 200.0
    capture_keep_days: Annotated[float, Meta(gt=0, le=36_500)] = 30.0
    record_dir: str = ""
    record_keep_days: Annotated[float, Meta(gt=0, le=36_500)] = 30.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def session_settings(self) -> SessionSettings:
        """Return the part that a session needs."""
        return SessionSettings(**{name: getattr(self, name) for name in SessionSettings.__struct_fields__})


DEFAULT_FILE = Path("smartflo.toml")


def load_config(file: Path | None) -> Config:
    """Read a configuration file; None is smartflo.toml in the working directory, or the defaults if there is none.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has a key or value that is not allowed.
    """
    if file is None:
        if not DEFAULT_FILE.exists():
            return Config()
        file = DEFAULT_FILE
    try:
        raw = file.read_bytes()
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise ConfigError(msg) from None
    if len(raw) > MAX_FILE_BYTES:
        msg = f"{file}: {len(raw)} bytes; a configuration has at most {MAX_FILE_BYTES}"
        raise ConfigError(msg)
    try:
        text = raw.decode()
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or made to break a parser
        msg = f"{file}: not TOML: {error}"
        raise ConfigError(msg) from None
    try:
        return config_from(table)
    except ConfigKeyError as mistake:
        msg = f"{file}{_line_of(mistake.key, mistake.where, text)}: {mistake}"
        raise ConfigError(msg) from None


def config_from(table: dict[str, Any]) -> Config:
    """Make a configuration of a table with the file's spelling of the keys.

    Raises:
        ConfigKeyError: a key that does not exist, or a value that it does not take.
    """
    if "agent" not in table:
        return struct_from(Config, table)
    agent = table["agent"]
    if not isinstance(agent, dict):
        raise ConfigKeyError("agent", f"takes a table, [agent], not {agent!r:.60}")
    if "handler" in table:
        raise ConfigKeyError("handler", "an [agent] answers the calls: leave one of the two out")
    return struct_from(Config, table | {"agent": agent_settings(agent)})


def _line_of(key: str, where: str, text: str) -> str:
    """Return `:12` if the key is found on line 12, else nothing: TOML's parser does not keep lines."""
    is_there = not where
    for number, content in enumerate(text.splitlines(), 1):
        is_there = is_there or content.strip().startswith(f"[{where}]")
        if is_there and re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]", content):
            return f":{number}"
    return ""
