"""The soak's judgement of the whole: leaks are found through the noise of a load, and a quiet daemon is not accused."""

from random import Random

import pytest
from soaking.samples import Sample
from soaking.trends import Stall, slope_per_hour, starved, state_faults, trend

HOUR = 3600.0
NOON = 1_700_000_000.0
"""On the wall clock, when the samples begin."""


def samples(
    kib_per_hour: float = 0.0,
    *,
    files_per_hour: float = 0.0,
    seconds: float = HOUR,
    noise_kib: float = 300.0,
    per_hour: float = 7200.0,
) -> list[Sample]:
    """Return those of a daemon with some 100 calls, two files each, that grows to 60 MiB in ten minutes, and so on after."""
    chance = Random(7)
    found = []
    for number in range(1, int(seconds / 5) + 1):
        at = number * 5.0
        connections = 100 + chance.randrange(-10, 11)
        grown = 60 * 1024 * min(1.0, at / 600) + kib_per_hour * max(0.0, at - 600) / HOUR
        found.append(
            Sample(
                daemon="bridged",
                seconds=at,
                at=NOON + at,
                waited_seconds=at * 0.15,
                generator_waited_seconds=at * 0.1,
                private_kib=round(grown + chance.uniform(-noise_kib, noise_kib)),
                files=15 + 2 * connections + round(files_per_hour * at / HOUR),
                threads=3,
                cpu_seconds=at / 3,
                generator_cpu_seconds=at / 5,
                tcp_drops=0,
                vitals={"connections": float(connections), "calls_served": at / HOUR * per_hour},
            )
        )
    return found


def faults(found: list[Sample]) -> list[str]:
    """Return what the trend of samples is accused of; they must be enough for one."""
    over_time = trend(found, 2.0)
    assert over_time is not None
    return over_time.faults()


def test_a_slope_is_that_of_the_line():
    """Exact for points on a line, 0 for one point and for a level."""
    assert slope_per_hour([(at, 10 + at / 360) for at in range(0, 3600, 5)]) == pytest.approx(10)
    assert slope_per_hour([(5.0, 7.0)]) == 0
    assert slope_per_hour([(0.0, 7.0), (5.0, 7.0), (10.0, 7.0)]) == 0


def test_a_quiet_daemon():
    """Growth in the first ten minutes and the noise of calls are no leak."""
    assert faults(samples()) == []
    assert faults(samples(100.0)) == []


def test_a_leak_of_two_mib_an_hour():
    """It is found, and its size is told to a tenth."""
    found = trend(samples(2048.0), 2.0)
    assert found is not None
    assert found.kib_per_hour == pytest.approx(2048, rel=0.1)
    assert found.faults() == [
        f"bridged: memory grows by {found.kib_per_hour:.0f} KiB an hour",
        f"bridged: memory grows by {found.kib_per_1000_calls:.0f} KiB for 1,000 calls",
    ]


def test_a_leak_by_calls():
    """Below the limit an hour, and too much for so few calls: goal G3."""
    assert len(faults(samples(800.0, per_hour=8000.0))) == 1
    assert faults(samples(800.0, per_hour=40_000.0)) == []


def test_a_leak_of_files():
    """Three an hour are found, although each call brings and takes two; so are files that vanish."""
    for files_per_hour in (3.0, -3.0):
        found = trend(samples(files_per_hour=files_per_hour), 2.0)
        assert found is not None
        assert found.files_per_hour == pytest.approx(files_per_hour, abs=0.3)
        assert found.faults() == [f"bridged: {found.files_per_hour:+.1f} open files an hour"]


def test_too_short_for_a_slope():
    """Below half an hour nothing is said; from then on it is."""
    assert trend(samples(9999.0, seconds=1780.0), 2.0) is None
    assert trend(samples(9999.0, seconds=1795.0), 2.0) is not None
    assert trend([], 2.0) is None


def with_a_step(at: float, kib: int) -> list[Sample]:
    """Return samples whose memory goes up at once and stays there, as that of a daemon does which had to wait for its core."""
    found = samples()
    for one in found:
        one.private_kib += kib * (one.seconds >= at)
    return found


def test_a_disturbance_is_no_leak():
    """What memory it cost is left out with it; without it, the same samples are a leak."""
    found = with_a_step(1000.0, 20_000)
    assert len(faults(found)) == 2
    calm = trend(found, 2.0, [Stall(NOON + 950, 60.0)])
    assert calm is not None
    assert calm.seconds == HOUR - 1075  # a minute after it, to the next sample
    assert calm.faults() == []


def test_a_leak_beside_a_disturbance():
    """It is found in the time that was not disturbed."""
    calm = trend(samples(2048.0), 2.0, [Stall(NOON + 950, 60.0)])
    assert calm is not None
    assert calm.kib_per_hour == pytest.approx(2048, rel=0.1)


def test_too_much_disturbed():
    """Where no undisturbed time is long enough, there is no slope."""
    assert trend(samples(), 2.0, [Stall(NOON + at, 5.0) for at in (1000.0, 2000.0, 3000.0)]) is None


@pytest.mark.parametrize("name", ["waited_seconds", "generator_waited_seconds"])
def test_others_have_a_core(name):
    """A daemon or the generator that waits for more than a third of the time says nothing; sharing a core is no such wait."""
    found = samples(seconds=60.0)
    assert starved(found) == []
    for one in found[6:]:
        setattr(one, name, getattr(one, name) + 1.8)
    assert starved(found) == [Stall(NOON + 30.0, 5.0)]


def test_the_end_is_as_the_start():
    """Whatever a call brings must be gone; objects may still wait for the collector."""
    start = {"calls": 0.0, "connections": 0.0, "tasks": 2.0, "threads": 3.0, "files": 15.0, "objects": 30_000.0}
    assert state_faults("echo", start, start | {"objects": 40_000.0}) == []
    for name in ("calls", "connections", "tasks", "threads", "files"):
        assert state_faults("echo", start, start | {name: start[name] + 1}) == [
            f"echo: {name} were {start[name]:g} at the start and are {start[name] + 1:g} at the end"
        ]


@pytest.mark.parametrize(
    ("began", "ended", "meets"), [(0, 9, False), (0, 10, True), (11, 12, True), (13, 20, True), (14, 20, False)]
)
def test_which_calls_a_stall_meets(began, ended, meets):
    """Those that were there for any part of it."""
    assert Stall(10.0, 3.5).meets(began, ended) is meets
