"""How the daemon sets Python's garbage collector: what calls leave behind is collected in time."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.server.collector import FIRST_OBJECTS, FIT_SECONDS, OBJECTS_PER_CALL, fit_collector, set_collector
from virtual_clock import virtual


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the collector as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def full_passes() -> int:
    """Return how many there were so far."""
    return int(gc.get_stats()[2]["collections"])


def make_garbage(count: int) -> None:
    """Leave objects behind as calls do: they outlive the first passes, and then only refer to themselves."""
    lasting: list[list[object]] = []
    for _ in range(count):
        own: list[object] = []
        own.append(own)
        lasting.append(own)


def test_the_garbage_of_calls_is_collected_in_time() -> None:
    """After 130,000 objects, and not only after Python's 200,000."""
    set_collector()
    before = full_passes()
    make_garbage(130_000)
    assert full_passes() > before


@virtual
async def test_passes_are_the_rarer_the_more_calls_there_are() -> None:
    """What is under way with each of them is no garbage."""
    registry = Registry(1000)
    async with asyncio.TaskGroup() as tasks:
        fitting = tasks.create_task(fit_collector(registry))
        for calls in (0, 1000, 100):
            registry.connections = calls
            await asyncio.sleep(FIT_SECONDS + 0.1)
            assert gc.get_threshold()[0] == FIRST_OBJECTS + OBJECTS_PER_CALL * calls
        fitting.cancel()


def test_what_the_daemon_is_made_of_is_left_alone() -> None:
    """No pass looks at it again."""
    set_collector()
    assert gc.get_freeze_count() > 10_000
