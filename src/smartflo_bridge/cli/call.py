"""The command `call`: places simulated calls to a bridge, shows them as they run, and judges them."""

import asyncio
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from smartflo_bridge.cli.call_json import write_json
from smartflo_bridge.cli.call_orders import orders_of, scenarios_of
from smartflo_bridge.cli.call_progress import CallEvents, CallLine
from smartflo_bridge.cli.call_summary import summary
from smartflo_bridge.cli.call_values import parameter, presses, rate, rule, seconds, stream_url
from smartflo_bridge.cli.load_progress import LoadDisplay
from smartflo_bridge.cli.load_summary import failure_lines, load_summary
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.load import Observer, Order, Outcome, place_calls
from smartflo_bridge.simulator.mix import write_wav
from smartflo_bridge.simulator.plan import CADENCE_MS, CallPlan
from smartflo_bridge.simulator.referee import RefereeSettings
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.scenario import shipped_scenarios

LINGER_SECONDS = 5.0
"""How long the caller listens when everything is said: most answers end within it."""

_DEFAULT = CallPlan()
_JUDGING = RefereeSettings()


@click.command("call")
@click.argument("url", type=stream_url, metavar="URL")
@click.option(
    "--wav",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the caller says; a built-in voice without it.",
)
@click.option(
    "--press",
    "pressed",
    type=presses,
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
    "--scenario",
    metavar="FILE|NAME",
    help=f"Play a scenario: a TOML file, or one that comes with the package ({', '.join(shipped_scenarios())}).",
)
@click.option("--calls", type=click.IntRange(1, 1000), default=1, show_default=True, help="Place so many calls.")
@click.option("--rate", "calls_per_second", type=rate, metavar="N/s", help="Begin so many a second; else all at once.")
@click.option(
    "--seconds",
    "length",
    type=seconds,
    metavar="SECONDS",
    help="Stay so long on the line; the voice is repeated until then.",
)
@click.option("--hang-up-at", type=seconds, metavar="SECONDS", help="Hang up then, whatever is still to be said.")
@click.option(
    "--linger",
    type=seconds,
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
    type=parameter,
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
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the report and every broken rule as JSON.",
)
@click.option("--strict", is_flag=True, help="Tell audio of an interrupted utterance by its watermark.")
@click.option(
    "--buffer-seconds",
    type=seconds,
    metavar="SECONDS",
    default=_JUDGING.buffer_seconds,
    show_default=True,
    help="How far ahead of real time audio may be sent.",
)
@click.option(
    "--answer-seconds",
    type=seconds,
    metavar="SECONDS",
    default=_JUDGING.answer_seconds,
    show_default=True,
    help="In which the bridge must have said something.",
)
@click.option(
    "--allow",
    "allowed",
    type=rule,
    metavar="RULE",
    multiple=True,
    help="Show it when this rule is broken, and do not fail for it. Repeatable.",
)
@click.pass_context
def command(ctx: click.Context, /, *, url: str, json_file: Path | None, out: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's
    """Place a simulated call to URL, in real time, as the platform would, and name every rule that the bridge breaks.

    A token goes into the URL. The exit code is 0 if every call was answered, broke no rule and passed all steps of its
    scenario; 1 if not.
    """
    for hint, path in (("--out", out), ("--json", json_file)):
        if path and not path.parent.is_dir():
            raise click.BadParameter(f"there is no folder {path.parent}", param_hint=hint)
    scenarios = scenarios_of(ctx)
    allowed = frozenset(options["allowed"]).union(*(scenario.allowed for scenario in scenarios))
    placed = orders_of(scenarios, options, keeps_audio=out is not None)
    names = [scenarios[number % len(scenarios)].name for number in range(len(placed))]
    probe = LatenessProbe()
    outcomes = _run(url, placed, probe, allowed)
    named = list(zip(names, outcomes, strict=True))
    if len(scenarios) > 1:
        click.echo("\n".join(failure_lines(named, allowed)))
    has_passed = all(isinstance(one, CallReport) and one.passes(allowed) for one in outcomes)
    _write_audio(out, outcomes)
    if json_file:
        write_json(json_file, named, has_passed=has_passed, allowed=allowed, own_late_ms=probe.late_ms)
    if not has_passed:
        ctx.exit(1)


def _run(url: str, placed: Sequence[Order], probe: LatenessProbe, allowed: Collection[Rule]) -> list[Outcome]:
    """Place the calls, show them, and say what became of them."""
    is_terminal = sys.stdout.isatty()
    if len(placed) == 1:
        one: Observer = CallLine() if is_terminal else CallEvents()
        outcomes = asyncio.run(_place(url, placed, [one], probe))
        for outcome in outcomes:
            if isinstance(outcome, CallFailed):
                click.echo(f"call failed: {outcome}", err=True)
            else:
                click.echo(summary(outcome, allowed))
        return outcomes
    display = LoadDisplay(len(placed), probe, rewrites=is_terminal)
    outcomes = asyncio.run(_place(url, placed, [display.watch(order.at_seconds) for order in placed], probe))
    display.leave()
    click.echo(load_summary(outcomes, probe.late_ms))
    return outcomes


async def _place(
    url: str, placed: Sequence[Order], observers: Sequence[Observer], probe: LatenessProbe
) -> list[Outcome]:
    """Place calls. Ctrl-C hangs up; a second one gives up."""
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        hang_up.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    return await place_calls(url, placed, lambda number: observers[number], hang_up, probe)


def _write_audio(out: Path | None, outcomes: Sequence[Outcome]) -> None:
    """Write both voices of each call that was answered."""
    for number, outcome in enumerate(outcomes, 1):
        if out is None or isinstance(outcome, CallFailed):
            continue
        path = out if len(outcomes) == 1 else out.with_stem(f"{out.stem}-{number}")
        try:
            write_wav(path, caller=outcome.spoken, bridge=outcome.heard)
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
        click.echo(f"wrote {path}")
