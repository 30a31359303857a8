"""`Call.digits`: how an entry ends, when its clock starts, and what a key does to the speech that is playing."""

import asyncio

import pytest

from calls.support import Dialled, speech, until
from smartflo_bridge.core.errors import CallEnded
from virtual_clock import virtual


def entry(speaks=0.0, **how):
    """Return a handler that collects digits once, after `speaks` seconds of speech, and the list of what it got."""
    got = []

    async def collect(call):
        if speaks:
            await call.play(speech(speaks), encoding="ulaw")
        got.append((await call.digits(**how), round(dialled_at(), 2)))

    loop = asyncio.get_running_loop()
    began = loop.time()

    def dialled_at():
        return loop.time() - began

    return collect, got


@virtual
async def test_so_many_keys_are_an_entry():
    """It ends with the last key, without waiting for more."""
    collect, got = entry(count=4)
    dialled = Dialled(collect)
    for digit in "12*0":
        await asyncio.sleep(1)
        dialled.platform.press(digit)
    await dialled.over()
    assert got == [("12*0", 4.0)]


@pytest.mark.parametrize(
    ("count", "terminator", "pressed", "entered"),
    [(10, "#", "42#", "42"), (10, "*", "4#*", "4#"), (2, "", "#*", "#*")],
)
@virtual
async def test_the_terminator_ends_it_and_is_no_part_of_it(count, terminator, pressed, entered):
    """A caller who is done presses it. Any key can be it, and `#` is then a key like others; without one, every key counts."""
    collect, got = entry(count=count, terminator=terminator)
    dialled = Dialled(collect)
    dialled.platform.press(*pressed)
    await dialled.over()
    assert got == [(entered, 0.0)]


@virtual
async def test_a_silent_caller_presses_nothing():
    """After the time-out the entry is empty."""
    collect, got = entry(count=1, timeout_seconds=5.0)
    dialled = Dialled(collect)
    await dialled.over()
    assert got == [("", 5.0)]


@virtual
async def test_each_key_restarts_the_clock():
    """The time-out is between keys; what was pressed before it is the entry."""
    collect, got = entry(count=9, timeout_seconds=2.0)
    dialled = Dialled(collect)
    for digit in "123":
        await asyncio.sleep(1.5)
        dialled.platform.press(digit)
    await dialled.over()
    assert got == [("123", 6.5)]


@virtual
async def test_the_clock_starts_when_the_question_has_been_heard():
    """A prompt of eight seconds with a time-out of three leaves the caller three seconds to think."""
    collect, got = entry(speaks=8.0, count=1, timeout_seconds=3.0)
    dialled = Dialled(collect)
    await dialled.over()
    assert got == [("", 11.0)]
    assert dialled.platform.heard(0, 8.0) == speech(8.0)


@virtual
async def test_the_clock_starts_though_the_platform_echoes_nothing():
    """A mark that times out counts as heard: a call never hangs on an echo."""
    collect, got = entry(speaks=2.0, count=1, timeout_seconds=3.0)
    dialled = Dialled(collect, echoes_marks=False)
    await dialled.over()
    assert got == [("", 7.0)]


@virtual
async def test_a_key_stops_the_question():
    """Barge-in: the speech is cleared with the first key, and the clock for the next starts then."""
    collect, got = entry(speaks=8.0, count=2, timeout_seconds=3.0)
    dialled = Dialled(collect)
    await asyncio.sleep(2)
    dialled.platform.press("5")
    await dialled.over()
    assert got == [("5", 5.0)]
    assert dialled.peer.transcript.count("clear") == 1
    assert dialled.platform.heard(0, 3.0) == speech(8.0)[:16_000] + b"\xff" * 8000


@virtual
async def test_a_key_need_not_stop_the_question():
    """Without barge-in it is heard to its end, and keys pressed meanwhile count."""
    collect, got = entry(speaks=4.0, count=2, timeout_seconds=3.0, barge_in=False)
    dialled = Dialled(collect)
    await asyncio.sleep(1)
    dialled.platform.press("5")
    await dialled.over()
    assert got == [("5", 7.0)]
    assert "clear" not in dialled.peer.transcript
    assert dialled.platform.heard(0, 4.0) == speech(4.0)


@virtual
async def test_a_key_after_the_question_stops_nothing():
    """There is nothing to clear any more."""
    collect, got = entry(speaks=1.0, count=1)
    dialled = Dialled(collect)
    await asyncio.sleep(2)
    dialled.platform.press("5")
    await dialled.over()
    assert got == [("5", 2.0)]
    assert "clear" not in dialled.peer.transcript


@pytest.mark.parametrize("echo_first", [True, False])
@virtual
async def test_a_key_and_the_end_of_the_question_at_the_same_moment(echo_first):
    """Whichever of the two comes first in one batch, the key is the entry and nothing goes wrong in the loop."""
    collect, got = entry(speaks=0.1, count=1)
    dialled = Dialled(collect, echoes_marks=False)
    await until(lambda: "mark m1" in dialled.peer.transcript)
    if echo_first:
        dialled.platform.echo("m1")
    dialled.platform.press("5")
    if not echo_first:
        dialled.platform.echo("m1")
    dialled.platform.echoes_marks = True
    await dialled.over()
    assert got == [("5", 0.0)]


@virtual
async def test_a_key_at_the_moment_of_the_time_out_is_not_lost():
    """It belongs to this entry or to the next."""
    got = []

    async def collect(call):
        got.append(await call.digits(1, 2.0))
        got.append(await call.digits(1, 2.0))

    dialled = Dialled(collect)
    await dialled.begun()
    asyncio.get_running_loop().call_at(
        asyncio.get_running_loop().time() + 2.0 - dialled.peer.seconds, dialled.platform.press, "5"
    )
    await dialled.over()
    assert sorted(got) == ["", "5"]


@virtual
async def test_keys_pressed_ahead_wait():
    """A caller who knows the menu is not made to wait: keys pressed before they are asked for count."""
    got = []

    async def collect(call):
        await asyncio.sleep(3)
        got.append(await call.digits(2, 5))
        got.append(await call.digits(1, 5))

    dialled = Dialled(collect)
    dialled.platform.press("1", "2", "3")
    await dialled.over()
    assert got == ["12", "3"]


@virtual
async def test_other_events_are_passed_over():
    """Audio and marks do not disturb an entry."""
    collect, got = entry(speaks=0.5, count=1, timeout_seconds=3.0)
    dialled = Dialled(collect)
    await dialled.platform.talk(speech(2.0, "caller"))
    dialled.platform.press("8")
    await dialled.over()
    assert got == [("8", 2.0)]


@pytest.mark.parametrize("speaks", [0.0, 5.0])
@virtual
async def test_the_call_ends_meanwhile(speaks):
    """An entry that nobody will finish raises CallEnded, at once."""
    said = []

    async def collect(call):
        await call.play(speech(speaks), encoding="ulaw")
        try:
            await call.digits(4, 5)
        except CallEnded as ended:
            said.append((str(ended), dialled.peer.seconds))
            raise

    dialled = Dialled(collect)
    await asyncio.sleep(1)
    dialled.platform.press("1")
    await dialled.hung_up_on()
    assert said == [("the call ended while digits were awaited", pytest.approx(1, abs=0.01))]


@virtual
async def test_an_entry_leaves_no_clock_behind():
    """After an entry its time-out cannot cancel what the handler does next."""

    async def collect(call):
        await call.digits(1, 1.0)
        await asyncio.sleep(10)
        assert (await call.digits(1, 1.0)) == ""
        await asyncio.sleep(10)

    dialled = Dialled(collect)
    dialled.platform.press("1")
    await dialled.over()
    assert dialled.peer.seconds == pytest.approx(21, abs=0.05)
