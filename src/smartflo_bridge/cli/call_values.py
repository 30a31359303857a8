"""How the options of `call` are written: times, rates, keys, parameters, URLs, and the rules that may be broken."""

import re
from urllib.parse import urlsplit

import click

from smartflo_bridge.simulator.plan import Press
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.script import KEY_SECONDS

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")
_PRESS = re.compile(r"([0-9*#A-D]+)@(.+)", re.IGNORECASE)


def seconds(value: object) -> float:
    """Read a time: `20s`, `1.5s`, `500ms` or a plain number of seconds."""
    match = _SECONDS.fullmatch(str(value))
    if not match:
        raise click.BadParameter(f"{value!r} is not a time; write 20s, 1.5s or 500ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def rate(value: object) -> float:
    """Read a rate: `20/s`."""
    match = _RATE.fullmatch(str(value))
    if not match or not float(match[1]):
        raise click.BadParameter(f"{value!r} is not a rate; write 20/s")
    return float(match[1])


def presses(value: object) -> tuple[Press, ...]:
    """Read key presses: `1@4s`; several keys follow each other quickly."""
    match = _PRESS.fullmatch(str(value))
    if not match:
        raise click.BadParameter(f"{value!r} is not a key press; write 1@4s, with keys of 0-9 * # A-D")
    at_seconds = seconds(match[2])
    return tuple(Press(at_seconds + KEY_SECONDS * index, digit) for index, digit in enumerate(match[1].upper()))


def parameter(value: object) -> tuple[str, str]:
    """Read a custom parameter: `name=value`."""
    name, equals, text = str(value).partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{value!r} is not a parameter; write name=value")
    return name, text


def rule(value: object) -> Rule:
    """Read a rule's name; hyphens are as good as underscores."""
    name = str(value).replace("-", "_")
    if name not in list(Rule):
        raise click.BadParameter(f"there is no rule {value!r}; there are {', '.join(Rule)}")
    return Rule(name)


def stream_url(value: object) -> str:
    """Read the URL of a bridge's stream. It may hold a token, so it is not repeated."""
    try:
        parts = urlsplit(str(value))
        is_stream = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_stream = False
    if not is_stream:
        raise click.BadParameter("write ws://host:port/path or wss://host:port/path")
    return str(value)
