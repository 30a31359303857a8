"""Two voices on one axis, by numbers for time."""

import itertools

import numpy as np
import pytest

from smartflo_bridge.captures.stereo import Stereo
from smartflo_bridge.core.audio import SILENCE, pcm_to_ulaw, ulaw_to_pcm

CALLER, OURS, QUIET = b"\x10", b"\x90", SILENCE


class Listener:
    """Hears what is handed out, after each step, as mu-law again."""

    def __init__(self, stereo: Stereo) -> None:
        self.stereo = stereo
        self.caller = bytearray()
        self.ours = bytearray()

    def take(self, now: float) -> None:
        """Take what is settled."""
        for pcm in self.stereo.take(now):
            self._keep(pcm)

    def finish(self, now: float) -> None:
        """Take the rest."""
        self.take(now)
        for pcm in self.stereo.finish(now):
            self._keep(pcm)

    def _keep(self, pcm: bytes) -> None:
        both = pcm_to_ulaw(pcm)
        self.caller += both[::2]
        self.ours += both[1::2]


def runs(voice: bytes) -> list[tuple[bytes, int]]:
    """Return what a voice is made of: bytes, and how many."""
    return [(bytes([byte]), len(list(group))) for byte, group in itertools.groupby(voice)]


def hear(listener: Listener, first: int, last: int, voice: bytes = CALLER) -> None:
    """Have 100 ms chunks of the caller come on time, by their numbers."""
    for number in range(first, last):
        now = (number + 1) / 10
        listener.take(now)
        listener.stereo.hear(voice * 800, now, (number + 1) * 100)


def test_each_voice_is_where_it_was_heard() -> None:
    """Ours begins when it is sent, and what follows at once plays behind it."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 10)
    listener.stereo.say(OURS * 160, 1.05)
    listener.stereo.say(OURS * 800, 1.05)
    hear(listener, 10, 20)
    listener.stereo.say(OURS * 160, 1.95)
    hear(listener, 20, 30)
    listener.finish(3.0)
    assert runs(listener.caller) == [(CALLER, 24_000)]
    assert runs(listener.ours) == [(QUIET, 8400), (OURS, 960), (QUIET, 6240), (OURS, 160), (QUIET, 8240)]


def test_what_a_clear_takes_back_was_never_heard() -> None:
    """Up to the clear it was."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 5)
    listener.stereo.say(OURS * 1600, 0.5)
    listener.stereo.clear(0.55)
    listener.stereo.say(OURS * 160, 0.6)
    hear(listener, 5, 10)
    listener.finish(1.0)
    assert runs(listener.ours) == [(QUIET, 4000), (OURS, 400), (QUIET, 400), (OURS, 160), (QUIET, 3040)]


def test_what_still_plays_when_the_call_ends_is_not_heard() -> None:
    """The caller has hung up; the rest of it plays to nobody."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 5)
    listener.stereo.say(OURS * 1600, 0.5)
    listener.finish(0.6)
    assert runs(listener.ours) == [(QUIET, 4000), (OURS, 800)]


def test_a_gap_of_the_platform_is_silence() -> None:
    """The caller's later words stay beside ours."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 5)
    hear(listener, 25, 30)
    listener.stereo.say(OURS * 160, 3.0)
    hear(listener, 30, 32)
    listener.finish(3.2)
    assert runs(listener.caller) == [(CALLER, 4000), (QUIET, 16_000), (CALLER, 5600)]
    assert runs(listener.ours)[:2] == [(QUIET, 24_000), (OURS, 160)]


def test_audio_that_was_held_up_is_where_it_was_spoken() -> None:
    """A stall of 3 s, then all of it at once; meanwhile we spoke."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 10)
    listener.stereo.say(OURS * 160, 2.0)
    for number in range(10, 40):
        listener.take(4.0)
        listener.stereo.hear(CALLER * 800, 4.0, (number + 1) * 100)
    listener.finish(4.0)
    assert runs(listener.caller) == [(CALLER, 32_000)]
    assert runs(listener.ours)[:2] == [(QUIET, 16_000), (OURS, 160)]


def test_memory_is_bounded_when_the_caller_stays_away() -> None:
    """We speak for a minute to a caller of whom nothing comes; what comes of that minute afterwards is too late."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 10)
    for number in range(600):
        listener.stereo.say(OURS * 800, 1 + number / 10)
        listener.take(1 + number / 10)
        assert len(listener.stereo._ours) < 11 * 8000
    for number in range(10, 610):
        listener.stereo.hear(CALLER * 800, 61.0, (number + 1) * 100)
    listener.finish(61.0)
    assert [voice for voice, _ in runs(listener.caller)] == [CALLER, QUIET, CALLER]
    assert len(listener.caller) == 61 * 8000
    assert runs(listener.ours) == [(QUIET, 8000), (OURS, 480_000)]


def test_nothing_said_or_sent_while_muted_is_kept() -> None:
    """Not the chunk that was being spoken when it began, nor what we sent then and the caller heard later."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 10)
    listener.stereo.say(OURS * 1600, 1.0)
    listener.stereo.mute(1.1)
    hear(listener, 10, 20)
    listener.stereo.say(OURS * 1600, 1.95)
    listener.stereo.unmute(2.05)
    hear(listener, 20, 30)
    listener.stereo.say(OURS * 160, 2.5)
    listener.finish(3.0)
    assert runs(listener.caller) == [(CALLER, 8000), (QUIET, 8400), (CALLER, 7600)]
    assert runs(listener.ours) == [(QUIET, 8000), (OURS, 800), (QUIET, 11_200), (OURS, 160), (QUIET, 3840)]


def test_a_delayed_chunk_spoken_while_muted_is_not_kept() -> None:
    """It comes after the unmuting, but its place says when it was spoken."""
    listener = Listener(Stereo(0.0))
    hear(listener, 0, 10)
    listener.stereo.mute(1.0)
    hear(listener, 10, 15)
    listener.stereo.unmute(2.0)
    for number in range(15, 25):
        listener.stereo.hear(CALLER * 800, 2.5, (number + 1) * 100)
    listener.finish(2.5)
    assert runs(listener.caller) == [(CALLER, 8000), (QUIET, 8000), (CALLER, 4000)]


@pytest.mark.parametrize("ppm", [-50, 50])
def test_two_hours_drift_less_than_a_frame(ppm: int) -> None:
    """The platform's crystal is off by what bad ones are; we answer every 10 s at once, with jitter on what we hear."""
    stereo = Stereo(0.0)
    jitter = np.random.default_rng(1).exponential(0.005, 72_000)
    marker = b"\x00" * 160
    apart, tail, position = [], b"", 0
    for number in range(72_000):
        now = (number + 1) * 0.1 * (1 + ppm / 1e6)
        is_marked = number % 100 == 50
        arrives = now + float(jitter[number])
        for pcm in stereo.take(arrives):
            tail += pcm_to_ulaw(pcm)
        stereo.hear((SILENCE * 640 + marker) if is_marked else SILENCE * 800, arrives, (number + 1) * 100)
        if is_marked:
            stereo.say(marker, now)
        if number % 100 == 99:
            apart.append(tail[1::2].index(marker) - tail[::2].index(marker) - 160)
            position += len(tail)
            tail = b""
    assert len(apart) == 720
    assert max(map(abs, apart)) < 160
    assert position > 2 * 7190 * 8000


def test_a_block_is_two_channels_of_pcm() -> None:
    """Caller left, us right, sample by sample."""
    stereo = Stereo(0.0)
    stereo.hear(CALLER * 4000, 0.5, None)
    stereo.say(OURS * 160, 0.5)
    stereo.hear(CALLER * 4000, 1.0, None)
    pcm = b"".join(stereo.take(1.0))
    assert len(pcm) == 4 * 8000
    assert pcm[16_000:16_004] == ulaw_to_pcm(CALLER + OURS)
