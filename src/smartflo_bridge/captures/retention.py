"""How long captures and recordings are kept: those that are older are deleted, and nothing else is.

Their writers run it, on a thread of its own: a directory of a hundred thousand files takes its time.
"""

import logging
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

from smartflo_bridge.captures.format import COMPRESSED, SUFFIX
from smartflo_bridge.log import line

PRUNE_SECONDS = 3600.0
"""Between two looks for what is too old: kept an hour too long is near enough for a limit in days."""

CAPTURES = re.compile(rf".*{re.escape(SUFFIX)}({re.escape(COMPRESSED)})?")
RECORDINGS = re.compile(r"\d{8}T\d{6}-[A-Za-z0-9._-]+-[0-9a-f]{4}\.wav")
"""As `RecordingWriter` names them: somebody else's WAV files may be in the directory."""

_log = logging.getLogger(__name__)


def prune(directory: Path, names: re.Pattern[str], keep_seconds: float, now: float) -> int:
    """Delete the files in a directory that were written last before `now - keep_seconds`; return how many.

    `now` is in seconds since the epoch, as files' times are. Only files whose names match are looked at.

    Raises:
        OSError: the directory cannot be read, or a file in it not deleted.
    """
    deleted = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if not names.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # another bridge on the same directory was faster
                if entry.stat(follow_symlinks=False).st_mtime < now - keep_seconds:
                    Path(entry.path).unlink()
                    deleted += 1
    return deleted


class Retention:
    """Prunes a directory at the start and every hour, until it is closed.

    Args:
        what: the files are, in the plural, for the log.
        directory: that they are in.
        names: that they have.
        keep_days: how long after its last change one is deleted.
    """

    def __init__(self, what: str, directory: Path, names: re.Pattern[str], keep_days: float) -> None:
        self._what = what
        self._directory = directory
        self._names = names
        self._keep_seconds = keep_days * 86400
        self._is_closed = threading.Event()
        threading.Thread(target=self._run, name=f"{what}-retention", daemon=True).start()

    def close(self) -> None:
        """Prune no more."""
        self._is_closed.set()

    def _run(self) -> None:
        while True:
            try:
                deleted = prune(self._directory, self._names, self._keep_seconds, time.time())
            except OSError as error:
                _log.warning(line(f"old {self._what} could not be deleted", reason=error.strerror or str(error)))
            else:
                if deleted:
                    _log.info(line(f"old {self._what} deleted", files=deleted))
            if self._is_closed.wait(PRUNE_SECONDS):
                return
