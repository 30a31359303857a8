"""Plays a scenario for a test: from a thread of its own, and with a failure that says what happened.

`pytest_plugin` calls it; so can any other test runner.
"""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.scenario import Scenario, load_scenarios
from smartflo_bridge.simulator.telling import failure


class ScenarioFailed(AssertionError):  # noqa: N818 - what happened to the test; the verdict, not a mistake
    """A scenario did not go as it should. The text is for people."""


def play(scenario: str | Path, url: str, allow: Collection[str] = ()) -> CallReport | list[CallReport]:
    """Play a scenario (a file, or the name of a shipped one) to a URL; return the report of its call, or of all of them.

    It blocks until the call is over, and may be called where a loop is running: the calls have a loop of their own.

    Raises:
        ScenarioFailed: nobody answered, a step has not passed, or a rule was broken.
        ConfigError: there is a mistake in the scenario, or no such rule.
    """
    scenarios = load_scenarios(scenario)
    unknown = set(allow) - set(Rule)
    if unknown:
        raise ConfigError(f"allow: there is no rule {min(unknown)!r}; there are {', '.join(Rule)}")
    with ThreadPoolExecutor(1) as thread:
        outcomes = thread.submit(asyncio.run, _play_all(scenarios, url)).result()
    reports = []
    for one, outcome in zip(scenarios, outcomes, strict=True):
        if isinstance(outcome, CallFailed):
            raise ScenarioFailed(f"{one.name}: call failed: {outcome}")
        allowed = one.allowed | {Rule(name) for name in allow}
        if not outcome.passes(allowed):
            raise ScenarioFailed(failure(one, outcome, allowed))
        reports.append(outcome)
    return reports[0] if len(reports) == 1 else reports


async def _play_all(scenarios: list[Scenario], url: str) -> list[CallReport | CallFailed]:
    """Place the calls of a scenario all at once."""

    async def attempt(scenario: Scenario) -> CallReport | CallFailed:
        try:
            return await place_call(url, scenario.plan, wanted=scenario.wanted, judging=scenario.judging)
        except CallFailed as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(scenario)) for scenario in scenarios]
    return [task.result() for task in tasks]
