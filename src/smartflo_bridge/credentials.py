"""Where a secret is: in a file that the configuration names, among systemd's credentials or beside the configuration.

The secret itself is in no configuration, log line, error or response.
"""

import os
from pathlib import Path

from smartflo_bridge.core.errors import ConfigError


def credential_lines(key: str, name: str, config_dir: Path) -> tuple[Path, list[str]]:
    """Return the file that a key names, and its lines without blanks and comments.

    A relative name is looked for among systemd's credentials, then beside the configuration.

    Raises:
        ConfigError: the file cannot be read.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    places = [Path(credentials)] if credentials else []
    file = next((place / name for place in places if (place / name).exists()), config_dir / name)
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        msg = f"{key}: {file}: {reason}"
        raise ConfigError(msg) from None
    return file, [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
