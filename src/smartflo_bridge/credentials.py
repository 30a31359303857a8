"""Files with secrets: one a line, comments with #, readable by nobody else. Their contents are in no error."""

import os
import stat
from pathlib import Path
from typing import TextIO

from smartflo_bridge.core.errors import ConfigError


def read_secrets(key: str, name: str, config_dir: Path, min_characters: int) -> list[str]:
    """Return the secrets in a file, in its order.

    Several are valid at once, so that one can be changed without a gap.

    Args:
        key: of the configuration that names the file, with a hyphen; errors begin with it.
        name: of the file; a relative one is looked for among systemd's credentials, then beside the configuration.
        config_dir: where the configuration is.
        min_characters: of each secret.

    Raises:
        ConfigError: the file cannot be read, everybody can read it, or it holds no usable secret.
    """
    file, secrets = credential_lines(key, name, config_dir)
    word = key.removesuffix("-file").rsplit("-", 1)[-1]  # token, or secret
    if not secrets or any(len(secret) < min_characters for secret in secrets):
        msg = f"{key}: {file} holds one {word} a line, each of at least {min_characters} characters"
        raise ConfigError(msg)
    return secrets


def credential_lines(key: str, name: str, config_dir: Path) -> tuple[Path, list[str]]:
    """Return the file that a key names, and its lines without blanks and comments.

    Raises:
        ConfigError: the file cannot be read, or everybody can read it.
    """
    file = find_file(name, config_dir)
    try:
        with open_secret(key, file) as stream:
            lines = stream.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        msg = f"{key}: {file}: {reason}"
        raise ConfigError(msg) from None
    return file, [text.strip() for text in lines if text.strip() and not text.lstrip().startswith("#")]


def find_file(name: str, config_dir: Path) -> Path:
    """Return where a file is: among systemd's credentials, or else beside the configuration; an absolute name is itself."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / name).exists():
        return Path(credentials) / name
    return config_dir / name


def open_secret(key: str, file: Path) -> TextIO:
    """Open a file that others may not read.

    Raises:
        ConfigError: it cannot be opened, or others may; it begins with the key.
    """
    try:
        stream = file.open(encoding="utf-8-sig")
    except OSError as error:
        msg = f"{key}: {file}: {error.strerror}"
        raise ConfigError(msg) from None
    mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        stream.close()
        msg = f"{key}: {file}: every user of this machine may read or change it (mode {mode:o}): chmod 600"
        raise ConfigError(msg)
    return stream
