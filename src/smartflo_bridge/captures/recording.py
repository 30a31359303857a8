"""Writing recordings: a tap for each call, and one thread that puts both voices into a stereo WAV file as they are heard.

The main loop only appends to a queue; the thread decodes and lays out (`stereo`). It writes half a second at a time and
then the header, so the file is a WAV file at every moment, whatever kills the process. A disk that is full ends
recordings, not calls, and says so once.
"""

import contextlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from smartflo_bridge.captures.directory import make_private
from smartflo_bridge.captures.retention import RECORDINGS, Retention
from smartflo_bridge.captures.stereo import Stereo
from smartflo_bridge.captures.wav import WavFile
from smartflo_bridge.core import outgoing
from smartflo_bridge.core.commands import Command, MuteRecording
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import MediaEvent, StartEvent, StopEvent, parse_incoming_event
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.signals import PeerLost, Signal
from smartflo_bridge.log import line

MAX_WAITING = 50_000
"""Messages that may wait for the disk, of all calls, as of captures; beyond, recordings are cut short."""

_log = logging.getLogger(__name__)

_spoken = msgspec.json.Decoder(outgoing.MediaEvent | outgoing.ClearEvent)


class RecordingWriter:
    """Writes the recordings of all calls into one directory.

    Args:
        directory: made if it is not there, readable by us alone.
        keep_days: how long after its last change a recording is deleted, at the start and every hour.

    Raises:
        ConfigError: the directory cannot be made or written to.
    """

    def __init__(self, directory: Path, *, keep_days: float = 30.0) -> None:
        make_private("record-dir", directory)
        self.directory = directory
        self._queue: queue.SimpleQueue[tuple[_Recording, Callable[..., None], float, Any] | None] = queue.SimpleQueue()
        self._has_warned = False
        self._thread = threading.Thread(target=self._write, name="recordings", daemon=True)
        self._thread.start()
        self._retention = Retention("recordings", directory, RECORDINGS, keep_days)

    def tap(self) -> "RecordingTap":
        """Return a tap for a new call."""
        return RecordingTap(self, _Recording(self.directory))

    def put(self, recording: "_Recording", step: Callable[..., None], at_ns: int, shown: object = None) -> None:
        """Have a step of a recording taken."""
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put((recording, step, at_ns / 1e9, shown))
        else:
            recording.is_cut = True

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what waits, within the time-out."""
        self._retention.close()
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _write(self) -> None:
        while (job := self._queue.get()) is not None:
            recording, step, now, shown = job
            if recording.is_over:
                continue
            trouble = "the disk is too slow" if recording.is_cut else _trouble_with(step, now, shown)
            if trouble is not None:
                recording.give_up()
                if not self._has_warned:
                    _log.warning(line("recordings are cut short until one is written again", reason=trouble))
                self._has_warned = True
            elif recording.is_over:  # a whole call went well
                self._has_warned = False


def _trouble_with(step: Callable[..., None], now: float, shown: object) -> str | None:
    """Take a step; return why the disk refused it, if it did."""
    try:
        step(now, shown)
    except OSError as error:
        return error.strerror or str(error)
    return None


class RecordingTap:
    """Shows one call to the writer: see `calls.tap`."""

    def __init__(self, writer: RecordingWriter, recording: "_Recording") -> None:
        self._writer = writer
        self._recording = recording

    def message_in(self, at_ns: int, text: bytes) -> None:
        """Keep what the caller says."""
        self._writer.put(self._recording, self._recording.hear, at_ns, text)

    def given(self, at_ns: int, given: Command | Signal) -> None:
        """Heed the handler's wish, and the end of the connection; the rest is no business of a recording."""
        match given:
            case MuteRecording(is_muted=is_muted):
                self._writer.put(self._recording, self._recording.mute if is_muted else self._recording.unmute, at_ns)
            case PeerLost():
                self._writer.put(self._recording, self._recording.end, at_ns)
            case _:
                pass

    def message_out(self, at_ns: int, text: bytes) -> None:
        """Keep what we say."""
        self._writer.put(self._recording, self._recording.say, at_ns, text)

    def ended(self, at_ns: int, session: Session) -> None:  # noqa: ARG002 - nothing of it is heard
        """Keep what is left."""
        self._writer.put(self._recording, self._recording.end, at_ns)


class _Recording:
    """One call's. Only the writer's thread calls it. Each step has a time, and raises OSError if the disk refuses."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._began = datetime.now(UTC)
        self._sids: tuple[str | None, ...] = (None,)  # under which the stream's audio may come
        self._numbers: tuple[str | None, ...] = ()
        self._stereo: Stereo | None = None  # once the stream has started
        self._is_muted = False
        self._file: WavFile | None = None
        self.is_over = False
        self.is_cut = False

    def hear(self, now: float, text: bytes) -> None:
        """Take a message of the platform."""
        try:
            event = parse_incoming_event(text)
        except ProtocolError:
            return
        if self._stereo is None:
            if isinstance(event, StartEvent) and event.sid is not None:
                self._sids = event.sids
                self._numbers = (event.from_number, event.to_number)
                self._stereo = Stereo(now)
            return
        match event:
            case MediaEvent(media=media) if media.payload and event.stream_sid in self._sids:
                self._keep(self._stereo.take(now))
                self._stereo.hear(media.payload, now, media.timestamp)
            case StopEvent():
                self.end(now)
            case _:
                pass

    def say(self, now: float, text: bytes) -> None:
        """Take a message of ours."""
        if self._stereo is None:
            return
        try:
            event = _spoken.decode(text)
        except msgspec.ValidationError:  # of another kind
            return
        self._keep(self._stereo.take(now))
        if isinstance(event, outgoing.MediaEvent):
            self._stereo.say(event.media.payload, now)
        else:
            self._stereo.clear(now)

    def mute(self, now: float, _: object) -> None:
        """Keep both voices silent from now on."""
        if self._stereo is not None:
            self._stereo.mute(now)

    def unmute(self, now: float, _: object) -> None:
        """Let both voices be heard."""
        if self._stereo is not None:
            self._stereo.unmute(now)

    def end(self, now: float, _: object = None) -> None:
        """Write the rest."""
        if self._stereo is not None:
            self._keep(self._stereo.take(now))
            self._keep(self._stereo.finish(now))
        self.is_over = True
        self._close()

    def give_up(self) -> None:
        """Take nothing more: the disk refused."""
        self.is_over = True
        self._stereo = None
        with contextlib.suppress(OSError):
            self._close()

    def _keep(self, blocks: Iterable[bytes]) -> None:
        for pcm in blocks:
            if self._file is None:
                safe = re.sub(r"[^A-Za-z0-9._-]", "_", self._sids[0] or "unnamed")[:64]
                name = f"{self._began:%Y%m%dT%H%M%S}-{safe}-{os.urandom(2).hex()}.wav"
                self._file = WavFile(self._directory / name, self._numbers)
            self._file.append(pcm)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
