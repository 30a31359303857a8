"""Where handlers run: built-in ones on the main loop, users' on an event loop of their own, in a thread of its own.

A user's `time.sleep(2)` then delays other users' handlers, and nobody's audio: pacing, I/O and sessions are elsewhere.
The thread is a daemon: code that never returns cannot keep the process alive. And what it raises ends here, in `attempt`,
which handlers, tools and the function that answers in the place of a model all pass through.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Self

import uvloop

from smartflo_bridge.calls.mailbox import Mailbox
from smartflo_bridge.core.errors import CallEnded
from smartflo_bridge.log import line

PAUSE_SECONDS = 0.001
"""Between two wake-ups of the handlers' thread: with many calls, one is for all that came in a millisecond or two."""

LAST_WORDS_SECONDS = 0.1
"""How long cancelled handlers may take to end when the bridge does."""

Guest = Literal["handler", "tool", "answer"]
"""The three kinds of code that is not ours."""

_FAILED: dict[Guest, str] = {
    "handler": "handler failed",
    "tool": "a tool failed",
    "answer": "the function that answers has failed",
}

_log = logging.getLogger(__name__)


Running = concurrent.futures.Future[None] | asyncio.Task[None]


class HandlerLoop:
    """An event loop that runs handlers, and the way to it from the main loop.

    Attributes:
        failures: how often code that is not ours has raised, by its kind.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread | None = None) -> None:
        self._loop = loop
        self._thread = thread
        self._to_handlers = Mailbox(loop, 0.0 if thread is None else PAUSE_SECONDS)
        self._to_main: Mailbox | None = None  # once the main loop has started a handler
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self.failures: Counter[str] = Counter()

    @classmethod
    def main(cls) -> Self:
        """Run handlers on the loop that runs now: for handlers of our own, which do not block."""
        return cls(asyncio.get_running_loop())

    @classmethod
    def in_thread(cls) -> Self:
        """Run handlers on a new loop in a new thread."""
        loop = uvloop.new_event_loop()
        thread = threading.Thread(target=_run_loop, args=(loop,), name="handlers", daemon=True)
        thread.start()
        return cls(loop, thread)

    @property
    def is_main(self) -> bool:
        """True if handlers share the loop with the calls' actors."""
        return self._thread is None

    @property
    def thread(self) -> tuple[asyncio.AbstractEventLoop, int] | None:
        """The loop and the number of the thread that handlers run on; None if they share the main loop."""
        if self._thread is None or self._thread.ident is None:
            return None
        return self._loop, self._thread.ident

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the handlers' loop, soon, and after what was posted before."""
        if self._thread is None:
            function(*args)
        else:
            self._to_handlers.post(function, *args)

    def post_to_main(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the main loop, from the handlers' loop; the same way round."""
        if self._thread is None:
            function(*args)
        elif self._to_main is not None:
            self._to_main.post(function, *args)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Running:
        """Run a coroutine there, from the main loop; what it returns is for `cancel`, and a future in a thread's case."""
        if self._thread is None:  # a future for another thread, and what keeps it, would take 2 kB
            task = self._loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return task
        if self._to_main is None or self._to_main.loop is not asyncio.get_running_loop():
            self._to_main = Mailbox(asyncio.get_running_loop())
        return asyncio.run_coroutine_threadsafe(self._hold(coroutine), self._loop)

    async def _hold(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Keep the task alive: the loop does not, and one that waits for something of its own would be collected."""
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await coroutine
        finally:
            self._tasks.discard(task)

    async def attempt(self, code: Coroutine[Any, Any, None], guest: Guest, **about: object) -> bool:
        """Run code that is not ours to its end, on its loop; return False if it failed, which is logged, once, and counted.

        The one place that catches everything, `sys.exit` too: whatever is raised ends what one call asked for, and no more.
        To be told that the call is over is no failure. `about` is for the log: ids and names, nothing that was said.

        Raises:
            CancelledError: we have cancelled it.
        """
        try:
            await code
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _are_cancelled():
                raise
            if not _is_end_of_call(error):
                self.failures[guest] += 1
                _log.exception(line(_FAILED[guest], **about))
                return False
        return True

    def cancel(self, running: Running) -> None:
        """Cancel what `start` began, once, unless the loop has gone already."""
        if not self._loop.is_closed() and not (isinstance(running, asyncio.Task) and running.cancelling()):
            running.cancel()

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread; return False if a handler still blocks it after the time-out."""
        if self._thread is None:
            return True
        self.post(self._loop.stop)
        self._to_handlers.wake()  # nobody comes back to do it: this waits
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()


Handler = Callable[..., Awaitable[None]]
"""`async def answer(call: Call) -> None`. Returning hangs up, after what is queued has been played."""


def _are_cancelled() -> bool:
    """True if this task was cancelled, and not what it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_end_of_call(error: BaseException) -> bool:
    """True for CallEnded, alone or from several tasks of a group: the way in which a handler learns that the call is over."""
    if isinstance(error, ExceptionGroup):
        return error.split(CallEnded)[1] is None
    return isinstance(error, CallEnded)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        _run_whatever_exits(loop)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
            # One that ignores it is left where it is; asyncio's own gather() says so in the same way.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS))
    finally:
        loop.close()


def _run_whatever_exits(loop: asyncio.AbstractEventLoop) -> None:
    """Run until the loop is stopped: a handler's `sys.exit` ends its own task, and is not the thread's to obey."""
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            _log.error("a handler asked the process to exit; it may end its own call only")
        else:
            return
