"""The stepper: who resumes the coroutine runs it, and what it raises reaches the task that waits for it."""

import asyncio
import gc
import weakref

import pytest

from smartflo_bridge.calls.stepper import SUSPENDED, Stepper
from virtual_clock import virtual


class Counting:
    """A coroutine that counts how often it was resumed, and fails when it is told to."""

    def __init__(self):
        self.steps = 0
        self.fails = False
        self.has_ended = False

    async def run(self):
        """Count."""
        try:
            while True:
                self.steps += 1
                if self.fails:
                    raise KeyError
                await SUSPENDED
        finally:
            self.has_ended = True


@virtual
async def test_it_runs_when_it_is_resumed_and_not_before():
    """In the same turn of the loop, as far as its next wait."""
    counting = Counting()
    stepper = Stepper(counting.run(), asyncio.get_running_loop().create_future())
    assert counting.steps == 0
    for steps in (1, 2, 3):
        stepper.resume()
        assert counting.steps == steps
    await asyncio.sleep(0)
    assert counting.steps == 3
    stepper.close()
    assert counting.has_ended


@virtual
async def test_what_it_raises_is_raised_where_the_future_is_awaited():
    """And not where it was resumed, which is somebody else's callback."""
    counting, failed = Counting(), asyncio.get_running_loop().create_future()
    stepper = Stepper(counting.run(), failed)
    stepper.resume()
    counting.fails = True
    stepper.resume()
    with pytest.raises(KeyError):
        await failed
    assert counting.has_ended


@virtual
async def test_what_it_raises_when_nobody_waits_any_more_is_the_loop_s():
    """Which says it aloud: it is not lost."""
    counting, failed = Counting(), asyncio.get_running_loop().create_future()
    failed.set_result(None)
    stepper = Stepper(counting.run(), failed)
    counting.fails = True
    with pytest.raises(KeyError):
        stepper.resume()


@virtual
async def test_it_holds_nothing_once_it_is_closed():
    """What the coroutine held goes without the garbage collector."""
    counting = Counting()
    gone = weakref.ref(counting)
    stepper = Stepper(counting.run(), asyncio.get_running_loop().create_future())
    stepper.resume()
    gc.disable()
    try:
        del counting
        assert gone() is not None
        stepper.close()
        assert gone() is None
    finally:
        gc.enable()
