"""The fakes of this ring: a clock that jumps and never hangs, and a platform that plays as the real one is documented."""

import asyncio

import pytest

from calls.support import arrival, speech
from memory_peer import SID, MemoryPeer, Platform
from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.core.outgoing import ClearEvent, EventBuilder, encode_outgoing_event
from smartflo_bridge.core.signals import PeerLost
from virtual_clock import HangError, VirtualLoop, clock_ns, run, virtual


async def wait_for_ever():
    """Wait for what nobody brings about."""
    await asyncio.get_running_loop().create_future()


async def spin():
    """Never wait, and never end."""
    while True:
        await asyncio.sleep(0)


async def tick():
    """Go on for ever, a second at a time."""
    while True:
        await asyncio.sleep(1)


@virtual
async def test_an_hour_takes_no_time():
    """The clock jumps to the next timer, and timers fire in order."""
    loop = asyncio.get_running_loop()
    began, began_ns, fired = loop.time(), clock_ns(), []
    loop.call_later(3000, fired.append, "late")
    loop.call_later(2, fired.append, "early")
    await asyncio.sleep(3600)
    assert loop.time() - began == pytest.approx(3600)
    assert clock_ns() - began_ns == pytest.approx(3600 * 10**9)
    assert fired == ["early", "late"]


@pytest.mark.parametrize("hanging", [wait_for_ever, spin, tick])
def test_what_would_never_end_is_an_error(hanging):
    """Waiting with nothing scheduled, spinning, and going on for ever all end the test."""
    with pytest.raises(HangError):
        run(hanging(), max_seconds=60, max_turns=10_000)


def test_a_task_left_behind_is_an_error():
    """A main coroutine that ends before its tasks has left something running."""

    async def main():
        return asyncio.get_running_loop().create_task(asyncio.sleep(9))

    with pytest.raises(AssertionError, match="left behind"):
        run(main())


def test_an_exception_in_a_callback_is_an_error():
    """What asyncio would only log fails the test."""

    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="the loop was told"):
        run(main())


@virtual
async def test_timers_are_counted():
    """A test can ask how many timers a piece of code made."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.timers.clear()
    loop.call_later(1, spin)
    loop.call_at(loop.time() + 2, spin).cancel()
    assert loop.timers == {"spin": 2}


@virtual
async def test_messages_arrive_in_order_and_the_loss_last():
    """A peer gives what was pushed before its listener came, and after."""
    peer, inbox = MemoryPeer(), Inbox()
    peer.push(b"1")
    peer.listen(inbox)
    assert inbox.take() == b"1"
    asyncio.get_running_loop().call_later(1, peer.push, b"2")
    asyncio.get_running_loop().call_later(1, peer.lose, 1001, "gone")
    await arrival(inbox)
    assert [inbox.take(), inbox.take()] == [b"2", PeerLost(1001, "gone")]
    assert peer.seconds == pytest.approx(1)


@virtual
async def test_a_mark_is_echoed_when_its_audio_has_been_played():
    """The platform plays in real time, and echoes at once where nothing is buffered."""
    peer = MemoryPeer()
    platform = Platform(peer)
    platform.start()
    _send_audio(peer, 1, 0.5)
    _send_mark(peer, "after")
    await asyncio.sleep(0.499)
    assert platform.echoed == []
    await asyncio.sleep(0.001)
    assert platform.echoed == ["after"]
    _send_mark(peer, "at once")
    assert platform.echoed == ["after", "at once"]
    assert platform.heard() == speech(0.5, 1)


@virtual
async def test_a_clear_echoes_what_waits_and_silences_the_rest():
    """After a clear the caller hears nothing more of what was sent."""
    peer = MemoryPeer()
    platform = Platform(peer)
    platform.start()
    _send_audio(peer, 1, 1.0)
    _send_mark(peer, "end")
    await asyncio.sleep(0.4)
    peer.send(encode_outgoing_event(ClearEvent(SID)))
    assert platform.echoed == ["end"]
    await asyncio.sleep(1)
    assert platform.heard() == speech(1.0, 1)[:3200] + b"\xff" * 8000
    assert peer.transcript == ["media 1: 8000", "mark end", "clear"]


def _send_audio(peer, number, seconds):
    event = EventBuilder().type("media").sid(SID).sequence(number).payload(speech(seconds, number)).build()
    peer.send(encode_outgoing_event(event))


def _send_mark(peer, name):
    peer.send(encode_outgoing_event(EventBuilder().type("mark").sid(SID).name(name).build()))
