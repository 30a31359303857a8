"""The delivery queue: what a slow handler loses, what it never loses, and that nothing is lost unnoticed."""

import asyncio
import collections
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.support import Dialled, speech
from smartflo_bridge.calls.delivery import MAX_WAITING_EVENTS, READY_EVENTS, Delivery
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import CallEnded, HandlerError
from smartflo_bridge.core.incoming import DTMF, DTMFEvent, Mark, MarkEvent, Media, MediaEvent, StopEvent
from virtual_clock import run, virtual

FRAME_SECONDS = 0.02


def audio(number, size=160):
    """Return a media event that is told from others by its number."""
    return MediaEvent(media=Media(payload=bytes(size), chunk=number))


def key(number):
    """Return a key press that is told from others by its number."""
    return DTMFEvent(dtmf=DTMF(digit="1"), sequence_number=number)


def name_of(event):
    """Return what tells one event from the others."""
    match event:
        case MediaEvent():
            return ("audio", event.media.chunk)
        case DTMFEvent():
            return ("key", event.sequence_number)
        case MarkEvent():
            return ("mark", event.name)
        case _:
            return ("stop", 0)


async def taken(delivery):
    """Take all that is there; return what tells the events apart."""
    delivery.finish()
    names = []
    async for event in delivery:
        names.append(name_of(event))
    return names


@virtual
async def test_an_event_that_comes_while_the_reader_lies_down(monkeypatch):
    """From another thread, between its look at the queue and its sleep: it is taken, and the reader can wait again."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    loop = asyncio.get_running_loop()
    make = loop.create_future

    def make_meanwhile():
        monkeypatch.undo()
        delivery.put(key(1))
        return make()

    monkeypatch.setattr(loop, "create_future", make_meanwhile)
    assert name_of(await anext(delivery)) == ("key", 1)
    waiting = asyncio.ensure_future(anext(delivery))
    await asyncio.sleep(0)
    delivery.put(key(2))
    assert name_of(await waiting) == ("key", 2)


@virtual
async def test_what_fits_is_delivered_in_order():
    """Nothing is dropped that the bounds allow."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    assert [delivery.put(audio(number)) for number in range(100)] == [0] * 100
    assert await taken(delivery) == [("audio", number) for number in range(100)]


@virtual
async def test_the_oldest_audio_goes_first_and_is_counted():
    """Beyond the bound, each piece that comes costs the oldest one that waits."""
    delivery = Delivery(HandlerLoop.main(), 0.2)
    fits = READY_EVENTS + 10
    dropped = [delivery.put(audio(number)) for number in range(fits + 5)]
    assert dropped == [0] * fits + [160] * 5
    names = await taken(delivery)
    assert names == [("audio", number) for number in [*range(READY_EVENTS), *range(READY_EVENTS + 5, fits + 5)]]


@virtual
async def test_keys_marks_and_the_stop_are_never_dropped():
    """However slow the handler is, a key press is not lost, and it stands where it stood."""
    delivery = Delivery(HandlerLoop.main(), 0.1)
    dropped = 0
    for number in range(200):
        dropped += delivery.put(audio(number))
        if number % 20 == 0:
            dropped += delivery.put(key(number))
            dropped += delivery.put(MarkEvent(mark=Mark(f"m{number}")))
    dropped += delivery.put(StopEvent())
    names = await taken(delivery)
    assert [name for name in names if name[0] == "key"] == [("key", number) for number in range(0, 200, 20)]
    assert [name for name in names if name[0] == "mark"] == [("mark", f"m{number}") for number in range(0, 200, 20)]
    assert names[-1] == ("stop", 0)
    kept = [name for name in names if name[0] == "audio"]
    assert dropped == (200 - len(kept)) * 160
    assert kept[-5:] == [("audio", number) for number in range(195, 200)]


@virtual
async def test_a_piece_above_the_bound_is_not_kept():
    """One message of five seconds does not wait behind others where two are allowed."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    for number in range(READY_EVENTS):
        delivery.put(audio(number))
    assert delivery.put(audio(99, 40_000)) == 40_000
    assert delivery.put(key(1)) == 0
    assert await taken(delivery) == [*[("audio", number) for number in range(READY_EVENTS)], ("key", 1)]


@virtual
async def test_what_nobody_takes_is_counted_at_the_end():
    """`abandon` empties the queue, says how much audio there was, and ends the iteration."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    for number in range(30):
        delivery.put(audio(number))
    delivery.put(key(1))
    assert delivery.abandon() == 30 * 160
    assert delivery.abandon() == 0
    assert await anext(delivery, None) is None


@pytest.mark.parametrize("ends", ["put", "finish", "abandon"])
@virtual
async def test_a_waiting_handler_is_woken(ends):
    """By an event, by the end, and by being given up."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    taking = asyncio.ensure_future(anext(delivery, None))
    await asyncio.sleep(1)
    assert not taking.done()
    if ends == "put":
        delivery.put(key(1))
    else:
        getattr(delivery, ends)()
    assert (await taking) == (key(1) if ends == "put" else None)


@virtual
async def test_a_reader_that_gives_up_loses_nothing():
    """A time-out around `take` leaves the event that came with it for the next one."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    taking = asyncio.ensure_future(anext(delivery, None))
    await asyncio.sleep(0.1)
    delivery.put(key(1))
    taking.cancel()
    await asyncio.wait([taking])
    delivery.put(key(2))
    assert await taken(delivery) == [("key", 1), ("key", 2)]


@virtual
async def test_who_attends_is_given_events_at_once():
    """In order, while they are put, and until the end; those that had come before are the first."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    seen = []
    delivery.put(key(1))
    attending = asyncio.ensure_future(delivery.attend(lambda event: seen.append(name_of(event)) is None))
    await asyncio.sleep(0)
    for number in (2, 3):
        delivery.put(key(number))
        assert seen[-1] == ("key", number)
    delivery.finish()
    await attending
    assert seen == [("key", 1), ("key", 2), ("key", 3)]
    assert delivery.abandon() == 0


@virtual
async def test_what_is_declined_is_the_next_event_again():
    """And what follows waits behind it, as does what comes before it is attended to again."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    seen = []

    def take(event):
        is_wanted = name_of(event) != ("key", 2)
        if is_wanted:
            seen.append(name_of(event))
        return is_wanted

    delivery.put(key(0))
    attending = asyncio.ensure_future(delivery.attend(take))
    await asyncio.sleep(0)
    for number in (1, 2, 3):
        delivery.put(key(number))
    await attending
    assert seen == [("key", 0), ("key", 1)]
    delivery.put(key(4))
    assert await taken(delivery) == [("key", 2), ("key", 3), ("key", 4)]


@virtual
async def test_what_is_raised_while_attending():
    """It is raised where the events are attended to, not where they are put; what comes later waits."""
    delivery = Delivery(HandlerLoop.main(), 2.0)

    def take(event):
        if name_of(event) == ("key", 2):
            raise CallEnded
        return True

    delivery.put(key(1))
    attending = asyncio.ensure_future(delivery.attend(take))
    await asyncio.sleep(0)
    delivery.put(key(2))
    delivery.put(key(3))
    with pytest.raises(CallEnded):
        await attending
    delivery.put(key(4))
    assert await taken(delivery) == [("key", 3), ("key", 4)]


@virtual
async def test_who_no_longer_attends_is_given_nothing():
    """After a cancellation the events wait for the next reader, and nobody can read beside one who attends."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    seen = []
    delivery.put(key(1))
    attending = asyncio.ensure_future(delivery.attend(lambda event: seen.append(event) is None))
    await asyncio.sleep(0)
    with pytest.raises(HandlerError):
        await anext(delivery)
    attending.cancel()
    delivery.put(key(2))
    await asyncio.wait([attending])
    delivery.put(key(3))
    assert [name_of(event) for event in seen] == [("key", 1), ("key", 2)]
    assert await taken(delivery) == [("key", 3)]


@given(
    st.lists(st.integers(1, 2000) | st.sampled_from(["key", "turn", "turn"]), max_size=60),
    st.lists(st.booleans(), max_size=80),
    st.booleans(),
)
def test_attending_is_as_good_as_iterating(steps, answers, is_threaded):
    """Whatever is declined and tried again: each event is taken once, in its order, but for audio that had to go and is counted."""

    async def main():
        home = HandlerLoop.in_thread() if is_threaded else HandlerLoop.main()
        delivery = Delivery(home, 0.2)
        wanted, seen = iter(answers), []

        def take(event):
            is_wanted = next(wanted, True)
            if is_wanted:
                seen.append(event)
            return is_wanted

        async def serve():
            async for event in delivery:
                seen.append(event)
                await delivery.attend(take)

        put, lost = [], 0
        serving = home.start(serve())
        for number, step in enumerate(steps):
            if step == "turn":
                await asyncio.sleep(0)
                continue
            event = key(number) if step == "key" else audio(number, step)
            put.append(event)
            lost += delivery.put(event)
        delivery.finish()
        await asyncio.wait_for(asyncio.wrap_future(serving) if is_threaded else serving, 5)
        assert home.stop(5)
        assert seen == [event for event in put if event in seen]
        gone = [event for event in put if event not in seen]
        assert lost == sum(len(event.media.payload) for event in gone)

    if is_threaded:
        asyncio.run(main())
    else:
        run(main())


@given(
    st.lists(st.one_of(st.integers(1, 2000), st.just("key"), st.just("take")), max_size=120),
    st.sampled_from([0.0, 0.02, 0.2, 2.0]),
)
def test_nothing_is_lost_but_what_is_counted(steps, max_seconds):
    """In any interleaving: order is kept, keys all arrive, received = taken + dropped, and what waits is bounded."""

    async def interleave():
        delivery = Delivery(HandlerLoop.main(), max_seconds)
        sizes, put, got, dropped = {}, [], [], 0
        for number, step in enumerate(steps):
            if step == "take":
                if put and len(got) < len(put) and delivery._ready:
                    got.append(name_of(await anext(delivery, None)))
                continue
            event = key(number) if step == "key" else audio(number, step)
            sizes[name_of(event)] = 0 if step == "key" else step
            put.append(name_of(event))
            dropped += delivery.put(event)
            waiting = sum(len(event.media.payload) for event in delivery._backlog if isinstance(event, MediaEvent))
            assert waiting == delivery._backlog_bytes <= max_seconds * 8000
            assert len(delivery._ready) <= READY_EVENTS
        got += await taken(delivery)
        lost = collections.Counter(put) - collections.Counter(got)
        assert got == [name for name in put if name not in lost]
        assert not [name for name in lost if name[0] == "key"]
        assert dropped == sum(sizes[name] for name in lost)

    run(interleave())


@virtual
async def test_a_slow_handler_pays_alone():
    """One that sleeps for ten seconds a piece loses old audio, and the account says how much; another loses nothing."""
    heard = []

    async def dawdle(call):
        async for event in call:
            heard.append(event)
            await asyncio.sleep(10)

    slow = Dialled(dawdle, sid="MZ1", inbound_seconds=2.0, grace_seconds=600.0)
    quick = Dialled(sid="MZ2")
    caller = speech(60.0, "caller")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(slow.platform.talk(caller))
        tasks.create_task(quick.platform.talk(caller))
    slow.platform.press("7")
    session = await slow.hung_up_on()
    pieces = [event.ulaw for event in heard if isinstance(event, MediaEvent)]
    drops = session.ledger.inbound_drops
    assert drops["slow_handler"] + sum(map(len, pieces)) + drops["unread"] == len(caller)
    assert session.ledger.delivered_bytes == sum(map(len, pieces))
    assert [event.digit for event in heard if isinstance(event, DTMFEvent)] == ["7"]
    assert isinstance(heard[-1], StopEvent)
    ends = list(itertools.pairwise(caller.find(piece) for piece in pieces))
    assert all(before < after for before, after in ends), "in order"
    assert (await quick.hung_up_on()).ledger.inbound_drops == {}


@virtual
async def test_too_many_keys_for_a_stuck_handler_end_the_call():
    """They are never dropped, so there is a bound: one more than 1024 that wait, and the call ends as a limit."""

    async def stuck(call):
        await asyncio.Event().wait()

    call = Dialled(stuck, grace_seconds=1.0)
    for number in range(READY_EVENTS + MAX_WAITING_EVENTS - 1):  # the start is one of those that are ready
        call.platform.press("1")
        if number % 100 == 99:
            await asyncio.sleep(1.0)
    await asyncio.sleep(1.0)
    assert call.peer.closed is None
    call.platform.press("1", "1")
    session = await call.over()
    assert (session.termination, session.close.code) == (Termination.LIMIT, 1011)


@virtual
async def test_a_handler_that_takes_its_keys_may_get_as_many_as_come():
    """What has been taken waits no more."""
    delivery = Delivery(HandlerLoop.main(), 2.0)
    for number in range(3 * MAX_WAITING_EVENTS):
        delivery.put(key(number))
        assert await anext(delivery, None) == key(number)
    for number in range(READY_EVENTS + MAX_WAITING_EVENTS):
        delivery.put(key(number))
    assert not delivery.is_overfull
    delivery.put(audio(0))
    assert not delivery.is_overfull
    delivery.put(key(-1))
    assert delivery.is_overfull


def test_giving_up_while_the_handler_takes():
    """Each piece goes to the handler or into the account, never to both or neither, whatever the two threads do."""

    async def once(home, count):
        delivery = Delivery(home, 60.0)
        got = []

        async def take_all():
            async for event in delivery:
                got.append(len(event.media.payload))

        taking = home.start(take_all())
        for number in range(count):
            assert delivery.put(audio(number)) == 0
            if number % 3 == 0:
                await asyncio.sleep(0)
        left = delivery.abandon()
        await asyncio.wrap_future(taking)
        assert sum(got) + left == count * 160

    async def many():
        home = HandlerLoop.in_thread()
        for count in range(300):
            await asyncio.wait_for(once(home, count % 40), 10)
        assert home.stop(1.0)

    asyncio.run(many())


def test_the_waiting_audio_of_random_calls_is_the_newest():
    """What survives of the caller's audio behind a slow handler is always the newest of what waited."""

    async def once(seed):
        rng = random.Random(seed)
        delivery = Delivery(HandlerLoop.main(), 0.5)
        count = rng.randint(40, 120)
        for number in range(count):
            delivery.put(audio(number))
        names = [number for _, number in await taken(delivery)]
        assert names == [*range(READY_EVENTS), *range(count - 25, count)][: len(names)]

    for seed in range(20):
        run(once(seed))
