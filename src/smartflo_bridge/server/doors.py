"""What secrets open, and the secrets: as their files have them at the start, and again whenever that is asked for.

None is ever in the configuration, a log line, an error or a response.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.credentials import read_secrets
from smartflo_bridge.log import line
from smartflo_bridge.server.access import Access
from smartflo_bridge.server.resolver import Resolver, open_resolver
from smartflo_bridge.server.tokens import MIN_SECRET_CHARACTERS
from smartflo_bridge.server.used_tokens import UsedTokens

MIN_TOKEN_CHARACTERS = 16
"""Shorter ones can be guessed by anyone who has found the port."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """The ways in, of which each has its own secrets.

    Attributes:
        access: to the stream.
        resolver: the dynamic endpoint, if there is one.
    """

    access: Access
    resolver: Resolver | None

    def change_locks(self, config: Config, config_dir: Path) -> None:
        """Take the secrets that are in the files now, if all of them can be used; calls that are in stay."""
        try:
            tokens, signers = read_static_tokens(config, config_dir), read_signers(config, config_dir)
            asking = _read_resolver_tokens(config, config_dir)
        except ConfigError as error:
            _log.error(line("the secrets in use stay in use", reason=error))
            return
        self.access.renew(tokens, signers)
        if self.resolver is not None:
            self.resolver.renew(asking, signers[0])
        if tokens or signers:
            _log.info(line("secrets loaded", tokens=len(tokens), signers=len(signers)))


def open_doors(config: Config, config_dir: Path, used_tokens: UsedTokens | None = None) -> Doors:
    """Read the files of secrets, and return what they open; without `used_tokens`, nothing with a call's token.

    Raises:
        ConfigError: a file cannot be read or holds nothing usable; or a key is missing or cannot work.
    """
    tokens, signers = read_static_tokens(config, config_dir), read_signers(config, config_dir)
    access = Access(config.path, tokens, signers, config.token_leeway_seconds, used_tokens)
    return Doors(access, open_resolver(config, _read_resolver_tokens(config, config_dir), signers))


def read_static_tokens(config: Config, config_dir: Path) -> list[str]:
    """Return the static tokens for the stream.

    Raises:
        ConfigError: their file cannot be read or holds nothing usable.
    """
    return _read("token-file", config.token_file, config_dir, MIN_TOKEN_CHARACTERS)


def read_signers(config: Config, config_dir: Path) -> list[str]:
    """Return the secrets that sign tokens, of which the first signs new ones.

    Raises:
        ConfigError: their file cannot be read or holds nothing usable.
    """
    return _read("token-secret-file", config.token_secret_file, config_dir, MIN_SECRET_CHARACTERS)


def _read_resolver_tokens(config: Config, config_dir: Path) -> list[str]:
    name = config.resolver_token_file if config.resolver_path else ""
    return _read("resolver-token-file", name, config_dir, MIN_TOKEN_CHARACTERS)


def _read(key: str, name: str, config_dir: Path, min_characters: int) -> list[str]:
    return read_secrets(key, name, config_dir, min_characters) if name else []
