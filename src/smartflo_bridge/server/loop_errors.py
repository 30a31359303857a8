"""What becomes of an error that nobody caught on the daemon's loop: a line in the log, but not the next thing that fills it.

The loop's own way is a page of log for each. Under asyncio, a process without file descriptors writes thousands in a few
seconds (reliability, F11), each with the representation of whatever it was about.
"""

import errno
import logging
import time
from asyncio import AbstractEventLoop
from typing import Any

from smartflo_bridge.agents.notices import Notices
from smartflo_bridge.log import line

MAX_KINDS = 64
"""Told apart at once. Errors come from a few places of the code; what is beyond is one kind."""

_log = logging.getLogger(__name__)


class LoopErrors:
    """A loop's exception handler: each kind of error is said once in 10 s, with how often it came so far."""

    def __init__(self) -> None:
        self._kinds: dict[str, Notices] = {}

    def __call__(self, _loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take one error, as `loop.set_exception_handler` describes it."""
        error = context.get("exception")
        is_out_of_files = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
        what = "no file descriptors left" if is_out_of_files else _what(context)
        kind = what if is_out_of_files else f"{what} {type(error).__name__}"
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = "others"
        so_far = self._kinds.setdefault(kind, Notices()).add(time.monotonic())
        if so_far is None:
            return
        if is_out_of_files:
            _log.error(line(what, so_far=so_far))
        else:
            _log.error(line("uncaught on the loop", what=what, so_far=so_far), exc_info=error)


def _what(context: dict[str, Any]) -> str:
    """Return the loop's words without the representations in them: these hold arguments, and so whatever a call holds."""
    words = str(context.get("message", "an error"))
    for opening in "(<{['\"":
        words = words.partition(opening)[0]
    return words.strip()[:100]
