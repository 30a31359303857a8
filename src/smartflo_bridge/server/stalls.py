"""The stall finder: a thread that asks each event loop for a sign of life, and says which line of code holds one up.

A handler that blocks delays all handlers, so the operator is told where, once a stall. It cannot see code that blocks the
whole interpreter, such as an extension that keeps the GIL: then nothing of the process runs, and systemd's watchdog is left.
"""

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from smartflo_bridge.log import line

STALL_SECONDS = 1.0
"""Reliability, section 8: `watchdog dump`."""

ROUND_SECONDS = 0.25
"""So a stall is said at most so much later: within 1.5 s, goal G16."""

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

_log = logging.getLogger(__name__)


class WatchedLoop:
    """One loop, as the finder sees it.

    Attributes:
        words: what is said when it stalls.
        thread_id: of the thread that runs it.
    """

    def __init__(self, words: str, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        self.words = words
        self.thread_id = thread_id
        self._loop = loop
        self._asked_at = 0.0
        self._has_answered = True
        self._is_reported = False

    def ask(self, now: float) -> bool:
        """Ask for a sign of life if the last one has come; return True, once, when it is overdue."""
        if self._has_answered:
            self._has_answered = False
            self._is_reported = False
            self._asked_at = now
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answer)
        elif now - self._asked_at >= STALL_SECONDS and not self._is_reported:
            self._is_reported = True
            return True
        return False

    def forgive(self, now: float) -> None:
        """Begin to count anew: it was not the loop that stood still."""
        self._asked_at = now

    def _answer(self) -> None:
        self._has_answered = True


class StallFinder:
    """Watches loops from a thread of its own.

    Attributes:
        stalls: found so far.
    """

    def __init__(self, *loops: WatchedLoop) -> None:
        self.stalls = 0
        self._loops = loops
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)

    @contextmanager
    def watching(self) -> Iterator["StallFinder"]:
        """Watch inside the context."""
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            self._thread.join()

    def _watch(self) -> None:
        last_round_at = time.monotonic()
        while not self._is_over.wait(ROUND_SECONDS):
            now = time.monotonic()
            if now - last_round_at > 2 * ROUND_SECONDS:  # the whole process stood still
                for loop in self._loops:
                    loop.forgive(now)
            last_round_at = now
            for loop in self._loops:
                if loop.ask(now):
                    self.stalls += 1
                    _log.warning(line(loop.words, at=place_of(sys._current_frames().get(loop.thread_id))))  # noqa: SLF001


def place_of(frame: FrameType | None) -> str | None:
    """Return file, line and function of the innermost code that belongs to no library; of the innermost if all does."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, "<")):
        frame = frame.f_back
    found = frame or innermost
    return found and f"{found.f_code.co_filename}:{found.f_lineno}:{found.f_code.co_name}"
