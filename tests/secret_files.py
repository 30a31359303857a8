"""Files with secrets in them, as an operator should make them: the daemon refuses those that everybody may read."""

from pathlib import Path


def write_secret(file: Path, text: str) -> None:
    """Write a file that its owner alone may read."""
    file.touch(0o600)
    file.write_text(text)
