"""Who may open a stream: a secret token in the URL, because the platform has no other way to authenticate itself.

The token stands in the path (`/vendor-stream/TOKEN`) or the query (`?token=TOKEN`). It comes from a file, never from the
configuration, and is in no log line, error or response.
"""

import hmac
from collections.abc import Iterator
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.credentials import credential_lines

MIN_TOKEN_CHARACTERS = 16
"""Shorter secrets can be guessed by anyone who has found the port."""


class Verdict(Enum):
    """What becomes of a request for a path."""

    ADMITTED = "admitted"
    NOT_FOUND = "not found"
    UNAUTHORISED = "unauthorised"


class Access:
    """Judges request targets.

    Args:
        path: of the stream.
        tokens: any of which opens it; none at all means that anybody may.
    """

    def __init__(self, path: str, tokens: list[str]) -> None:
        self._path = path.rstrip("/")
        self._tokens = [token.encode() for token in tokens]

    @property
    def is_open(self) -> bool:
        """True if no token is needed."""
        return not self._tokens

    def judge(self, target: str) -> Verdict:
        """Judge a request target, such as `/vendor-stream?token=...`."""
        path, _, query = target.partition("?")
        if path.rstrip("/") == self._path:
            offered = next((value for name, value in _pairs(query) if name == "token"), "")
        elif path.startswith(f"{self._path}/") and self._tokens:
            offered = unquote(path[len(self._path) + 1 :])
        else:
            return Verdict.NOT_FOUND
        return Verdict.ADMITTED if self.is_open or self._is_known(offered.encode()) else Verdict.UNAUTHORISED

    def _is_known(self, offered: bytes) -> bool:
        # All are compared, each in constant time: how long it takes tells nothing.
        return sum(hmac.compare_digest(offered, token) for token in self._tokens) > 0


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """Split a query; a plus is a plus, as in a token of base64, not a form's space."""
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield name, unquote(value)


def open_access(config: Config, config_dir: Path) -> Access:
    """Read the token file and return who may come in.

    The file has one token a line; several are valid at once, so that a token can be changed without a gap. A relative
    name is looked for among systemd's credentials, then beside the configuration.

    Raises:
        ConfigError: the file cannot be read or holds no usable token.
    """
    return Access(config.path, _read_tokens(config.token_file, config_dir) if config.token_file else [])


def refuse_exposure(access: Access, config: Config, host: str) -> None:
    """Refuse to listen where others can reach us without a token, unless the operator said so.

    Args:
        access: who may come in.
        config: what the operator said.
        host: the address that is, or will be, listened on; a socket may be inherited from somebody who chose another.

    Raises:
        ConfigError: anybody could come in.
    """
    if not access.is_open or config.allow_unauthenticated or _is_loopback(host):
        return
    msg = (
        f"host: {host} can be reached from other machines, and anybody who finds it could use it: "
        "set token-file, or allow-unauthenticated = true where something in front keeps strangers out"
    )
    raise ConfigError(msg)


def _read_tokens(name: str, config_dir: Path) -> list[str]:
    file, tokens = credential_lines("token-file", name, config_dir)
    if not tokens or any(len(token) < MIN_TOKEN_CHARACTERS for token in tokens):
        msg = f"token-file: {file} holds one token a line, each of at least {MIN_TOKEN_CHARACTERS} characters"
        raise ConfigError(msg)
    return tokens


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
