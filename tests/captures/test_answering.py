"""A captured bridge answers a new caller: the same messages at the same times, on a virtual clock."""

import asyncio
import json

import pytest

from calls.support import Dialled, speech
from captures.support import Captured
from core.support import message
from smartflo_bridge.captures.answering import answer_with, part_of
from smartflo_bridge.captures.format import CaptureError, end_record, given_record, message_record
from smartflo_bridge.core.commands import Play
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import ivr
from virtual_clock import virtual


async def talkative(call):
    """Speak, mark, be interrupted, speak again, and hang up."""
    await call.play(speech(3.0), encoding="ulaw")
    call.mark("first")
    await call.digits(1, 5)
    await call.play(speech(0.51, "second"), encoding="ulaw")
    await call.mark("second")
    await asyncio.sleep(2)
    await call.play(speech(0.2, "third"), encoding="ulaw")
    await call.hang_up()


async def patient(call):
    """Speak, and stay."""
    await call.play(speech(0.5), encoding="ulaw")
    async for _ in call:
        pass


async def a_call(handler, *, sid="MZ0a1", seconds=8.0, key_after=1.0, **more):
    """Place a call in which a key is pressed, and which is hung up after so long, by the caller if by nobody else."""
    dialled = Dialled(handler, sid=sid, **more)
    await asyncio.sleep(key_after)
    dialled.platform.press("1")
    await asyncio.sleep(seconds - key_after)
    if not dialled.task.done():
        dialled.platform.stop()
    session = await dialled.over()
    return dialled, session


def records_of(dialled):
    """Return the capture of a call that is over."""
    made = {"in": message_record, "out": message_record}
    return [
        end_record(at_ns, dialled.tap.session)
        if kind == "end"
        else made[kind](at_ns, kind, shown)
        if kind in made
        else given_record(at_ns, shown)
        for at_ns, kind, shown in dialled.tap.shown
    ]


def said(dialled):
    """Return what was sent, without the stream, and when, in ms."""
    return [(round(sent.at_seconds * 1000), json.dumps(sent.event | {"streamSid": ""})) for sent in dialled.peer.sent]


@pytest.mark.parametrize("handler", [talkative, patient, ivr])
@virtual
async def test_a_new_caller_hears_the_same(handler):
    """Audio, marks and clears, each at its time after the start, in the same messages; and the same end."""
    first, session = await a_call(handler)
    again, session_again = await a_call(answer_with(part_of(records_of(first))), sid="MZ0b2")
    assert len(again.peer.sent) > 3
    for (at, text), (at_again, text_again) in zip(said(first), said(again), strict=True):
        assert text_again == text
        assert at_again == pytest.approx(at, abs=3)
    assert session_again.termination is session.termination
    assert {json.loads(sent.text)["streamSid"] for sent in again.peer.sent} == {"MZ0b2"}


@virtual
async def test_a_caller_who_does_something_else_hears_the_same():
    """It is a record: whoever presses no key is cleared at by the same second."""
    first, _ = await a_call(talkative)
    dialled = Dialled(answer_with(part_of(records_of(first))))
    await asyncio.sleep(8)
    assert dialled.task.done()
    assert [text for _, text in said(dialled)] == [text for _, text in said(first)]


@virtual
async def test_a_caller_who_leaves_ends_it():
    """At once, not when the next thing would be said."""
    first, _ = await a_call(talkative)
    dialled = Dialled(answer_with(part_of(records_of(first))))
    await asyncio.sleep(2.5)
    dialled.platform.stop()
    began = asyncio.get_running_loop().time()
    session = await dialled.over()
    assert session.termination is Termination.COMPLETED
    assert asyncio.get_running_loop().time() - began < 0.1


@virtual
async def test_a_caller_who_leaves_in_the_middle_of_speech_ends_it():
    """What cannot be played any more is no fault of the handler's."""
    first, _ = await a_call(patient)
    dialled = Dialled(answer_with(part_of(records_of(first))))
    await asyncio.sleep(0.25)
    dialled.peer.lose()
    session = await dialled.over()
    assert session.termination is Termination.PEER_LOST


def test_a_capture_without_a_start_is_no_answer():
    """There is no time that the rest could count from."""
    call = Captured()
    call.say(message("connected"))
    with pytest.raises(CaptureError, match="holds no start"):
        part_of(call.records)


def test_what_was_said_before_the_start_is_left_out():
    """A `connected` of ours is the session's own affair."""
    call = Captured(send_connected="always")
    call.run(0.1)
    call.start()
    call.give(Play(speech(0.02), 0))
    part = part_of(call.records)
    assert [(saying.at_seconds, saying.said.event) for saying in part.sayings] == [(0.0, "media")]
    assert not part.hangs_up
