"""The media clock: where audio lies, and what time that is, by numbers for time."""

import random

import pytest

from smartflo_bridge.core.mediaclock import MediaClock


def test_chunks_lie_end_to_end() -> None:
    """A chunk's last sample was spoken when it came; the others before."""
    clock = MediaClock(5.0)
    assert [clock.place(800, 5.1 + n / 10) for n in range(3)] == [0, 800, 1600]
    assert clock.end == 2400
    assert clock.position_at(5.3) == 2400
    assert clock.seconds_at(800) == pytest.approx(5.1)


def test_before_any_audio_the_stream_started_at_position_0() -> None:
    """So what we say first has a place."""
    assert MediaClock(5.0).position_at(5.25) == 2000


def test_the_chunks_with_the_least_delay_set_the_clock() -> None:
    """Jitter delays; nothing can come before it was spoken."""
    jitter = random.Random(1)
    clock = MediaClock(0.0)
    for number in range(1, 1000):
        clock.place(160, number * 0.02 + jitter.expovariate(50))
    assert clock.end == 999 * 160
    assert clock.seconds_at(clock.end) == pytest.approx(19.98, abs=0.002)


def test_a_delay_moves_nothing() -> None:
    """A second's stall, and then all that was held up at once."""
    clock = MediaClock(0.0)
    for number in range(1, 51):
        spoken = number / 10
        clock.place(800, 3.0 if 2.0 < spoken < 3.0 else spoken, f"{number * 100}")
    assert clock.end == 40_000
    assert clock.seconds_at(clock.end) == pytest.approx(5.0)


@pytest.mark.parametrize("stamped", [True, False])
def test_a_gap_is_silence(stamped: bool) -> None:
    """Three seconds for which the platform sent nothing, with its word for it or without."""
    clock = MediaClock(0.0)
    clock.place(800, 0.1, "100" if stamped else None)
    assert clock.place(800, 3.2, "3200" if stamped else None) == 24_800
    assert clock.place(800, 3.3, "3300" if stamped else None) == 25_600
    assert clock.seconds_at(clock.end) == pytest.approx(3.3)


def test_a_short_gap_needs_a_timestamp() -> None:
    """200 ms may be a delay; only the platform can tell."""
    stamped, unstamped = MediaClock(0.0), MediaClock(0.0)
    stamped.place(800, 0.1, 100)
    unstamped.place(800, 0.1)
    assert stamped.place(800, 0.4, 400) == 2400
    assert unstamped.place(800, 0.4) == 800


@pytest.mark.parametrize("timestamp", ["x", "", "0", "99999", None])
def test_timestamps_are_not_trusted_beyond_what_arrives(timestamp: str | None) -> None:
    """A gap cannot be longer than the audio is late; one that makes no sense is no gap."""
    clock = MediaClock(0.0)
    clock.place(800, 0.1, 100)
    assert clock.place(800, 0.5, timestamp) == 800


def test_timestamps_that_stand_still_are_none() -> None:
    """Then a second without audio is a gap by the clock alone."""
    clock = MediaClock(0.0)
    clock.place(800, 0.1, 0)
    assert clock.place(800, 3.2, 0) == 24_800


def test_a_shorter_chunk_is_no_gap() -> None:
    """Timestamps may be those of the chunks' starts: this one is 100 ms behind that of a chunk of 100 ms."""
    clock = MediaClock(0.0)
    clock.place(800, 0.1, 0)
    assert clock.place(160, 0.25, 100) == 800


@pytest.mark.parametrize("timestamp", [None, "600"])
def test_late_first_audio_leaves_silence_before_it(timestamp: str | None) -> None:
    """The platform needed half a second to begin."""
    clock = MediaClock(1.0)
    assert clock.place(800, 1.6, timestamp) == 4000
    assert clock.seconds_at(4000) == pytest.approx(1.5)


@pytest.mark.parametrize("timestamp", [0, "100"])
def test_delayed_first_audio_is_where_its_timestamp_says(timestamp: str | int) -> None:
    """The platform began at once; the network did not. The next chunk is on time, and so sets the clock."""
    clock = MediaClock(1.0)
    assert clock.place(800, 1.3, timestamp) == 0
    assert clock.place(800, 1.3, timestamp) == 800
    assert clock.seconds_at(1600) == pytest.approx(1.3)


def test_a_burst_at_the_start_was_spoken_before_it() -> None:
    """Audio from before the connection: all of it is kept, and time runs on from its end."""
    clock = MediaClock(0.0)
    for _ in range(5):
        clock.place(800, 0.02)
    assert clock.end == 4000
    assert clock.position_at(0.02) == 4000


@pytest.mark.parametrize("ppm", [-100, 100])
def test_a_platforms_clock_that_runs_wrong_is_followed_for_hours(ppm: int) -> None:
    """Two hours of 100 ms chunks at twice the error of a bad crystal: never more than 5 ms between the clocks."""
    clock = MediaClock(0.0)
    worst = 0.0
    for number in range(1, 72_001):
        now = number * 0.1 * (1 + ppm / 1e6)
        assert clock.place(800, now, number * 100) == (number - 1) * 800
        worst = max(worst, abs(clock.seconds_at(number * 800) - now))
    assert worst < 0.005
