"""`Call.play` and utterances: what is queued, when it waits, and what an interrupt makes of it."""

import asyncio
import audioop
import random

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.core.audio import pcm_to_ulaw, ulaw_to_pcm
from smartflo_bridge.core.commands import Play
from smartflo_bridge.core.errors import CallEnded, HandlerError
from virtual_clock import virtual


def cut(audio, seed=1):
    """Return audio in pieces of 1 to 700 bytes, odd ones among them."""
    rng, pieces = random.Random(seed), []
    while audio:
        size = rng.randint(1, 700)
        pieces.append(audio[:size])
        audio = audio[size:]
    return pieces


async def dripping(pieces, seconds=0.0):
    """Yield pieces, one every so many seconds."""
    for piece in pieces:
        await asyncio.sleep(seconds)
        yield piece


@virtual
async def test_pcm_is_companded():
    """PCM16 at 8000 Hz is heard as the mu-law that G.711 makes of it."""
    pcm = ulaw_to_pcm(speech(1.0))

    async def speak(call):
        assert await call.play(pcm)

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.platform.heard(0, 1.0) == audioop.lin2ulaw(pcm, 2) == pcm_to_ulaw(pcm)


@virtual
async def test_ulaw_is_sent_as_it_is():
    """All 256 mu-law values pass untouched."""
    ulaw = bytes(range(256)) * 5

    async def speak(call):
        assert await call.play(ulaw, encoding="ulaw")

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == ulaw


@virtual
async def test_pieces_may_be_cut_anywhere():
    """Consecutive calls of `play` are one utterance: a sample cut in two is put together again, and nothing is padded."""
    ulaw = speech(3.0)

    async def speak(call):
        for piece in cut(ulaw_to_pcm(ulaw)):
            assert await call.play(piece)

    dialled = Dialled(speak)
    session = await dialled.over()
    assert dialled.peer.audio == ulaw
    assert session.ledger.padding_bytes == 0


@virtual
async def test_an_iterator_is_played_as_it_comes():
    """What yields audio, such as a speech service's stream, is heard while it is still being made."""
    ulaw, made_at = speech(3.0), []

    async def speak(call):
        assert await call.play(dripping(cut(ulaw_to_pcm(ulaw)), 0.01))
        made_at.append(dialled.peer.seconds)

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == ulaw
    assert dialled.platform.line.first_audio_seconds < 0.1
    assert made_at[0] > 1.0


@virtual
async def test_encodings_may_follow_each_other():
    """A change of encoding begins another utterance behind the first."""

    async def speak(call):
        await call.play(speech(0.2, 1), encoding="ulaw")
        await call.play(ulaw_to_pcm(speech(0.2, 2)))
        await call.play(speech(0.2, 3), encoding="ulaw")

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == speech(0.2, 1) + speech(0.2, 2) + speech(0.2, 3)


@virtual
async def test_nothing_is_queued_for_nothing():
    """Empty audio is no error and no command."""

    async def speak(call):
        assert await call.play(b"")
        assert await call.play(b"", encoding="ulaw")
        assert await call.play(dripping([]))

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.tap.of(Play) == []


# --- Back-pressure


@virtual
async def test_play_waits_for_room():
    """With a queue of 10 s, a minute of audio is taken as the caller hears it, and no more is ever queued."""
    taken_at = []

    async def speak(call):
        for second in range(60):
            assert await call.play(speech(1.0, second), encoding="ulaw")
            taken_at.append(dialled.peer.seconds)

    dialled = Dialled(speak, settings={"queue_seconds": 10.0})
    most = 0
    while not dialled.task.done():
        await asyncio.sleep(0.05)
        if dialled.call is not None:
            counters = dialled.call.counters
            most = max(most, counters.accepted_bytes - counters.sent_bytes)
    session = await dialled.over()
    assert most <= 80_000
    assert taken_at[9] < 0.01, "the queue takes ten seconds at once"
    assert taken_at[-1] == pytest.approx(49.8, abs=1.1), "and the rest as it empties"
    assert session.ledger.outbound_drops == {}
    assert dialled.peer.audio == b"".join(speech(1.0, second) for second in range(60))
    assert dialled.platform.line.gaps == []


@pytest.mark.parametrize("queue_seconds", [0.2, 0.3, 0.5, 0.6, 0.7, 1.0, 2.5])
@virtual
async def test_a_short_queue_loses_nothing(queue_seconds):
    """However short the queue is, what `play` has taken is heard: it waits, in pieces that fit."""

    async def speak(call):
        assert await call.play(speech(4.0), encoding="ulaw")

    dialled = Dialled(speak, settings={"queue_seconds": queue_seconds})
    session = await dialled.over()
    assert session.ledger.outbound_drops == {}
    assert dialled.peer.audio == speech(4.0)
    assert dialled.platform.line.gaps == []


@virtual
async def test_several_tasks_wait_for_room_together():
    """Back-pressure reaches all that make audio, and none of it is lost."""

    async def speak(call):
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(call.utterance(encoding="ulaw").play(speech(12.0, number)))

    dialled = Dialled(speak, settings={"queue_seconds": 5.0})
    session = await dialled.over()
    assert session.ledger.outbound_drops == {}
    assert session.ledger.sent_bytes == 4 * 96_000


@virtual
async def test_waiting_for_room_ends_with_the_call():
    """A handler that waits is told that the call is over."""
    ended = []

    async def speak(call):
        try:
            await call.play(speech(60.0), encoding="ulaw")
        except CallEnded:
            ended.append(dialled.peer.seconds)
            raise

    dialled = Dialled(speak, settings={"queue_seconds": 5.0})
    await asyncio.sleep(3)
    await dialled.hung_up_on()
    assert ended == [pytest.approx(3, abs=0.01)]


# --- What cannot be played


@pytest.mark.parametrize(
    ("rate_hz", "encoding", "sentence"),
    [
        (8000, "opus", "encoding is 'pcm' or 'ulaw', not 'opus'"),
        (16_000, "ulaw", "mu-law is played at 8000 Hz, not 16000: hand over PCM for other rates"),
        (1000, "pcm", "1000 Hz is not a rate to resample"),
        (400_000, "pcm", "400000 Hz is not a rate to resample"),
    ],
)
@virtual
async def test_what_cannot_be_played_is_said(rate_hz, encoding, sentence):
    """A rate or an encoding that makes no sense is the handler's mistake, with a sentence that names it."""

    async def speak(call):
        with pytest.raises(HandlerError, match=sentence):
            await call.play(b"\0\0", rate_hz, encoding)
        with pytest.raises(HandlerError, match=sentence):
            call.utterance(rate_hz, encoding)
        assert await call.play(speech(0.1), encoding="ulaw"), "a mistake leaves the call as it was"

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == speech(0.1)
