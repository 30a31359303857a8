"""How long captures are kept: those that are older are deleted, and nothing else is.

The writer of captures calls it, on a thread of its own: a directory of a hundred thousand files takes its time.
"""

import os
from contextlib import suppress
from pathlib import Path

from smartflo_bridge.captures.format import COMPRESSED, SUFFIX


def prune(directory: Path, keep_seconds: float, now: float) -> int:
    """Delete the captures in a directory that were written last before `now - keep_seconds`; return how many.

    `now` is in seconds since the epoch, as files' times are. A capture is what has a capture's suffix.

    Raises:
        OSError: the directory cannot be read, or a file in it not deleted.
    """
    deleted = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.endswith((SUFFIX, SUFFIX + COMPRESSED)) or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # another bridge on the same directory was faster
                if entry.stat(follow_symlinks=False).st_mtime < now - keep_seconds:
                    Path(entry.path).unlink()
                    deleted += 1
    return deleted
