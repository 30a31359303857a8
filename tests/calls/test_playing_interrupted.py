"""Speech that an interrupt ends: whoever makes its audio is told, and nothing of it is heard any more."""

import asyncio

import pytest

from calls.support import Dialled, silent, speech
from smartflo_bridge.core.audio import ulaw_to_pcm
from virtual_clock import virtual


@virtual
async def test_an_interrupt_ends_a_waiting_play():
    """Whoever waits for room is told at once that the rest is not wanted."""
    returned = []

    async def speak(call):
        playing = asyncio.ensure_future(call.play(speech(60.0), encoding="ulaw"))
        await asyncio.sleep(2)
        call.interrupt()
        returned.append((await playing, dialled.peer.seconds))
        await silent(call)

    dialled = Dialled(speak, settings={"queue_seconds": 5.0})
    await asyncio.sleep(10)
    assert returned == [(False, pytest.approx(2, abs=0.01))]
    await dialled.hung_up_on()
    assert len(dialled.peer.audio) == pytest.approx(2.2 * 8000, abs=800)
    assert dialled.peer.transcript[-1] == "clear"


@virtual
async def test_an_interrupted_iterator_is_asked_no_more():
    """A stream of audio whose utterance is over is not read to its end."""
    yielded = 0

    async def endless():
        nonlocal yielded
        while True:
            await asyncio.sleep(0.1)
            yielded += 1
            yield speech(0.1)

    async def speak(call):
        playing = asyncio.ensure_future(call.play(endless(), encoding="ulaw"))
        await asyncio.sleep(1.05)
        await call.interrupt()
        assert await playing is False
        await silent(call)

    dialled = Dialled(speak)
    await asyncio.sleep(10)
    assert yielded == 11
    await dialled.hung_up_on()


@virtual
async def test_a_task_that_has_not_heard_of_the_interrupt_says_nothing_more():
    """What is fed to an old utterance is dropped, also when it comes behind the new utterance's first words."""
    fed = []

    async def feed(utterance):
        for number in range(30):
            await asyncio.sleep(0.1)
            fed.append(await utterance.play(speech(0.1, number)))
        utterance.end()

    async def speak(call):
        old = call.utterance(encoding="ulaw")
        feeding = asyncio.ensure_future(feed(old))
        await asyncio.sleep(1.05)
        assert not old.is_interrupted
        call.interrupt()
        assert old.is_interrupted
        assert await call.play(speech(1.0, "new"), encoding="ulaw")
        await feeding
        await call.mark()

    dialled = Dialled(speak)
    session = await dialled.over()
    assert fed == [True] * 10 + [False] * 20
    said = dialled.peer.transcript
    after = said[said.index("clear") :]
    audio = b"".join(sent.audio for sent in dialled.peer.sent[said.index("clear") :])
    assert audio == speech(1.0, "new")
    assert after[-1].startswith("mark")
    assert set(session.ledger.outbound_drops) <= {"interrupted"}


@virtual
async def test_play_after_an_interrupt_begins_anew():
    """The next `play` after an interrupt is heard, without a half sample left over from before it."""

    async def speak(call):
        await call.play(b"\x01")
        call.interrupt()
        assert await call.play(ulaw_to_pcm(speech(0.5)))

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == speech(0.5)
