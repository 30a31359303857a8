"""Many calls: at a rate, with percentiles, and with the generator's own lateness; short."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from integration.daemon import Daemon
from smartflo_bridge.cli.call import command
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.load import Order, orders, place_calls
from smartflo_bridge.simulator.plan import CallPlan, HangUp
from smartflo_bridge.simulator.report import CallReport


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a bridge that echoes."""
    with Daemon(tmp_path_factory.mktemp("echo"), handler="echo") as daemon:
        yield daemon


def call(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_calls_begin_at_a_rate_and_are_summed_up(echo: Daemon, tmp_path: Path) -> None:
    """Thirty in a second and a half, two seconds each: all answered, in percentiles, and how late we were ourselves."""
    out = tmp_path / "load.json"
    result = call(echo.url, "--calls", 30, "--rate", "20/s", "--seconds", "2", "--json", out)
    lines = {line[:12].strip(): line for line in result.output.splitlines()}
    assert "30: 30 answered, 30 ended well, 0 failed" in lines["calls"], result.output
    for name in ("first audio", "lateness", "lead"):
        assert all(word in lines[name] for word in ("p50", "p95", "p99", "max")), lines[name]
    assert "gaps" in lines
    assert lines["simulator"].startswith("simulator   own loop late by p50 ")
    document = json.loads(out.read_text())
    assert len(document["calls"]) == 30
    assert document["spread"]["first_audio_ms"]["count"] == 30
    assert document["spread"]["own_lateness_ms"]["count"] > 100
    assert all("history" not in one and "heard" not in one for one in document["calls"])


def test_calls_are_placed_on_an_absolute_schedule(echo: Daemon) -> None:
    """Ten at 20 a second begin within half a second, evenly; of so many no audio is kept."""
    begun: dict[int, float] = {}

    async def main() -> list[CallReport]:
        plan = CallPlan(actions=(HangUp(0.2),), keeps_audio=False)
        wanted = orders(Order(at_seconds=0.0, plan=plan), 10, 20.0)

        def observe(number: int):
            begun[number] = time.monotonic()
            return lambda _: None

        return await place_calls(echo.url, wanted, observe, asyncio.Event(), LatenessProbe())

    reports = asyncio.run(main())
    assert all(isinstance(report, CallReport) and report.heard == b"" for report in reports)
    assert list(begun) == list(range(10))
    assert begun[9] - begun[0] == pytest.approx(0.45, abs=0.3)


def test_hanging_up_ends_all_calls_and_places_no_more(echo: Daemon) -> None:
    """As Ctrl-C does."""

    async def main() -> list[object]:
        hang_up = asyncio.Event()
        wanted = orders(Order(at_seconds=0.0, plan=CallPlan(actions=(HangUp(60.0),))), 3, 1.0)
        asyncio.get_running_loop().call_later(0.5, hang_up.set)
        return list(await place_calls(echo.url, wanted, lambda _: lambda _: None, hang_up, LatenessProbe()))

    first, *others = asyncio.run(main())
    assert isinstance(first, CallReport)
    assert [str(one) for one in others] == ["it was not placed any more"] * 2


def test_a_stalled_loop_is_known() -> None:
    """A tenth of a second in which nothing ran, and for how long between any two times."""

    async def main() -> tuple[LatenessProbe, float]:
        async with LatenessProbe() as probe:
            await asyncio.sleep(0.03)
            began_at = asyncio.get_running_loop().time()
            time.sleep(0.1)  # noqa: ASYNC251 - this is the stall
            await asyncio.sleep(0.03)
        return probe, began_at

    probe, began_at = asyncio.run(main())
    assert max(probe.late_ms) >= 85
    assert probe.stalled(began_at, began_at + 0.1) == pytest.approx(0.095, abs=0.02)
    assert probe.stalled(began_at - 10, began_at - 1) == 0
