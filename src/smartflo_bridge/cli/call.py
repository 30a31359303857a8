"""The command `call`: places simulated calls to a bridge, shows them as they run, and says what became of them."""

import asyncio
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from smartflo_bridge.cli.call_progress import CallEvents, CallLine, ManyCalls
from smartflo_bridge.cli.call_summary import aggregate, summary
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.mix import built_in_voice, read_wav, write_wav
from smartflo_bridge.simulator.plan import CADENCE_MS, Action, CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.progress import Progress
from smartflo_bridge.simulator.report import CallReport

KEY_SECONDS = 0.25
"""Between the keys of one `--press`: a brisk finger, and longer than the 40 ms tone and 40 ms pause of ITU-T Q.24."""

LINGER_SECONDS = 5.0
"""How long the caller listens when everything is said: most answers end within it."""

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")
_PRESS = re.compile(r"([0-9*#A-D]+)@(.+)", re.IGNORECASE)
_DEFAULT = CallPlan()

Observer = Callable[[Progress], None]


def _seconds(value: object) -> float:
    """Read a time: `20s`, `1.5s`, `500ms` or a plain number of seconds."""
    match = _SECONDS.fullmatch(str(value))
    if not match:
        raise click.BadParameter(f"{value!r} is not a time; write 20s, 1.5s or 500ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _presses(value: object) -> tuple[Press, ...]:
    """Read key presses: `1@4s`; several keys follow each other quickly."""
    match = _PRESS.fullmatch(str(value))
    if not match:
        raise click.BadParameter(f"{value!r} is not a key press; write 1@4s, with keys of 0-9 * # A-D")
    at_seconds = _seconds(match[2])
    return tuple(Press(at_seconds + KEY_SECONDS * index, digit) for index, digit in enumerate(match[1].upper()))


def _parameter(value: object) -> tuple[str, str]:
    """Read a custom parameter: `name=value`."""
    name, equals, text = str(value).partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{value!r} is not a parameter; write name=value")
    return name, text


def _stream_url(value: object) -> str:
    """Read the URL of a bridge's stream. It may hold a token, so it is not repeated."""
    try:
        parts = urlsplit(str(value))
        is_stream = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_stream = False
    if not is_stream:
        raise click.BadParameter("write ws://host:port/path or wss://host:port/path")
    return str(value)


@click.command("call")
@click.argument("url", type=_stream_url, metavar="URL")
@click.option(
    "--wav",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the caller says; a built-in voice without it.",
)
@click.option(
    "--press",
    "presses",
    type=_presses,
    metavar="KEYS@TIME",
    multiple=True,
    help="Press keys at a time: 1@4s. Repeatable.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write both voices as a stereo WAV: caller left, bridge right.",
)
@click.option(
    "--calls", type=click.IntRange(1, 1000), default=1, show_default=True, help="Place so many calls at once."
)
@click.option(
    "--seconds", type=_seconds, metavar="SECONDS", help="Stay so long on the line; the voice is repeated until then."
)
@click.option("--hang-up-at", type=_seconds, metavar="SECONDS", help="Hang up then, whatever is still to be said.")
@click.option(
    "--linger",
    type=_seconds,
    metavar="SECONDS",
    default=LINGER_SECONDS,
    show_default=True,
    help="Otherwise: hang up so long after the last word or key.",
)
@click.option("--from", "from_number", default=_DEFAULT.from_number, show_default=True, help="The caller's number.")
@click.option("--to", "to_number", default=_DEFAULT.to_number, show_default=True, help="The number that is called.")
@click.option(
    "--param",
    "parameters",
    type=_parameter,
    metavar="NAME=VALUE",
    multiple=True,
    help="A custom parameter. Repeatable.",
)
@click.option(
    "--cadence-ms",
    type=click.IntRange(10, 1000),
    default=CADENCE_MS,
    show_default=True,
    help="Length of the caller's media messages.",
)
def command(
    *,
    url: str,
    wav: Path | None,
    presses: tuple[tuple[Press, ...], ...],
    out: Path | None,
    calls: int,
    seconds: float | None,
    hang_up_at: float | None,
    linger: float,
    from_number: str,
    to_number: str,
    parameters: tuple[tuple[str, str], ...],
    cadence_ms: int,
) -> None:
    """Place a simulated call to URL, in real time, as the platform would.

    A token goes into the URL. The exit code is 0 if every call was answered and ended well, 1 if not.
    """
    if out and not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    plan = CallPlan(
        actions=_actions(_voice(wav), [press for keys in presses for press in keys], seconds, hang_up_at),
        linger_seconds=linger,
        cadence_ms=cadence_ms,
        from_number=from_number,
        to_number=to_number,
        custom_parameters=dict(parameters),
    )
    outcomes = _place_one(url, plan) if calls == 1 else _place_many(url, plan, calls)
    for number, outcome in enumerate(outcomes, 1):
        if out and isinstance(outcome, CallReport):
            _write(out if calls == 1 else out.with_stem(f"{out.stem}-{number}"), outcome)
    if not all(isinstance(outcome, CallReport) and outcome.ended_well for outcome in outcomes):
        raise click.exceptions.Exit(1)


def _voice(wav: Path | None) -> bytes:
    try:
        return read_wav(wav) if wav else built_in_voice()
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--wav") from None


def _actions(
    voice: bytes,
    presses: Sequence[Press],
    seconds: float | None,
    hang_up_at: float | None,
) -> tuple[Action, ...]:
    if seconds is not None and voice:
        length = round(seconds * SAMPLE_RATE_HZ)
        voice = (voice * (length // len(voice) + 1))[:length]
    end = hang_up_at if hang_up_at is not None else seconds
    return (Speak(0.0, voice), *presses, *([] if end is None else [HangUp(end)]))


def _place_one(url: str, plan: CallPlan) -> list[CallReport | CallFailed]:
    observer: Observer = CallLine() if sys.stdout.isatty() else CallEvents()
    outcomes = asyncio.run(_place(url, plan, [observer]))
    for outcome in outcomes:
        if isinstance(outcome, CallFailed):
            click.echo(f"call failed: {outcome}", err=True)
        else:
            click.echo(summary(outcome))
    return outcomes


def _place_many(url: str, plan: CallPlan, calls: int) -> list[CallReport | CallFailed]:
    observer = ManyCalls(calls, rewrites=sys.stdout.isatty())
    outcomes = asyncio.run(_place(url, plan, [observer] * calls))
    observer.leave()
    click.echo(aggregate(outcomes))
    return outcomes


async def _place(
    url: str,
    plan: CallPlan,
    observers: Sequence[Observer],
) -> list[CallReport | CallFailed]:
    """Place one call for each observer, all at once. Ctrl-C hangs up; a second one gives up."""
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        hang_up.set()
        loop.remove_signal_handler(signal.SIGINT)

    async def attempt(observer: Observer) -> CallReport | CallFailed:
        try:
            return await place_call(url, plan, observer, hang_up)
        except CallFailed as error:
            return error

    loop.add_signal_handler(signal.SIGINT, interrupt)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(observer)) for observer in observers]
    return [task.result() for task in tasks]


def _write(path: Path, report: CallReport) -> None:
    try:
        write_wav(path, caller=report.spoken, bridge=report.heard)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    click.echo(f"wrote {path}")
