"""What the options of `call` order: calls, each with its time, its plan and its steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator.load import Order, orders
from smartflo_bridge.simulator.mix import built_in_voice, read_wav
from smartflo_bridge.simulator.plan import Action, CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.referee import RefereeSettings
from smartflo_bridge.simulator.scenario import BEYOND_SECONDS, START_AFTER_SECONDS, Scenario, load_scenarios

_SCENARIOS_OWN = ("wav", "pressed", "length", "hang_up_at", "linger", "cadence_ms", "parameters")
"""What a scenario says itself, so that an option beside it would be a contradiction."""

_NUMBERS = ("from_number", "to_number")
_JUDGING = {"buffer_seconds": "buffer_seconds", "answer_seconds": "answer_seconds", "strict": "is_strict"}
"""Options that a scenario may say and the command line overrule: the option, and the setting of the referee."""


def scenarios_of(ctx: click.Context) -> list[Scenario]:
    """Return what is to be played: what `--scenario` names, or a call made of the options alone."""
    options = ctx.params
    if not options["scenario"]:
        return [_plain_call(options)]
    for name in _SCENARIOS_OWN:
        if _is_given(ctx, name):
            option = next(one.opts[0] for one in ctx.command.params if one.name == name)
            raise click.UsageError(f"{option} does not go together with --scenario: the scenario says it")
    try:
        scenarios = load_scenarios(options["scenario"])
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from None
    numbers = {name: options[name] for name in _NUMBERS if _is_given(ctx, name)}
    judging = {setting: options[name] for name, setting in _JUDGING.items() if _is_given(ctx, name)}
    return [
        msgspec.structs.replace(
            scenario,
            plan=msgspec.structs.replace(scenario.plan, **numbers),
            judging=msgspec.structs.replace(scenario.judging, **judging),
        )
        for scenario in scenarios
    ]


def orders_of(scenarios: Sequence[Scenario], options: dict[str, Any], *, keeps_audio: bool) -> list[Order]:
    """Say when each call is to be placed. Of many calls no audio is kept, and their speech's rate is not judged."""
    is_load = options["calls"] > 1 or len(scenarios) > 1
    calls = max(options["calls"], len(scenarios))
    times = orders(Order(at_seconds=0.0, plan=CallPlan()), calls, options["calls_per_second"])
    placed = []
    for number, time in enumerate(times):
        scenario = scenarios[number % len(scenarios)]
        plan, judging = scenario.plan, scenario.judging
        if is_load:
            plan = msgspec.structs.replace(plan, keeps_audio=keeps_audio or bool(scenario.wanted))
            judging = msgspec.structs.replace(judging, judges_rate=False)
        placed.append(Order(at_seconds=time.at_seconds, plan=plan, wanted=scenario.wanted, judging=judging))
    return placed


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _plain_call(options: dict[str, Any]) -> Scenario:
    """Make a call of the options alone."""
    pressed = [press for keys in options["pressed"] for press in keys]
    judging = RefereeSettings(**{setting: options[name] for name, setting in _JUDGING.items()}, judges_rate=True)
    plan = CallPlan(
        actions=_actions(_voice(options["wav"]), pressed, options["length"], options["hang_up_at"]),
        linger_seconds=options["linger"],
        cadence_ms=options["cadence_ms"],
        from_number=options["from_number"],
        to_number=options["to_number"],
        custom_parameters=dict(options["parameters"]),
        start_after_seconds=START_AFTER_SECONDS,
        wait_seconds=judging.close_seconds + BEYOND_SECONDS,
    )
    return Scenario(name="", about="", plan=plan, wanted=(), judging=judging)


def _voice(wav: Path | None) -> bytes:
    try:
        return read_wav(wav) if wav else built_in_voice()
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--wav") from None


def _actions(
    voice: bytes,
    presses: Sequence[Press],
    length_seconds: float | None,
    hang_up_at: float | None,
) -> tuple[Action, ...]:
    if length_seconds is not None and voice:
        length = round(length_seconds * SAMPLE_RATE_HZ)
        voice = (voice * (length // len(voice) + 1))[:length]
    end = hang_up_at if hang_up_at is not None else length_seconds
    return (Speak(0.0, voice), *presses, *([] if end is None else [HangUp(end)]))
