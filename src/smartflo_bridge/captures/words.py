"""How a report writes times, lengths and texts. Every text that came with a call passes `printable` before it is shown."""

import math

MAX_SHOWN = 80
"""Characters of an id, a name or a number that are shown where it is one among others."""


def clock(seconds: float, decimals: int = 1) -> str:
    """Write a moment of the call: `0:07.3`, `1:02:07.3`; with 0 decimals `0:07`."""
    units = 10**decimals
    minutes, rest = divmod(round(seconds * units), 60 * units)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    tail = f".{rest % units:0{decimals}d}" if decimals else ""
    return f"{head}:{rest // units:02d}{tail}"


def length(seconds: float) -> str:
    """Write how long something took: `45 ms`, `1.24 s`, `2 min 5 s`, `1 h 3 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 or seconds == 0 else f"{seconds * 1000:.1f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: `1 turn`, `3 turns`, `no turns`."""
    return f"{number or 'no'} {noun if number == 1 else plural or f'{noun}s'}"


def printable(text: str, limit: int = MAX_SHOWN) -> str:
    """Return text that shows all it has: what cannot be seen, or turns the writing around, as its code; cut at a limit."""
    shown = "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def quantile(values: list[float], part: float) -> float:
    """Return the smallest value that at least this part of them does not exceed: no value that never was."""
    ranked = sorted(values)
    return ranked[max(math.ceil(part * len(ranked)) - 1, 0)]
