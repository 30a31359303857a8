"""The built-in menu, driven as a call: what the caller hears after which key, and how a silent caller is parted from."""

import asyncio
from datetime import UTC, datetime

import pytest

from calls.support import Dialled, speech, until
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers import ivr as ivr_module
from smartflo_bridge.handlers.ivr import KEY_TIMEOUT_SECONDS, MAX_RECORDING_SECONDS, MENU, ivr, prompt, time_prompts
from virtual_clock import virtual

HALF_PAST_TWO = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)


def seconds(*names):
    """Return how long prompts take, one behind the other."""
    return sum(len(prompt(name)) for name in names) / 8000


def names_in(heard):
    """Return the prompts that were heard whole, in order, each found behind the one before."""
    names, at = [], 0
    known = {name: prompt(name) for name in ALL}
    while True:
        found = [(place, name) for name, ulaw in known.items() if (place := heard.find(ulaw, at)) >= 0]
        if not found:
            return names
        place, name = min(found)
        names.append(name)
        at = place + len(known[name])


ALL = ("greeting", "menu", "time", "echo", "record", "tone", "playback", "nothing", "invalid", "still-there", "goodbye")


async def heard(dialled, name):
    """Wait until the caller has heard a prompt to its end, at whatever time."""
    await until(lambda: dialled.platform.heard().find(prompt(name)) >= 0, 30.0, 0.02)


async def pressed(key, after_seconds=0.5):
    """Return a call whose caller has just pressed a key, in the middle of the greeting."""
    dialled = Dialled(ivr)
    await asyncio.sleep(after_seconds)
    dialled.platform.press(key)
    return dialled


async def recording():
    """Return a call whose caller has heard the tone, and may speak."""
    dialled = await pressed("3")
    await heard(dialled, "tone")
    await asyncio.sleep(0.05)
    return dialled


@virtual
async def test_it_greets_and_offers_the_menu():
    """The caller hears the greeting and the whole menu without a gap."""
    dialled = Dialled(ivr)
    await asyncio.sleep(seconds("greeting", "menu"))
    assert dialled.platform.heard() == prompt("greeting") + prompt("menu")
    assert dialled.platform.line.gaps == []
    await dialled.hung_up_on()


@virtual
async def test_a_key_stops_the_speech_at_once():
    """What is said when the key is pressed is heard no more, and the answer follows immediately."""
    dialled = await pressed("5", 1.0)
    await asyncio.sleep(seconds("invalid"))
    assert dialled.platform.heard(0, 1.0) == prompt("greeting")[:8000]
    assert dialled.platform.heard(1.0, 1.0 + seconds("invalid")) == prompt("invalid")
    assert dialled.peer.transcript.count("clear") == 1
    await dialled.hung_up_on()


@virtual
async def test_key_1_tells_the_time(monkeypatch):
    """In words, by the clock of the machine that it runs on, and then offers the menu again."""

    class Fixed(datetime):
        @classmethod
        def now(cls, tz=None):
            return HALF_PAST_TWO

        def astimezone(self, tz=None):
            return self

    monkeypatch.setattr(ivr_module, "datetime", Fixed)
    monkeypatch.setattr(Fixed, "now", classmethod(lambda cls, tz=None: Fixed(2026, 1, 5, 14, 30, tzinfo=UTC)))
    dialled = await pressed("1", 1.0)
    said = [prompt(name) for name in ("time", "number-2", "number-30", "p-m", "menu")]
    await asyncio.sleep(sum(map(len, said)) / 8000)
    assert dialled.platform.heard(1.0) == b"".join(said)
    await dialled.hung_up_on()


@pytest.mark.parametrize(
    ("hour", "minute", "words"),
    [
        (0, 0, "12 o-clock a-m"),
        (0, 5, "12 oh 5 a-m"),
        (9, 59, "9 59 a-m"),
        (11, 10, "11 10 a-m"),
        (12, 0, "12 o-clock p-m"),
        (12, 1, "12 oh 1 p-m"),
        (15, 9, "3 oh 9 p-m"),
        (23, 11, "11 11 p-m"),
    ],
)
def test_the_words_of_a_time(hour, minute, words):
    """As one says it: `three oh five p.m.`."""
    said = time_prompts(datetime(2026, 1, 5, hour, minute, tzinfo=UTC))
    assert " ".join(name.removeprefix("number-") for name in said) == words


def test_every_time_can_be_said():
    """There is a prompt for each word of each minute of the day, in whole frames."""
    names = {
        name
        for hour in range(24)
        for minute in range(60)
        for name in time_prompts(datetime(2026, 1, 5, hour, minute, tzinfo=UTC))
    }
    for name in {*names, *ALL, "apology"}:
        assert len(prompt(name)) > 0, name
        assert len(prompt(name)) % 160 == 0, name


@virtual
async def test_key_2_echoes_until_a_key():
    """After the announcement the caller hears themselves; the next key stops it and leads back to the menu."""
    dialled = await pressed("2")
    await heard(dialled, "echo")
    caller = speech(3.0, "caller")
    began = dialled.platform.seconds
    await dialled.platform.talk(caller)
    await asyncio.sleep(0.3)
    back = dialled.platform.heard(began)
    assert back.strip(b"\xff") == caller
    dialled.platform.press("1")
    at = dialled.platform.seconds
    await asyncio.sleep(seconds("menu"))
    assert dialled.platform.heard(at) == prompt("menu")
    await dialled.hung_up_on()


@virtual
async def test_the_echo_s_announcement_is_not_echoed_into():
    """What the caller says while they are told what will happen is not played back."""
    dialled = await pressed("2")
    await dialled.platform.talk(speech(1.0, "early"))
    await heard(dialled, "echo")
    assert speech(1.0, "early")[:800] not in dialled.peer.audio
    await dialled.hung_up_on()


@virtual
async def test_key_3_plays_back_what_it_recorded():
    """Byte for byte what the caller said between the tone and the key."""
    dialled = await recording()
    caller = speech(4.0, "caller")
    await dialled.platform.talk(caller)
    dialled.platform.press("#")
    at = dialled.platform.seconds
    await asyncio.sleep(seconds("playback") + 4.0 + seconds("menu"))
    assert dialled.platform.heard(at) == prompt("playback") + caller + prompt("menu")
    await dialled.hung_up_on()


@virtual
async def test_a_recording_has_an_end():
    """Who talks on is played back after half a minute."""
    dialled = await recording()
    caller = speech(MAX_RECORDING_SECONDS + 5.0, "caller")
    await dialled.platform.talk(caller)
    await asyncio.sleep(MAX_RECORDING_SECONDS)
    assert prompt("playback") + caller[: MAX_RECORDING_SECONDS * 8000] in dialled.platform.heard()
    await dialled.hung_up_on()


@virtual
async def test_a_key_during_the_announcement_records_nothing():
    """It stops the announcement, and the caller is told that there is nothing to hear."""
    dialled = await pressed("3")
    await asyncio.sleep(1.0)
    dialled.platform.press("#")
    at = dialled.platform.seconds
    await asyncio.sleep(seconds("nothing", "menu"))
    assert dialled.platform.heard(at) == prompt("nothing") + prompt("menu")
    await dialled.hung_up_on()


@virtual
async def test_key_9_says_goodbye_and_hangs_up():
    """The goodbye is heard to its end, and only then is the call over."""
    dialled = await pressed("9", 1.0)
    session = await dialled.over()
    assert dialled.platform.heard(1.0, 1.0 + seconds("goodbye")) == prompt("goodbye")
    assert dialled.peer.closed == (1000, "")
    assert dialled.peer.closed_at_seconds == pytest.approx(1.0 + seconds("goodbye"), abs=0.02)
    assert session.termination is Termination.HUNG_UP


@pytest.mark.parametrize("key", ["0", "4", "8", "*", "#", "A"])
@virtual
async def test_a_key_without_a_meaning_is_said_to_have_none(key):
    """And the menu is offered again."""
    dialled = await pressed(key, 1.0)
    await asyncio.sleep(seconds("invalid", "menu"))
    assert dialled.platform.heard(1.0) == prompt("invalid") + prompt("menu")
    await dialled.hung_up_on()


@virtual
async def test_a_silent_caller_is_asked_and_then_parted_from():
    """Three times the menu and time to think, each answered by a question, then a goodbye."""
    dialled = Dialled(ivr)
    speaking = asyncio.ensure_future(dialled.platform.talk(b"\xff" * 8000 * 120))
    await dialled.over()
    speaking.cancel()
    names = names_in(dialled.platform.heard())
    assert names[0] == "greeting"
    assert names[-1] == "goodbye"
    assert names.count("menu") == 3
    assert "invalid" not in names
    assert names.count("still-there") in (2, 3)
    least = seconds("greeting", "menu", "menu", "menu", "goodbye") + 3 * KEY_TIMEOUT_SECONDS
    assert least < dialled.peer.closed_at_seconds < least + seconds(*["still-there"] * 3) + 0.1


@virtual
async def test_a_key_that_means_something_starts_the_counting_anew():
    """Who uses the menu is not parted from for two silences in between."""
    dialled = Dialled(ivr)
    speaking = asyncio.ensure_future(dialled.platform.talk(b"\xff" * 8000 * 300))
    round_seconds = seconds("menu", "still-there") + KEY_TIMEOUT_SECONDS
    for _ in range(3):
        await asyncio.sleep(2 * round_seconds + 5)
        assert not dialled.task.done()
        dialled.platform.press("1")
    await asyncio.sleep(2 * round_seconds)
    assert not dialled.task.done()
    speaking.cancel()
    await dialled.hung_up_on()


@pytest.mark.parametrize("keys", [(), ("1",), ("2",), ("3",), ("3", "#"), ("5",), ("9",)])
@pytest.mark.parametrize("wait_seconds", [0.0, 0.5, 6.0])
@virtual
async def test_a_caller_may_leave_at_any_moment(keys, wait_seconds, caplog):
    """Wherever in the menu the caller is, hanging up ends the call, and leaves no trace of a failure in the log."""
    dialled = Dialled(ivr)
    await asyncio.sleep(0.5)
    for key in keys:
        dialled.platform.press(key)
        await asyncio.sleep(wait_seconds)
    if not dialled.task.done():
        dialled.platform.speak(speech(0.1))
        dialled.platform.stop()
    session = await dialled.over()
    assert session.termination in (Termination.COMPLETED, Termination.HUNG_UP)
    assert not [record for record in caplog.records if record.levelno >= 30]


def test_the_menu_says_what_it_does():
    """The keys that do something are those that the prompt names; 9 leaves."""
    assert set(MENU) == {"1", "2", "3"}
