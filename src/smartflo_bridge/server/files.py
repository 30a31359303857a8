"""How many files and sockets the process may have open: enough for all calls that it lets in, or a word about it.

When there are none left, uvloop takes connections and drops them without telling anybody (reliability, F11): the caller
hears nothing, and neither does the log. So `max-calls` is to be what refuses, and somebody has to look.
"""

import asyncio
import errno
import logging
import resource
from contextlib import suppress
from pathlib import Path

from smartflo_bridge.agents.notices import Notices
from smartflo_bridge.config import Config
from smartflo_bridge.log import line
from smartflo_bridge.server.admission import MAX_PENDING

OWN_FILES = 64
"""Of the daemon itself, whatever its calls do: some 20, a few more for threads of handlers, and room for a reload."""

FILES = Path("/proc/self/fd")

LOOK_SECONDS = 2.0
"""Between two looks. One takes a loop some 0.2 ms with a thousand files."""

ALARM_SHARE = 0.9
"""Of what is allowed: so much is no ordinary load, and there is time left to do something about it."""

_log = logging.getLogger(__name__)


def files_needed(config: Config) -> int:
    """Return how many files are open if there are as many calls and handshakes as there may be."""
    for_call = 1 + (config.agent is not None) + bool(config.capture_dir) + bool(config.record_dir)
    return OWN_FILES + MAX_PENDING + config.max_calls * for_call


def allow_files(needed: int) -> None:
    """Raise our limit of open files to what is needed, as far as we may; if that is not enough, say so in the log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # under the unit, which has set what there is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft < needed:
        words = "too few open files for max-calls: connections may be dropped without a word"
        _log.warning(line(words, allowed=soft, needed=needed))


async def watch_files() -> None:
    """Say, once in 10 s at most, that the files are running out. Never ends."""
    notices = Notices()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        used = _open_files(allowed)
        if allowed == resource.RLIM_INFINITY or used < ALARM_SHARE * allowed:
            continue
        so_far = notices.add(asyncio.get_running_loop().time())
        if so_far is not None:
            words = "file descriptors run out: new connections are dropped when there are none"
            _log.warning(line(words, used=used, allowed=allowed, so_far=so_far))


def _open_files(allowed: int) -> int:
    """Return how many files are open: all that are allowed, if not even these can be counted; 0 where nobody can."""
    try:
        return sum(1 for _ in FILES.iterdir()) - 1  # without the one that lists them
    except OSError as error:
        return allowed if error.errno in (errno.EMFILE, errno.ENFILE) else 0
