"""Shows simulated calls while they run: one live line on a terminal, a line for each thing that happens elsewhere.

Each class here is an observer for `place_call`. The clock is the calls' own; nothing here waits or reads one.
"""

import math
import shutil
from typing import assert_never

import click

from smartflo_bridge.simulator.loudness import SPEECH_LEVEL, level
from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    Cleared,
    EndAsked,
    FirstAudio,
    KeyPressed,
    MarkEchoed,
    MarkPlaced,
    Progress,
)
from smartflo_bridge.simulator.rules import Rule, Violation
from smartflo_bridge.simulator.telling import event_line

REDRAW_SECONDS = 0.2
"""Between two states of the live line: the eye follows, a slow terminal keeps up."""

SILENT_SECONDS = 0.5
"""So long a silence ends speech: more than the pause between two words, less than between two turns."""

_BAR_WIDTH = 6
_BAR_FLOOR_DB = 50
_FULL_SCALE = 32768
_ERASE_TO_END = "\x1b[K"


class LiveLine:
    """One line of a terminal, rewritten in place at most every `REDRAW_SECONDS`."""

    def __init__(self) -> None:
        self._shown_at: float | None = None

    def is_due(self, now: float) -> bool:
        """True if the line may be rewritten."""
        return self._shown_at is None or now - self._shown_at >= REDRAW_SECONDS

    def show(self, text: str, now: float) -> None:
        """Replace the line."""
        self._shown_at = now
        columns = shutil.get_terminal_size().columns
        click.echo(f"\r{text[: columns - 1]}{_ERASE_TO_END}", nl=False)

    def leave(self) -> None:
        """Let the line stand and go to the next."""
        if self._shown_at is not None:
            self._shown_at = None
            click.echo()


class CallLine:
    """One call as one live line: time, how loud both sides are, keys, marks, clears."""

    def __init__(self) -> None:
        self._line = LiveLine()
        self._keys = ""
        self._marks_placed = 0
        self._marks_echoed = 0
        self._clears = 0
        self._violations = 0

    def __call__(self, progress: Progress) -> None:
        """Take one thing that happened."""
        match progress:
            case AudioPassed():
                if self._line.is_due(progress.at_seconds):
                    self._line.show(self._text(progress), progress.at_seconds)
            case KeyPressed():
                self._keys += progress.digit
            case MarkPlaced():
                self._marks_placed += 1
            case MarkEchoed():
                self._marks_echoed += 1
            case Cleared():
                self._clears += 1
            case Violation():
                self._violations += 1
            case CallOver():
                self._line.leave()
            case Answered() | FirstAudio() | EndAsked():
                pass
            case _:
                assert_never(progress)

    def _text(self, audio: AudioPassed) -> str:
        broken = f"  broken {self._violations}" if self._violations else ""
        return (
            f"{audio.at_seconds:5.1f} s  caller {_bar(audio.spoken)} bridge {_bar(audio.heard)}"
            f"  marks {self._marks_echoed}/{self._marks_placed}  clears {self._clears}{broken}  keys {self._keys or '-'}"
        )


class CallEvents:
    """One call as lines of text, one for each thing that happens; of each broken rule the first time."""

    def __init__(self) -> None:
        self._talkers = {"caller": _Talker(), "bridge": _Talker()}
        self._broken: set[Rule] = set()

    def __call__(self, progress: Progress) -> None:
        """Take one thing that happened."""
        match progress:
            case AudioPassed():
                self._listen(progress)
            case Violation(rule=rule) if rule in self._broken:
                pass
            case _:
                if isinstance(progress, Violation):
                    self._broken.add(progress.rule)
                click.echo(event_line(progress))

    def _listen(self, audio: AudioPassed) -> None:
        for name, ulaw in (("caller", audio.spoken), ("bridge", audio.heard)):
            changed = self._talkers[name].listen(ulaw, audio.at_seconds)
            if changed:
                click.echo(f"{audio.at_seconds:6.1f} s  {name} {changed}")


class _Talker:
    """Tells when one side begins to speak and when it falls silent."""

    def __init__(self) -> None:
        self._loud_at: float | None = None

    def listen(self, ulaw: bytes, now: float) -> str | None:
        was_speaking = self._loud_at is not None
        if level(ulaw) >= SPEECH_LEVEL:
            self._loud_at = now
            return None if was_speaking else "speaks"
        if self._loud_at is not None and now - self._loud_at >= SILENT_SECONDS:
            self._loud_at = None
            return "is silent"
        return None


def _bar(ulaw: bytes) -> str:
    loudness_db = 20 * math.log10(max(level(ulaw), 1) / _FULL_SCALE)
    filled = round(_BAR_WIDTH * max(0.0, 1 + loudness_db / _BAR_FLOOR_DB))
    return f"[{'#' * filled:<{_BAR_WIDTH}}]"
