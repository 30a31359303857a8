"""A virtual clock: an event loop whose time jumps to the next timer when nothing is ready, so an hour takes no time.

Only for tests without sockets, threads and executors: the loop does not wait for anything that happens outside of it, so
with a real connection it would jump over the very time in which the answer is on its way. For the same reason it is
asyncio's own loop and never uvloop, which has a clock that nobody can turn.

What hangs in a real loop fails here at once: a main coroutine that waits although nothing is scheduled, a call that goes
on for ever, a task that spins. So does what a real loop only logs: an exception in a callback, and a task left behind.
"""

import asyncio
import functools
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STARTS_AT_SECONDS = 5000.0
"""Not zero, so that a time of the loop cannot be taken for a time of the call."""

MAX_SECONDS = 6 * 3600.0
MAX_TURNS = 300_000
"""Of the loop: a minute of two-way audio at 20 ms takes some 20 000."""

SETTLING_TURNS = 10
"""After the main coroutine, for what is on its last step: a cancelled task, a callback that is already due."""


class HangError(AssertionError):
    """The main coroutine would never end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop of a test. `timers` counts what `call_later` and `call_at` were asked for, by the callback's name."""

    def __init__(self, max_seconds: float = MAX_SECONDS, max_turns: int = MAX_TURNS) -> None:
        self._jumper = _Jumper(max_seconds, max_turns)
        self.timers: Counter[str] = Counter()
        super().__init__(self._jumper)

    def time(self) -> float:
        """Return the virtual time."""
        return self._jumper.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """Count the timer, and make it; `call_later` comes here too."""
        self.timers[getattr(callback, "__qualname__", repr(callback))] += 1
        return super().call_at(when, callback, *args, context=context)


class _Jumper(selectors.DefaultSelector):
    """Selects without waiting: where a real one would wait so long, it turns the clock by as much."""

    def __init__(self, max_seconds: float, max_turns: int) -> None:
        super().__init__()
        self.now = STARTS_AT_SECONDS
        self._ends_at = STARTS_AT_SECONDS + max_seconds
        self._turns_left = max_turns

    def select(self, timeout: float | None = None) -> Any:
        self._turns_left -= 1
        if self._turns_left < 0:
            msg = f"the loop goes round and round; it is {self.now - STARTS_AT_SECONDS:.3f} s"
            raise HangError(msg)
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            msg = f"nothing is scheduled, so this would wait for ever; it is {self.now - STARTS_AT_SECONDS:.3f} s"
            raise HangError(msg)
        self.now += timeout
        if self.now > self._ends_at:
            msg = f"it goes on and on; it is {self.now - STARTS_AT_SECONDS:.3f} s"
            raise HangError(msg)
        return ready


def run(main: Coroutine[Any, Any, T], *, max_seconds: float = MAX_SECONDS, max_turns: int = MAX_TURNS) -> T:
    """Run a coroutine on a virtual clock to its end; return what it returns.

    Raises:
        HangError: it would never end, or not within the bounds.
        AssertionError: it left a task behind, or a callback raised.
    """
    troubles: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(max_seconds, max_turns)) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: troubles.append(context))
        result = runner.run(_alone(main))
    for trouble in troubles:
        raise AssertionError(f"the loop was told: {trouble['message']}") from trouble.get("exception")
    return result


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let an `async def test_...` run on a virtual clock."""

    @functools.wraps(test)
    def run_test(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return run_test


def clock_ns() -> int:
    """Return the virtual time in ns: the clock of a `CallSetup`."""
    return round(asyncio.get_running_loop().time() * 1e9)


async def _alone(main: Coroutine[Any, Any, T]) -> T:
    result = await main
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        raise AssertionError(f"left behind: {', '.join(sorted(repr(task.get_coro()) for task in left))}")
    return result
