"""What may be in no log line, whatever test makes it and however talkative the log is: reliability, G14.

Two ears hear a whole run: `daemon.check_log` reads what each daemon has said at its end, and `conftest` hears what is
logged in this process. Tokens and keys cannot be told from other words: tests that have some name them.
"""

import re

PAYLOAD = re.compile(r"[A-Za-z0-9+/=]{60,}")
"""45 bytes of audio in base64."""

NUMBER = re.compile(r"(?<![\w.:/-])\+?\d{10,15}(?![\w.:/-])")
"""Ten digits are a number of India's without its prefix, fifteen the longest there is. Smartflo's ids of calls have a point in them."""

IDS = re.compile(r'\b(?:stream|call)_sid=(?:"(?:[^"\\]|\\.)*"|\S+)')
"""They stand in a line as the platform gave them, up to 128 characters."""


def private_in(said: str) -> str | None:
    """Return the first thing in it that is private, or None."""
    said = IDS.sub("", said)
    found = PAYLOAD.search(said) or NUMBER.search(said)
    return found and found[0]
