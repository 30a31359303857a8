"""The main job, on real input: recorded human speech calls the default handler, and all that it hears is accounted for.

Every byte that a caller hears is one of a prompt, of their own voice, or silence: so nothing is lost, repeated, padded
in the middle or clicks. The calls are placed at once, and the tests look at their reports.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from integration.daemon import DEFAULT_LEAD_SECONDS, Daemon, counts
from integration.machine import GapsError, again_if_starved
from integration.wire import plan, sid_of
from smartflo_bridge.handlers.ivr import time_prompts
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.mix import read_wav
from smartflo_bridge.simulator.plan import HangUp, Press, Speak
from smartflo_bridge.simulator.progress import Cleared, EndedBy, KeyPressed
from smartflo_bridge.simulator.report import CallReport

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
FIRST_AUDIO_SECONDS = 0.5
LEAD_MS = 1000 * DEFAULT_LEAD_SECONDS
SLACK_MS = 50  # what a busy machine may add
SILENT_SECONDS = 0.25
"""After a key, on the caller's own playout clock."""

pytestmark = pytest.mark.skipif(
    not SOUNDS.is_dir(), reason="no recorded speech: asterisk-core-sounds-en-wav is not installed"
)


def prompt(name: str) -> bytes:
    """Return the mu-law of a prompt that we ship."""
    return (resources.files("smartflo_bridge.handlers") / "prompts" / f"{name}.ulaw").read_bytes()


def voice(name: str) -> bytes:
    """Return recorded speech as mu-law, without the silence around it."""
    return read_wav(SOUNDS / f"{name}.wav").strip(b"\xff\x7f")


class Ear:
    """Goes through what a caller heard, from its beginning to its end."""

    def __init__(self, report: CallReport) -> None:
        self._heard = report.heard
        self._at = 0

    def silence(self) -> None:
        """Skip silence, up to the first other byte."""
        rest = self._heard[self._at :]
        self._at += len(rest) - len(rest.lstrip(b"\xff"))

    def hear(self, ulaw: bytes, end: int | None = None) -> None:
        """Expect audio to follow without a gap, up to its end or to where a clear cut it off."""
        expected = ulaw if end is None else ulaw[: end - self._at]
        heard = self._heard[self._at : self._at + len(expected)]
        assert heard == expected, f"other audio from {self._at / 8000:.3f} s on"
        self._at += len(expected)

    def begin(self, ulaw: bytes, end: int | None = None) -> None:
        """Expect silence of any length, and then audio."""
        self.silence()
        self._at -= len(ulaw) - len(ulaw.lstrip(b"\xff"))
        assert self._at >= 0
        self.hear(ulaw, end)

    def follows(self, ulaw: bytes) -> bool:
        """True if this audio is what comes next."""
        return self._heard[self._at : self._at + len(ulaw)] == ulaw

    def upto(self, ulaw: bytes) -> bytes:
        """Return all up to where this audio begins, and go there; its first half second is enough."""
        start, self._at = self._at, self._heard.index(ulaw[:4000], self._at)
        return self._heard[start : self._at]

    def over(self) -> None:
        """Expect nothing but silence to the end of the call."""
        self.silence()
        assert self._at == len(self._heard), f"more audio from {self._at / 8000:.3f} s on"


def cleared(report: CallReport, key: int) -> int:
    """Return the sample at which the n-th key's clear silenced the bridge, having checked that it did so soon enough."""
    pressed_at = [one.at_seconds for one in report.history if isinstance(one, KeyPressed)][key]
    cleared_at = min(
        one.at_seconds for one in report.history if isinstance(one, Cleared) and one.at_seconds >= pressed_at
    )
    assert cleared_at - pressed_at < SILENT_SECONDS
    return int(cleared_at * 8000 + 1e-3)


LISTENS = voice("demo-congrats")  # 30 s of speech
ECHOED = voice("agent-alreadyon")
RECORDED = voice("demo-thanks")

PLANS = {
    # Hears the greeting and the whole menu, while speaking all the time; then the time, half of the menu, and leaves.
    "patient": plan(Speak(0.0, LISTENS), Press(14.2, "1"), Press(18.6, "9"), HangUp(40.0)),
    # The other keys come while something is being said.
    "echo": plan(Press(1.0, "2"), Speak(5.3, ECHOED), Press(11.5, "#"), Press(12.5, "9"), HangUp(40.0)),
    "record": plan(Press(1.0, "3"), Speak(5.3, RECORDED), Press(11.4, "#"), Press(19.5, "9"), HangUp(40.0)),
    "hasty": plan(Press(2.0, "1"), Press(2.5, "5"), Press(3.5, "1"), HangUp(6.0)),
}

MARKS = {  # one behind each menu, which a key discards; and those behind the words before an echo and a recording
    "patient": {"played": 1, "discarded": 1},
    "echo": {"played": 1, "discarded": 2},
    "record": {"played": 1, "discarded": 2},
    "hasty": {"discarded": 4},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon as it comes."""
    with Daemon(tmp_path_factory.mktemp("daemon"), lead_seconds=DEFAULT_LEAD_SECONDS) as running:
        yield running


@pytest.fixture(scope="module")
def placed(daemon: Daemon) -> tuple[datetime, Mapping[str, CallReport]]:
    """Place all calls at once; say when that was, too, here where the daemon runs."""

    async def place_all() -> list[CallReport]:
        return await asyncio.gather(*(place_call(daemon.url, one) for one in PLANS.values()))

    @again_if_starved
    def place() -> tuple[datetime, Mapping[str, CallReport]]:
        began = datetime.now().astimezone()
        found = dict(zip(PLANS, asyncio.run(place_all()), strict=True))
        gaps = {name: report.gaps for name, report in found.items() if report.gaps}
        if gaps:
            raise GapsError(gaps)
        return began, found

    return place()


@pytest.fixture(scope="module")
def began(placed: tuple[datetime, Mapping[str, CallReport]]) -> datetime:
    """When the calls were placed."""
    return placed[0]


@pytest.fixture(scope="module")
def reports(placed: tuple[datetime, Mapping[str, CallReport]]) -> Mapping[str, CallReport]:
    """What became of the calls."""
    return placed[1]


@pytest.mark.parametrize("name", PLANS)
def test_every_call_sounds_well(reports: Mapping[str, CallReport], name: str) -> None:
    """Speech begins within half a second; no rule of the wire is broken, and prompts have no gap."""
    report = reports[name]
    assert report.first_audio_seconds is not None
    assert report.first_audio_seconds < FIRST_AUDIO_SECONDS
    assert report.faults == {}
    assert report.misaligned_payloads == 0
    assert report.gaps == ()
    assert report.counts.largest_lead_ms < LEAD_MS + SLACK_MS
    assert report.pending_marks == () or report.ended_by == EndedBy.CALLER


def test_the_greeting_the_menu_and_the_time(reports: Mapping[str, CallReport], began: datetime) -> None:
    """A caller who waits hears every byte of the prompts, and key 1 tells the time; key 9 says goodbye and hangs up."""
    report = reports["patient"]
    ear = Ear(report)
    ear.begin(prompt("greeting"))
    ear.hear(prompt("menu"))
    ear.begin(prompt("time"))
    minutes = [time_prompts(began + timedelta(minutes=ahead)) for ahead in (0, 1)]  # another may have begun
    said = [names for names in minutes if ear.follows(b"".join(map(prompt, names)))]
    assert said, f"the time was not told as any of {minutes}"
    for name in said[0]:
        ear.hear(prompt(name))
    ear.hear(prompt("menu"), cleared(report, 1))
    ear.begin(prompt("goodbye"))
    ear.over()
    assert (report.ended_by, report.close_code) == (EndedBy.BRIDGE, 1000)
    assert report.pending_marks == ()


def test_the_echo(reports: Mapping[str, CallReport]) -> None:
    """Key 2 lets callers hear their own voice, byte for byte, until a key ends it at once."""
    report = reports["echo"]
    ear = Ear(report)
    ear.begin(prompt("greeting"), cleared(report, 0))
    ear.begin(prompt("echo"))
    echoed = ear.upto(prompt("menu"))
    assert echoed.strip(b"\xff") == ECHOED
    ear.hear(prompt("menu"), cleared(report, 2))
    ear.begin(prompt("goodbye"))
    ear.over()
    assert (report.ended_by, report.close_code) == (EndedBy.BRIDGE, 1000)


def test_the_recording(reports: Mapping[str, CallReport]) -> None:
    """Key 3 records after the tone until a key, and plays the recording back: every byte, without a gap."""
    report = reports["record"]
    ear = Ear(report)
    ear.begin(prompt("greeting"), cleared(report, 0))
    ear.begin(prompt("record"))
    ear.hear(prompt("tone"))
    ear.begin(prompt("playback"))
    recording = ear.upto(prompt("menu"))
    assert RECORDED in recording
    assert recording in report.spoken
    ear.hear(prompt("menu"), cleared(report, 2))
    ear.begin(prompt("goodbye"))
    ear.over()
    assert (report.ended_by, report.close_code) == (EndedBy.BRIDGE, 1000)


def test_keys_interrupt(reports: Mapping[str, CallReport], began: datetime) -> None:
    """Each key silences what is being said within 250 ms, and the next prompt begins with its first byte."""
    report = reports["hasty"]
    ear = Ear(report)
    ear.begin(prompt("greeting"), cleared(report, 0))
    ear.begin(prompt("time"), cleared(report, 1))
    ear.begin(prompt("invalid"), cleared(report, 2))
    ear.begin(prompt("time"))
    assert (report.ended_by, report.close_code) == (EndedBy.CALLER, 1000)


def test_the_daemon_says_the_same_of_these_calls(daemon: Daemon, reports: Mapping[str, CallReport]) -> None:
    """Its end lines agree with what the platform saw: frames, marks, how it ended; no late audio, nothing dropped."""
    for name, report in reports.items():
        end = daemon.end_of(sid_of(report))
        assert end["termination"] == ("hung_up" if report.ended_by == EndedBy.BRIDGE else "completed")
        assert int(end["frames_out"]) == report.counts.payload_bytes // 160
        # Chunks of 100 ms; what came while the bridge closed may be counted or not.
        assert abs(int(end["frames_in"]) - report.duration_seconds * 50) <= 10
        assert "gaps" not in end
        if name == "hasty":
            assert "dropped_in" not in end
        assert counts(end["marks"]) == MARKS[name]
