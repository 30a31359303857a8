"""Places many calls, at once or at a rate, and knows how late its own loop was meanwhile.

The calls begin on an absolute schedule. One that fails is an outcome like any other.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.plan import CallPlan
from smartflo_bridge.simulator.progress import Progress
from smartflo_bridge.simulator.referee import RefereeSettings
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.steps import Step

Outcome = CallReport | CallFailed
Observer = Callable[[Progress], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One call to be placed: when, counted from the first, and what is wanted of it."""

    at_seconds: float
    plan: CallPlan
    wanted: tuple[Step, ...] = ()
    judging: RefereeSettings = RefereeSettings()


def orders(order: Order, calls: int, calls_per_second: float | None) -> list[Order]:
    """Return so many of a call: at once, or evenly at a rate."""
    if calls_per_second is None:
        return [order] * calls
    return [msgspec.structs.replace(order, at_seconds=number / calls_per_second) for number in range(calls)]


async def place_calls(
    url: str,
    wanted: Sequence[Order],
    observe: Callable[[int], Observer],
    hang_up: asyncio.Event,
    probe: LatenessProbe,
) -> list[Outcome]:
    """Place calls, each at its time, and return what became of each. `observe(number)` returns who watches a call.

    Setting `hang_up` ends those that are up, and keeps the others from beginning.
    """
    began_at = asyncio.get_running_loop().time()

    async def attempt(number: int, order: Order) -> Outcome:
        try:
            async with asyncio.timeout_at(began_at + order.at_seconds):
                await hang_up.wait()
            return CallFailed("it was not placed any more")
        except TimeoutError:
            pass
        try:
            return await place_call(
                url, order.plan, observe(number), hang_up, wanted=order.wanted, judging=order.judging, probe=probe
            )
        except CallFailed as error:
            return error

    async with probe, asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(number, order)) for number, order in enumerate(wanted)]
    return [task.result() for task in tasks]
