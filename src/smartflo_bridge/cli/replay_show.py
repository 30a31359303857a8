"""Says what came of a replay: text for people. No number, key or audio of the call is in it, so it may go into a ticket."""

from collections.abc import Iterable
from pathlib import Path

import click

from smartflo_bridge.captures.comparison import Comparison, Side, TurnPair
from smartflo_bridge.captures.fold import Difference, Fold
from smartflo_bridge.captures.format import Header, Record
from smartflo_bridge.captures.json_text import rewrite
from smartflo_bridge.captures.player import Played
from smartflo_bridge.captures.said import said_in
from smartflo_bridge.core.commands import Command, PlaceMark, Play
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import MarkEvent, MediaEvent, UnknownEvent, parse_incoming_event
from smartflo_bridge.core.signals import Signal
from smartflo_bridge.version import __version__

MOST_TURNS = 30
"""Rows of turns; of more, those are shown that got slower most."""


def show_fold(file: Path, header: Header, result: Fold, seconds: float) -> None:
    """Say whether the session of today does the same, or where it first does not."""
    version = "" if header.software == __version__ else f", this is {__version__}"
    click.echo(f"{file.name}: captured {header.began} by version {header.software}{version}")
    difference = result.difference
    if difference is not None:
        _show_difference(difference)
        return
    click.echo(
        f"identical: {result.inputs} inputs, {result.messages} messages, {result.seconds:.1f} s of call,"
        f" folded in {seconds:.2f} s"
    )
    if not result.is_complete:
        click.echo(f"the capture was cut: it ends at {result.seconds:.3f} s, in the middle of the call")


def _show_difference(difference: Difference) -> None:
    click.echo(f"differs at {difference.at_ns / 1e9:.6f} s, line {difference.line}")
    click.echo(f"  captured  {_message(difference.captured)}")
    click.echo(f"  now       {_message(difference.now)}")
    if difference.captured is not None and difference.now is not None:
        before, after = said_in(difference.captured).ulaw, said_in(difference.now).ulaw
        if before != after:
            click.echo(f"  audio     the same up to byte {_same_bytes(before, after)}")
    click.echo("inputs before, the last one brought it about")
    for record in difference.inputs:
        click.echo(f"  {record.t / 1e9:12.6f} s  {_input(record)}")


def _same_bytes(before: bytes, after: bytes) -> int:
    for position, (one, other) in enumerate(zip(before, after, strict=False)):
        if one != other:
            return position
    return min(len(before), len(after))


def _message(text: bytes | None) -> str:
    """Show a message of ours, with the length of its audio in the place of that."""
    if text is None:
        return "nothing"
    size = len(said_in(text).ulaw)
    return rewrite(
        text.decode(errors="replace"),
        value=lambda path, value: f"{size} bytes" if path == ("media", "payload") else value,
    )


def _input(record: Record) -> str:
    """Say what was given, without what nobody is to read: numbers, keys, audio."""
    text = record.wire
    if text is None:
        return f"do   {_given(record.command or record.signal)}"
    try:
        event = parse_incoming_event(text)
    except ProtocolError as error:
        return f"in   {error}"
    match event:
        case MediaEvent():
            return f"in   media, {len(event.ulaw)} bytes"
        case MarkEvent():
            return f"in   mark {event.name!r}"
        case UnknownEvent():
            return "in   an unknown event"
        case _:
            return f"in   {type(event).__name__.removesuffix('Event').lower()}"


def _given(given: Command | Signal | None) -> str:
    match given:
        case None:
            return "nothing"
        case Play(ulaw=ulaw, epoch=epoch):
            return f"play, {len(ulaw)} bytes, epoch {epoch}"
        case PlaceMark(name=name):
            return f"mark {name!r}" if name else "mark"
        case _:
            return str(given.__struct_config__.tag)


def show_comparison(comparison: Comparison, played: Played, beyond: Iterable[str], speed: float) -> None:
    """Show a call as it was and as it is, turn by turn."""
    before, after = comparison.before, comparison.after
    _row("", "captured", "now", "")
    _times("first audio", before.first_audio_seconds, after.first_audio_seconds)
    _row("audio", f"{before.audio_seconds:.1f} s", f"{after.audio_seconds:.1f} s", "")
    for event in sorted({*before.counts, *after.counts}):
        _row(event, str(before.counts[event]), str(after.counts[event]), "")
    _row("gaps", _gaps(before), _gaps(after), "")
    _row("lead at most", f"{before.largest_lead_ms} ms", f"{after.largest_lead_ms} ms", "")
    _row("close code", _code(before), _code(after), "")
    _row("call", f"{before.seconds:.1f} s", f"{after.seconds:.1f} s", "")
    _show_turns(comparison.turns)
    if speed != 1:
        click.echo(
            "the caller was hurried, so a server that waits for silence in real time answers late, or not at all"
        )
    click.echo(f"this program was at most {played.worst_lateness_seconds * 1000:.1f} ms late itself")
    for sentence in beyond:
        click.echo(f"beyond the budget: {sentence}")


def _show_turns(turns: list[TurnPair]) -> None:
    numbered = list(enumerate(turns, 1))
    if len(numbered) > MOST_TURNS:
        worst = sorted(numbered, key=lambda one: one[1].growth_seconds or float("-inf"), reverse=True)
        numbered = sorted(worst[:MOST_TURNS])
        click.echo(f"of {len(turns)} turns, those that grew most:")
    for number, pair in numbered:
        fell_silent = pair.before or pair.after
        at = f" at {fell_silent.fell_silent_at:.1f} s" if fell_silent else ""
        _times(
            f"turn {number}{at}",
            pair.before.seconds if pair.before else None,
            pair.after.seconds if pair.after else None,
        )


def _times(name: str, before: float | None, after: float | None) -> None:
    growth = "" if before is None or after is None else f"{(after - before) * 1000:+.0f} ms"
    _row(name, _milliseconds(before), _milliseconds(after), growth)


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:.0f} ms"


def _gaps(side: Side) -> str:
    return f"{len(side.gaps)}, {side.gap_seconds * 1000:.0f} ms" if side.gaps else "none"


def _code(side: Side) -> str:
    return "none" if side.close_code is None else str(side.close_code)


def _row(name: str, before: str, after: str, growth: str) -> None:
    click.echo(f"{name:<20}{before:>12}{after:>12}{growth:>12}".rstrip())
