"""Which tokens have been used: one empty file for each, so that all bridges of a machine that share a directory agree.

The kernel creates a file exclusively or says that it is there: no lock, no service, nothing that a killed process leaves
half done. In memory (tmpfs, where systemd's RuntimeDirectory= is) it takes some 20 microseconds, which is why the main loop
does it itself. If it cannot be done nobody comes in by such a token: it could have been used before.
"""

import asyncio
import logging
import os
import re
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.log import line
from smartflo_bridge.server.tokens import CallToken

SWEEP_SECONDS = 60.0
"""Between two looks for files that can go. At 500 calls/s and a minute or two of validity, 120,000 empty files are there."""

_NAME = re.compile(r"(\d+)-[0-9a-f]+")

_log = logging.getLogger(__name__)


class Use(Enum):
    """What a use of a token is."""

    FIRST = "first"
    REPEATED = "repeated"
    UNKNOWN = "unknown"


class UsedTokens:
    """The tokens used so far, by any bridge with the same directory.

    Args:
        directory: made if it is not there, for us alone.
        leeway_seconds: for how long after its expiry a token could still be taken for valid.

    Raises:
        ConfigError: the directory cannot be made or written to, or others may write to it.
    """

    def __init__(self, directory: Path, leeway_seconds: float) -> None:
        self._directory = directory
        self._leeway_seconds = leeway_seconds
        self._has_warned = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_others = directory.stat().st_mode & 0o022
        except OSError as error:
            msg = f"used-token-dir: {directory}: {error.strerror}"
            raise ConfigError(msg) from None
        if is_others or not os.access(directory, os.W_OK | os.X_OK):
            msg = f"used-token-dir: {directory}: {'others may write to it' if is_others else 'not writable'}"
            raise ConfigError(msg)

    def spend(self, token: CallToken) -> Use:
        """Use a token, and return whether this is its first use; a disk that does not say so is named in the log, once."""
        try:
            os.close(
                os.open(self._directory / _name(token), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            )
        except FileExistsError:
            return Use.REPEATED
        except OSError as error:
            if not self._has_warned:
                reason = error.strerror or str(error)
                words = "used tokens cannot be kept: calls with a token of their own are refused"
                _log.error(line(words, directory=self._directory, reason=reason))
            self._has_warned = True
            return Use.UNKNOWN
        self._has_warned = False
        return Use.FIRST

    def sweep(self, now: float) -> int:
        """Delete the files of tokens that have expired; return how many. `now` is in seconds since the epoch.

        Raises:
            OSError: the directory cannot be read, or a file in it not deleted.
        """
        deleted = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                name = _NAME.fullmatch(entry.name)
                # Some time more: a clock that is set back by less makes no token valid again that we have forgotten.
                if name and int(name[1]) + self._leeway_seconds + SWEEP_SECONDS < now:
                    with suppress(FileNotFoundError):  # another bridge was faster
                        Path(entry.path).unlink()
                        deleted += 1
        return deleted

    async def keep_small(self) -> None:
        """Sweep, on a thread, every minute, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.sweep, time.time())
            except OSError as error:
                _log.warning(line("used tokens could not be swept", reason=error.strerror or str(error)))
            await asyncio.sleep(SWEEP_SECONDS)


def was_used(token: CallToken, directory: Path) -> bool:
    """True if a bridge with this directory has had this token; it may be nobody's yet."""
    return (directory / _name(token)).exists()


def _name(token: CallToken) -> str:
    return f"{token.expires_at}-{token.nonce.hex()}"


def open_used_tokens(config: Config) -> UsedTokens | None:
    """Return where used tokens are kept, or None if none are signed.

    Raises:
        ConfigError: there is no place for them.
    """
    if not config.token_secret_file:
        return None
    directory = used_token_dir(config)
    if directory is None:
        msg = (
            "used-token-dir: is needed with token-secret-file where systemd gives no RuntimeDirectory: "
            "a directory in memory, such as /run/smartflo-bridge/used-tokens"
        )
        raise ConfigError(msg)
    return UsedTokens(directory, config.token_leeway_seconds)


def used_token_dir(config: Config) -> Path | None:
    """Return the directory for used tokens: the configured one, or one in systemd's RuntimeDirectory, if there is one."""
    if config.used_token_dir:
        return Path(config.used_token_dir)
    runtime_dir = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(runtime_dir) / "used-tokens" if runtime_dir else None
