"""The configuration: smartflo.toml as one frozen struct. Every key has a default; the file says what each is for.

A mistake is one sentence that names the key, where it stands, and what is allowed.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, inspect

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.settings import Seconds, SessionSettings

MAX_FILE_BYTES = 1 << 20
"""A configuration has 4 kB; what is a hundred times longer is another file."""

Port = Annotated[int, Meta(ge=0, le=65535)]


class Config(SessionSettings, frozen=True, kw_only=True):
    """All keys; in the file they are spelled with hyphens. The session's own are in `SessionSettings`."""

    handler: Annotated[str, Meta(min_length=1)] = "ivr"
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8000
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
        msg = f"{file}{_line_of(mistake.key, text)}: {mistake}"
        raise ConfigError(msg) from None


class ConfigKeyError(ConfigError):
    """One key is wrong."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key


def config_from(table: dict[str, Any]) -> Config:
    """Make a configuration of a table with the file's spelling of the keys.

    Raises:
        ConfigKeyError: a key that does not exist, or a value that it does not take.
    """
    keys = {name.replace("_", "-"): name for name in Config.__struct_fields__}
    types = get_type_hints(Config, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            close = difflib.get_close_matches(key, keys, 1)
            raise ConfigKeyError(key, f"no such key; {f'did you mean {close[0]}?' if close else _all_keys(keys)}")
        try:
            values[keys[key]] = msgspec.convert(value, types[keys[key]])
        except msgspec.ValidationError:
            raise ConfigKeyError(key, f"takes {allowed(types[keys[key]])}, not {_shown(value)}") from None
    try:
        return Config(**values)
    except ValueError as error:  # keys that do not go together
        raise ConfigKeyError(str(error).split(" ", 1)[0], str(error).split(" ", 1)[1]) from None


def allowed(kind: Any) -> str:  # noqa: ANN401 - a type, of any form
    """Say in words what a key of this type takes."""
    info = inspect.type_info(kind)
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.EnumType(cls=cls):
            return " or ".join(f'"{member.value}"' for member in cls)
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.IntType() | inspect.FloatType():
            word = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            bounds = [("above", info.gt), ("at least", info.ge), ("at most", info.le)]
            return " ".join([word, " and ".join(f"{text} {bound:g}" for text, bound in bounds if bound is not None)])
        case inspect.StrType(pattern=pattern, min_length=length):
            return f"text that matches {pattern}" if pattern else "text that is not empty" if length else "text"
        case inspect.ListType():
            return "a list of text"
        case _:
            return "another value"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _all_keys(keys: dict[str, str]) -> str:
    return f"the keys are {', '.join(sorted(keys))}"


def _line_of(key: str, text: str) -> str:
    """Return `:12` if the key is found on line 12, else nothing: TOML's parser does not keep lines."""
    for number, content in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]", content):
            return f":{number}"
    return ""
