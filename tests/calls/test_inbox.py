"""The inbox: one order for everything that happens to a call, and one wake-up for what comes together."""

import asyncio
import itertools
import threading
import time
from functools import partial

from calls.support import arrival
from smartflo_bridge.calls.inbox import FULL_BYTES, FULL_ITEMS, Inbox
from smartflo_bridge.calls.mailbox import Mailbox
from smartflo_bridge.core.commands import HangUp
from smartflo_bridge.core.signals import Tick
from virtual_clock import virtual


def all_of(inbox):
    """Take everything."""
    items = []
    while (item := inbox.take()) is not None:
        items.append(item)
    return items


@virtual
async def test_items_come_out_in_the_order_in_which_they_went_in():
    """Messages, commands and signals share one queue."""
    inbox = Inbox()
    items = [b"one", HangUp(), Tick(), b"two"]
    for item in items:
        inbox.put(item)
    await arrival(inbox)
    assert all_of(inbox) == items
    assert inbox.take() is None


@virtual
async def test_a_connection_is_stopped_by_number_and_by_size():
    """So many messages, or so many bytes of them, and it is to stop reading until all have been taken."""
    for message, count in ((b"x" * 1200, FULL_ITEMS), (b"x" * 60_000, FULL_BYTES // 60_000 + 1)):
        inbox, told = Inbox(), []
        for _ in range(2):
            assert [inbox.accept(message, partial(told.append, 1)) for _ in range(count)] == [True] * (count - 1) + [
                False
            ]
            inbox.wait(lambda: None)
            assert len(all_of(inbox)) == count
            assert told == []
            inbox.wait(lambda: None)
            assert told.pop() == 1


@virtual
async def test_waiting_ends_with_the_first_item():
    """The reader is woken once, and finds all that came by then."""
    inbox = Inbox()
    loop = asyncio.get_running_loop()
    for item in (b"1", b"2", b"3"):
        loop.call_later(5, inbox.put, item)
    began = loop.time()
    await arrival(inbox)
    assert loop.time() - began == 5
    assert all_of(inbox) == [b"1", b"2", b"3"]


@virtual
async def test_a_connection_has_its_reader_resumed_at_once():
    """When it has put in all that it read: once, in the same turn of the loop, and not by each message."""
    inbox, found = Inbox(), []
    inbox.wait(lambda: found.append(all_of(inbox)))
    for message in (b"1", b"2", b"3"):
        assert inbox.accept(message, lambda: None)
    assert found == []
    inbox.flush()
    assert found == [[b"1", b"2", b"3"]]
    inbox.flush()  # nobody waits
    inbox.wait(lambda: found.append(all_of(inbox)))
    inbox.flush()  # there is nothing
    await asyncio.sleep(0)
    assert len(found) == 1


@virtual
async def test_others_have_the_reader_resumed_in_the_next_turn():
    """A handler that asks for something is not interrupted by the answer; several items are one wake-up."""
    inbox, found = Inbox(), []
    inbox.wait(lambda: found.append(all_of(inbox)))
    inbox.put(b"1")
    inbox.put(b"2")
    assert found == []
    await asyncio.sleep(0)
    assert found == [[b"1", b"2"]]


@virtual
async def test_what_is_there_already_is_for_the_next_turn():
    """A reader that leaves something for later lets others have their turn first, unless more comes at once."""
    inbox, found = Inbox(), []
    inbox.put(b"1")
    inbox.wait(lambda: found.append(inbox.take()))
    assert found == []
    await asyncio.sleep(0)
    assert found == [b"1"]
    inbox.put(b"2")
    inbox.put(b"3")
    inbox.wait(lambda: found.append(inbox.take()))
    inbox.flush()
    await asyncio.sleep(0)  # what was to come in this turn has come already
    assert found == [b"1", b"2"]


@virtual
async def test_who_leaves_is_not_called():
    """What comes then waits for whoever reads next."""
    inbox, found = Inbox(), []
    inbox.wait(lambda: found.append("never"))
    inbox.put(b"1")
    inbox.leave()
    inbox.flush()
    await asyncio.sleep(0)
    assert found == []
    assert all_of(inbox) == [b"1"]


@virtual
async def test_an_empty_message_is_an_item():
    """Nothing is not the same as a message without content."""
    inbox = Inbox()
    inbox.put(b"")
    await arrival(inbox)
    assert inbox.take() == b""


@virtual
async def test_a_reader_that_is_cancelled_leaves_the_inbox_usable():
    """The next one waits as if there had been none."""
    inbox = Inbox()
    waiting = asyncio.ensure_future(arrival(inbox))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    inbox.put(b"1")
    await arrival(inbox)
    assert all_of(inbox) == [b"1"]


def test_nothing_is_lost_or_reordered_between_threads():
    """A thread and the loop write as fast as they can: each one's items arrive in its order, and the reader never hangs.

    On a real loop, with a bounded number of items and no sleep.
    """
    count = 20_000

    async def main():
        inbox, mailbox = Inbox(), Mailbox(asyncio.get_running_loop())
        writer = threading.Thread(
            target=lambda: [mailbox.post(inbox.put, b"t%d" % number) for number in range(count)], daemon=True
        )
        writer.start()
        from_thread, from_loop, sent = [], [], 0
        while len(from_thread) < count or len(from_loop) < sent:
            async with asyncio.timeout(10):
                await arrival(inbox)
            for item in all_of(inbox):
                (from_thread if item.startswith(b"t") else from_loop).append(item)
            if sent < 1000:
                inbox.put(b"l%d" % sent)
                sent += 1
            await asyncio.sleep(0)
        writer.join()
        assert from_thread == [b"t%d" % number for number in range(count)]
        assert from_loop == [b"l%d" % number for number in range(sent)]

    asyncio.run(main())


def test_every_item_of_a_thread_wakes_the_reader():
    """One at a time, each put only when the one before has been taken: no wake-up is missed, nor left out."""
    count = 500

    async def main():
        inbox, taken = Inbox(), threading.Semaphore(1)
        mailbox = Mailbox(asyncio.get_running_loop())

        def put_one_by_one():
            for number in range(count):
                assert taken.acquire(timeout=10)
                mailbox.post(inbox.put, b"%d" % number)

        writer = threading.Thread(target=put_one_by_one, daemon=True)
        writer.start()
        for number in range(count):
            items = []
            while not items:  # the wake-up of an item that was found without it may still be on its way
                async with asyncio.timeout(10):
                    await arrival(inbox)
                items = all_of(inbox)
            assert items == [b"%d" % number]
            taken.release()
        writer.join()

    asyncio.run(main())


def test_a_thread_that_outlives_the_loop_is_no_error():
    """A handler left alone may still ask for something when nobody is there any more."""

    async def main():
        return Mailbox(asyncio.get_running_loop())

    mailbox = asyncio.run(main())
    mailbox.post(print, "never")
    mailbox.post(print, "never")


def test_one_call_that_fails_keeps_no_other_from_being_made():
    """The loop hears of the failure, and the calls behind it are made, in order."""

    async def main():
        loop, made, failures = asyncio.get_running_loop(), [], []
        loop.set_exception_handler(lambda _, context: failures.append(type(context["exception"])))
        mailbox = Mailbox(loop)
        mailbox.post(made.append, 1)
        mailbox.post(int, "one")
        mailbox.post(made.append, 2)
        mailbox.post(made.append, 3)
        async with asyncio.timeout(5):
            while len(made) < 3:
                await asyncio.sleep(0)
        assert (made, failures) == ([1, 2, 3], [ValueError])

    asyncio.run(main())


def test_many_calls_cost_one_wake_up():
    """What is posted before the loop has looked is served together."""

    async def main():
        loop, made = asyncio.get_running_loop(), []
        wake, wakes = loop.call_soon_threadsafe, []
        loop.call_soon_threadsafe = lambda *args: wakes.append(args) or wake(*args)
        mailbox = Mailbox(loop)
        for number in range(100):
            mailbox.post(made.append, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (made, len(wakes)) == (list(range(100)), 1)

    asyncio.run(main())


@virtual
async def test_a_loop_that_is_busy_is_woken_once_in_a_pause(monkeypatch):
    """The first post wakes it at once; those within the pause share a wake-up, in order; after a rest it is at once again."""
    loop, made, wakes = asyncio.get_running_loop(), [], []
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: wakes.append(loop.time()) or wake(*args))
    monkeypatch.setattr(time, "monotonic", loop.time)
    mailbox, began = Mailbox(loop, pause_seconds=0.01), loop.time()
    for number in range(100):
        mailbox.post(made.append, number)
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    mailbox.post(made.append, 100)
    await asyncio.sleep(0)
    assert made == list(range(101))
    gaps = [after - before for before, after in itertools.pairwise(wakes)]
    assert wakes[0] == began
    assert all(0.0099 <= gap <= 0.0121 for gap in gaps[:-1])
    assert wakes[-1] == loop.time()
