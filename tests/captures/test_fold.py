"""The promise of a capture: folded through a fresh session, it gives byte for byte what the bridge said on the call."""

import asyncio
import random

import msgspec
import pytest

from calls.support import Dialled, speech
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.format import Header, Record, read_capture
from smartflo_bridge.core.effects import Send
from smartflo_bridge.core.errors import CallEnded, ProtocolError
from smartflo_bridge.core.incoming import parse_incoming_event
from smartflo_bridge.core.outgoing import encode_outgoing_event
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Malformed
from smartflo_bridge.handlers.echo import echo
from smartflo_bridge.handlers.ivr import ivr
from virtual_clock import virtual


def given_by(record: Record) -> Input | None:
    """Return what a line gave to the session; None for one that tells what came of it."""
    if record.dir == "in":
        try:
            return parse_incoming_event(record.wire or b"")
        except ProtocolError as error:
            return Malformed(str(error))
    return record.command or record.signal


def fold(header: Header, records: list[Record]) -> tuple[list[tuple[int, bytes]], Session]:
    """Give a fresh session all that the captured one was given; return what it says, with its times, and the session."""
    session, said = Session(header.settings), []
    for record in records:
        given = given_by(record)
        if given is None:
            continue
        for effect in session.handle(given, record.t / 1e9):
            if isinstance(effect, Send):
                said.append((record.t, encode_outgoing_event(effect.event)))
    return said, session


def check(directory, dialled):
    """Compare the fold of the only capture with what was sent on the call, and with how the call went."""
    (file,) = directory.iterdir()
    header, lines = read_capture(file)
    records = list(lines)
    said, session = fold(header, records)
    assert said == [(record.t, record.wire) for record in records if record.dir == "out"]
    assert [text for _, text in said] == [sent.text for sent in dialled.peer.sent]
    end = records[-1]
    assert (end.dir, end.termination) == ("end", session.termination)
    for member in (
        "accepted_bytes",
        "sent_bytes",
        "padding_bytes",
        "received_bytes",
        "messages_in",
        "marks_placed",
        "gaps",
    ):
        assert end.ledger[member] == getattr(session.ledger, member), member
    for counts in ("marks", "anomalies", "outbound_drops"):
        assert end.ledger[counts] == dict(getattr(session.ledger, counts)), counts
    return records


async def talkative(call):
    """Play, mark, interrupt and hang up, with odd lengths and several tasks."""
    await call.play(speech(1.2345), encoding="ulaw")
    call.mark("first")
    await call.digits(2, 3)
    await call.interrupt()
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(call.utterance(encoding="ulaw").play(speech(3.0007, number)))
    await call.mark("second")
    await call.play(speech(0.5))
    await call.hang_up()


async def hasty(call):
    """Return with audio queued."""
    await call.play(speech(2.0), encoding="ulaw")


async def failing(call):
    """Raise in the middle of speech."""
    await call.play(speech(9.0), encoding="ulaw")
    await call.digits(1, 2)
    raise RuntimeError


async def rambling(call):
    """Do anything, in an order that nobody would think of."""
    rng = random.Random(call.stream_sid)
    try:
        for _ in range(60):
            match rng.randrange(6):
                case 0 | 1 | 2:
                    await call.play(speech(rng.random() * 2, rng.random()), encoding="ulaw")
                case 3:
                    call.mark(rng.choice([None, "a", "b"]))
                case 4:
                    call.interrupt()
                case _:
                    await asyncio.sleep(rng.random() / 3)
        await call.hang_up()
    except CallEnded:
        pass


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hang_up": "end", "send_connected": "always"},
        {"queue_seconds": 1.0, "lead_seconds": 0.1, "packet_seconds": 0.04},
    ],
    ids=["defaults", "end", "short"],
)
@pytest.mark.parametrize("handler", [talkative, hasty, failing, echo, ivr])
@virtual
async def test_a_folded_capture_says_what_the_call_said(tmp_path, handler, settings):
    """Every message, to the byte and at its time, though the capture holds only what came in and was asked for."""
    writer = CaptureWriter(tmp_path / "captures", msgspec.convert(settings, SessionSettings))
    dialled = Dialled(handler, settings=settings, taps=(writer.tap(),))
    dialled.peer.push(b"rubbish\n")
    dialled.peer.push(b"\xff")
    await dialled.platform.talk(speech(2.0, "caller"), cadence_bytes=333)
    dialled.platform.press("3", "1")
    await dialled.platform.talk(speech(3.0, "caller"))
    if not dialled.task.done():
        dialled.platform.press("9")
        await asyncio.sleep(4)
    if not dialled.task.done():
        dialled.platform.stop()
    await dialled.over(fails=handler is failing)
    writer.close()
    records = check(tmp_path / "captures", dialled)
    assert sum(record.dir == "out" for record in records) > 5


@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_a_folded_ramble_says_what_the_call_said(tmp_path, seed):
    """The same for calls that do anything at any time, with a platform that is unhelpful in every way."""
    rng = random.Random(seed)
    echoes = rng.random() < 0.7
    settings = {"mark_slack_seconds": 0.5}
    writer = CaptureWriter(tmp_path / "captures", msgspec.convert(settings, SessionSettings))
    dialled = Dialled(rambling, sid=f"MZ{seed}", echoes_marks=echoes, settings=settings, taps=(writer.tap(),))
    for _ in range(rng.randrange(40)):
        await asyncio.sleep(rng.random() / 2)
        if dialled.task.done():
            break
        match rng.randrange(6):
            case 0:
                dialled.platform.press(rng.choice("123#"))
            case 1:
                dialled.peer.push(
                    rng.choice([b"", b"{}", b'{"event":"new"}', b" \n", b'{"event":"mark","mark":{"name":"a"}}'])
                )
            case 2:
                dialled.platform.echo(rng.choice(["m1", "a", "goodbye"]))
            case _:
                dialled.platform.speak(speech(rng.random() / 5, rng.random()))
    if not dialled.task.done() and rng.random() < 0.7:
        rng.choice([dialled.platform.stop, dialled.peer.lose, dialled.registry.drain])()
    await dialled.over()
    writer.close()
    check(tmp_path / "captures", dialled)
