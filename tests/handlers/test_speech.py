"""The hooks for speech: what they are given, what becomes of what they yield, and what a new text interrupts."""

import asyncio

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import HandlerError
from smartflo_bridge.handlers.speech import speech_handler
from virtual_clock import virtual


def recogniser(heard, texts=None):
    """Return a hook that keeps the audio, and says the next text whenever a piece of loud audio comes."""
    waiting = list(texts or [])

    async def process(call, pcm):
        heard.append(pcm)
        return waiting.pop(0) if waiting and len(pcm) == 2 * 160 else None

    return process


def synthesiser(said, seconds=1.0, pause=0.0):
    """Return a hook that speaks a text as audio that is like no other, in pieces of 100 ms."""

    async def generate(call, text):
        said.append(text)
        pcm = ulaw_to_pcm(speech(seconds, text))
        for at in range(0, len(pcm), 1600):
            if pause:
                await asyncio.sleep(pause)
            yield pcm[at : at + 1600]

    return generate


@virtual
async def test_the_first_hook_is_given_the_caller_s_audio():
    """As PCM16 at 8000 Hz, piece by piece, all of it."""
    heard = []
    dialled = Dialled(speech_handler(recogniser(heard), synthesiser([])))
    await dialled.platform.talk(speech(2.0, "caller"))
    await dialled.hung_up_on()
    assert b"".join(heard) == ulaw_to_pcm(speech(2.0, "caller"))
    assert len(heard) == 20
    assert dialled.peer.audio == b""


@virtual
async def test_a_text_is_answered():
    """What the first hook returns is given to the second, and what that yields is heard."""
    said = []
    dialled = Dialled(speech_handler(recogniser([], ["hello"]), synthesiser(said)))
    await dialled.begun()
    dialled.platform.speak(speech(0.02))
    await asyncio.sleep(2)
    assert said == ["hello"]
    assert dialled.platform.heard().strip(b"\xff") == speech(1.0, "hello")
    await dialled.hung_up_on()


@virtual
async def test_an_empty_text_is_a_text():
    """Only None means that the caller has not finished."""
    said = []
    dialled = Dialled(speech_handler(recogniser([], [""]), synthesiser(said)))
    dialled.platform.speak(speech(0.02))
    await asyncio.sleep(0.1)
    await dialled.hung_up_on()
    assert said == [""]


@virtual
async def test_a_greeting_is_answered_first():
    """As if the caller had said it."""
    said = []
    dialled = Dialled(speech_handler(recogniser([]), synthesiser(said), greeting="welcome"))
    await asyncio.sleep(2)
    assert said == ["welcome"]
    assert dialled.platform.heard(0, 1.0) == speech(1.0, "welcome")
    await dialled.hung_up_on()


@pytest.mark.parametrize("pause", [0.0, 0.1])
@virtual
async def test_a_new_text_interrupts_the_answer(pause):
    """The old answer is silent at once, its maker is stopped, and nothing of it comes behind the new one."""
    said = []
    dialled = Dialled(speech_handler(recogniser([], ["one", "two"]), synthesiser(said, 5.0, pause)))
    await dialled.begun()
    dialled.platform.speak(speech(0.02))
    await asyncio.sleep(2.0)
    dialled.platform.speak(speech(0.02))
    at = dialled.platform.seconds
    await asyncio.sleep(6.0)
    assert said == ["one", "two"]
    assert dialled.peer.transcript.count("clear") == 2, "one for each text"
    assert dialled.platform.heard(at).strip(b"\xff") == speech(5.0, "two")
    assert speech(5.0, "one")[:12_000] in dialled.platform.heard(0, at)
    await dialled.hung_up_on()


@virtual
async def test_an_answer_in_the_making_is_given_up_when_the_call_ends():
    """Whoever still makes audio is cancelled, and that is no failure."""
    ended = []

    async def generate(call, text):
        try:
            while True:
                await asyncio.sleep(0.1)
                yield bytes(1600)
        finally:
            ended.append(text)

    dialled = Dialled(speech_handler(recogniser([]), generate, greeting="welcome"))
    await asyncio.sleep(1)
    session = await dialled.hung_up_on()
    await asyncio.sleep(0)
    assert ended == ["welcome"]
    assert session.termination is Termination.COMPLETED


@virtual
async def test_an_answer_that_does_not_come_gives_way_to_the_next():
    """A maker that waits for its service for ever is cancelled when the caller has said something else."""
    given_up = []

    async def generate(call, text):
        if text == "one":
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                given_up.append(dialled.peer.seconds)
        yield ulaw_to_pcm(speech(0.5, text))

    dialled = Dialled(speech_handler(recogniser([], ["one", "two"]), generate))
    await dialled.begun()
    dialled.platform.speak(speech(0.02))
    await asyncio.sleep(1.0)
    dialled.platform.speak(speech(0.02))
    await asyncio.sleep(1.0)
    assert given_up == [pytest.approx(1.0, abs=0.01)]
    assert dialled.peer.audio == speech(0.5, "two")
    await dialled.hung_up_on()


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
@virtual
async def test_both_hooks_have_the_rate_that_they_ask_for(rate_hz):
    """The caller's audio comes at that rate, and the answer is taken at it, whole to its last sample."""
    heard = []

    async def generate(call, text):
        for _ in range(10):
            yield bytes(rate_hz // 10 * 2)

    dialled = Dialled(speech_handler(recogniser(heard), generate, rate_hz=rate_hz, greeting="hello"))
    await dialled.platform.talk(speech(1.0))
    await asyncio.sleep(1)
    session = await dialled.hung_up_on()
    assert sum(map(len, heard)) == rate_hz * 2
    assert session.ledger.accepted_bytes == pytest.approx(8000 + 24, abs=1)
    assert session.ledger.outbound_drops == {}


@virtual
async def test_a_rate_that_cannot_be_had_fails_the_call():
    """With the sentence of the resampler, before anything is said."""
    dialled = Dialled(speech_handler(recogniser([]), synthesiser([]), rate_hz=100))
    session = await dialled.over(fails=True)
    assert session.termination is Termination.HANDLER_FAILED
    assert isinstance(dialled.handler_error, HandlerError)


@pytest.mark.parametrize("failing", ["first", "second"])
@virtual
async def test_a_hook_that_raises_fails_the_call(failing):
    """A mistake in either is a failure of the handler, with its traceback."""

    async def process(call, pcm):
        if failing == "first":
            raise ZeroDivisionError
        return "text"

    async def generate(call, text):
        raise ZeroDivisionError
        yield b""

    dialled = Dialled(speech_handler(process, generate))
    dialled.platform.speak(speech(0.1))
    session = await dialled.over(fails=True)
    assert session.termination is Termination.HANDLER_FAILED
