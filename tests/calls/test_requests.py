"""The handler's end of the inbox: each request gets its own answer, once, or is told that none will come."""

import asyncio

import pytest

from smartflo_bridge.calls.requests import MAX_UNANSWERED, PIECE_BYTES, Requests
from smartflo_bridge.core.commands import AwaitRoom, Interrupt, PlaceMark, Play
from smartflo_bridge.core.effects import InterruptOutcome, Room
from smartflo_bridge.core.errors import CallEnded, HandlerError
from virtual_clock import virtual


class Accounts:
    """A session's numbers, as a test wants them to be. Unrealistic: they do not change unless the test changes them."""

    def __init__(self, queue_bytes=80_000):
        self.accepted_bytes = 0
        self.queued_bytes = 0
        self.queue_bytes = queue_bytes


def requests_of(accounts=None):
    """Return requests, and the list of what they post."""
    posted = []
    return Requests(posted.append, accounts or Accounts()), posted


@virtual
async def test_answers_find_their_askers():
    """In whatever order they come."""
    requests, posted = requests_of()
    first, second = requests.ask(Interrupt), requests.ask(lambda ticket: PlaceMark(ticket, "x"))
    tickets = [command.ticket for command in posted]
    assert len(set(tickets)) == 2
    requests.answer(tickets[1], Room())
    requests.answer(tickets[0], InterruptOutcome(1, 2))
    assert (await first, await second) == (InterruptOutcome(1, 2), Room())


@virtual
async def test_an_answer_that_nobody_waits_for_is_passed_over():
    """One that was given up, one that came already, and one that was never asked for."""
    requests, posted = requests_of()
    asked = requests.ask(Interrupt)
    asked.cancel()
    requests.answer(posted[0].ticket, Room())
    requests.answer(posted[0].ticket, Room())
    requests.answer(12_345, Room())
    assert asked.cancelled()


@virtual
async def test_what_is_asked_before_the_end_is_answered_after_it():
    """`end` takes nothing more, and leaves the answers to come."""
    requests, posted = requests_of()
    asked = requests.ask(Interrupt)
    requests.end()
    with pytest.raises(CallEnded):
        requests.ask(Interrupt)
    requests.answer(posted[0].ticket, Room())
    assert await asked == Room()


@virtual
async def test_what_nobody_will_answer_fails():
    """`forsake` tells all who still wait; those who do not look leave no noise in the loop."""
    requests, _ = requests_of()
    looked_at, ignored = requests.ask(Interrupt), requests.ask(AwaitRoom)
    requests.forsake()
    with pytest.raises(CallEnded):
        await looked_at
    del ignored
    with pytest.raises(CallEnded):
        requests.post(Interrupt(1))


@virtual
async def test_what_may_be_unanswered_is_bounded():
    """At the bound a request is refused, and with an answer there is room for another."""
    requests, posted = requests_of()
    for _ in range(MAX_UNANSWERED):
        requests.ask(Interrupt)
    with pytest.raises(HandlerError, match=f"{MAX_UNANSWERED} requests wait"):
        requests.ask(Interrupt)
    assert len(posted) == MAX_UNANSWERED
    requests.answer(posted[0].ticket, Room())
    requests.ask(Interrupt)
    requests.forsake()


@virtual
async def test_audio_is_queued_in_pieces():
    """Of a second at most, all of them of the same epoch, and together what was given."""
    requests, posted = requests_of()
    audio = bytes(range(250)) * 80
    assert await requests.enqueue(audio, 0)
    assert [len(play.ulaw) for play in posted] == [PIECE_BYTES, PIECE_BYTES, 4000]
    assert b"".join(play.ulaw for play in posted) == audio
    assert {play.epoch for play in posted} == {0}


@virtual
async def test_audio_on_its_way_counts_as_queued():
    """What the session has not taken yet takes up room: a burst cannot overfill the queue."""
    accounts = Accounts(queue_bytes=16_000)
    requests, posted = requests_of(accounts)
    filling = asyncio.ensure_future(requests.enqueue(bytes(24_000), 0))
    await asyncio.sleep(0.1)
    assert [type(command) for command in posted] == [Play, Play, AwaitRoom]
    accounts.accepted_bytes, accounts.queued_bytes = 16_000, 8_000
    requests.answer(posted[-1].ticket, Room())
    assert await filling


@virtual
async def test_room_that_another_has_taken_is_waited_for_again():
    """Who is told of room looks again: somebody else may have been faster."""
    accounts = Accounts(queue_bytes=16_000)
    requests, posted = requests_of(accounts)
    accounts.queued_bytes = 16_000
    filling = asyncio.ensure_future(requests.enqueue(bytes(8_000), 0))
    await asyncio.sleep(0.1)
    requests.answer(posted[-1].ticket, Room())
    await asyncio.sleep(0.1)
    assert [type(command) for command in posted] == [AwaitRoom, AwaitRoom]
    accounts.queued_bytes = 0
    requests.answer(posted[-1].ticket, Room())
    assert await filling


@virtual
async def test_an_old_epoch_queues_nothing():
    """Neither before waiting nor after it."""
    accounts = Accounts(queue_bytes=16_000)
    requests, posted = requests_of(accounts)
    requests.epoch = 1
    assert await requests.enqueue(bytes(8_000), 0) is False
    accounts.queued_bytes = 16_000
    filling = asyncio.ensure_future(requests.enqueue(bytes(8_000), 1))
    await asyncio.sleep(0.1)
    requests.epoch = 2
    requests.answer(posted[-1].ticket, Room())
    assert await filling is False
    assert [type(command) for command in posted] == [AwaitRoom]
