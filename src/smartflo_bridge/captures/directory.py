"""The directory that captures, or recordings, are written into: there, ours alone, and fit to be written to, or the daemon does not start."""

import os
from pathlib import Path

from smartflo_bridge.core.errors import ConfigError


def make_private(key: str, directory: Path) -> None:
    """Make it, readable by us alone, if it is not there; one that is there keeps its mode. `key` is what names it.

    Raises:
        ConfigError: it cannot be made or written to.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{key}: {directory}: {error.strerror}"
        raise ConfigError(msg) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        msg = f"{key}: {directory}: not writable"
        raise ConfigError(msg)
