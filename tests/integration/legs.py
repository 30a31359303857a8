"""Calls over a bridge to an agent that is served here, over real connections, and what the referee has to say of them."""

from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from integration.daemon import bridge, url_of
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import CallPlan
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule

GAPS = {Rule.GAP_0_MS, Rule.GAP_60_MS, Rule.GAP_200_MS}
"""Where the machine is too busy for its pacing."""


async def call_agent(agent: dict[str, Any], plan: CallPlan) -> CallReport:
    """Call a bridge whose agent is configured so."""
    async with bridge(agent=agent) as service:
        return await place_call(url_of(service), plan)


async def call_bot(
    answer: Callable[[ServerConnection], Awaitable[None]], plan: CallPlan, **agent: object
) -> CallReport:
    """Serve a bot on a free port, and call it over the bridge."""
    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        return await call_agent({"url": url, **agent}, plan)


def check(report: CallReport) -> None:
    """Fail if the bridge broke a rule, or did not end the call as it should."""
    assert set(report.broken) <= GAPS, report.violations
    assert report.ended_well
