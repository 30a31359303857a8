"""The stepper: runs a coroutine that waits for one thing only, in the very turn of the loop in which that happens.

A task would be woken by a future. That takes the future, a turn of the loop, with a system call of its own while nothing else
is ready, and the way through every `await` between the task and the coroutine: a tenth of all that a frame costs us. So an
actor's coroutine, which waits for its inbox and for nothing else, is resumed by whoever has put something in.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class _Suspended:
    """What the coroutine awaits, until it is resumed."""

    def __await__(self) -> Generator[None]:
        yield


SUSPENDED = _Suspended()


class Stepper:
    """One coroutine, which awaits `SUSPENDED` alone, and never ends by itself.

    Args:
        coroutine: may be resumed from any callback of the loop, but not from itself. It runs in no task: nothing can cancel it, and
            `asyncio.timeout` is not for it.
        failed: is given what the coroutine raises, unless it is done.
    """

    def __init__(self, coroutine: Coroutine[Any, None, None], failed: asyncio.Future[Any]) -> None:
        self._coroutine = coroutine
        self._failed = failed

    def resume(self) -> None:
        """Run it until it waits again."""
        try:
            self._coroutine.send(None)
        except Exception as error:
            if self._failed.done():
                raise  # to the loop, which logs it
            self._failed.set_exception(error)

    def close(self) -> None:
        """End it where it waits, and let go of all that it holds."""
        self._coroutine.close()
