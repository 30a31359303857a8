"""What may arrive instead of what should: counted, said once, quoted nowhere, and never the end of anything but itself."""

import asyncio
import json

import pytest

from calls.support import Dialled
from memory_peer import CALL_SID, SID
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.signals import Malformed
from virtual_clock import virtual


@virtual
async def test_a_malformed_message_is_noticed_once(caplog):
    """It is counted each time, said once in the log, and quoted nowhere."""
    caplog.set_level("INFO")
    dialled = Dialled()
    for _ in range(5):
        dialled.peer.push(b'{"event":"dtmf","dtmf":{"digit":7777777}}')
    await dialled.begun()
    session = await dialled.hung_up_on()
    assert session.ledger.anomalies["malformed"] == 5
    notices = [record.getMessage() for record in caplog.records if "kind=malformed" in record.getMessage()]
    assert len(notices) == 1
    assert f"stream_sid={SID}" in notices[0]
    assert "7777777" not in caplog.text
    assert dialled.tap.of(Malformed) == [], "the message itself is what a capture holds"


@virtual
async def test_too_many_malformed_messages_end_the_call():
    """Past the budget the connection is closed with 1008."""
    dialled = Dialled(settings={"bad_message_budget": 3})
    for _ in range(4):
        dialled.peer.push(b"rubbish")
    session = await dialled.over()
    assert session.termination is Termination.PROTOCOL_ERROR
    assert dialled.peer.closed == (1008, "too many malformed messages")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"start"',
        b"{}",
        b'{"event":5}',
        b'{"event":"media","media":{"payload":"***"}}',
        b'{"event":"start","start":[]}',
        b'{"event":"start","streamSid":7}',
        b'{"event":"start","start":{"customParameters":{"a":' + b"1" * 5000 + b"}}}",
        b"[" * 60_000,
        b'{"event":"stop","streamSid":"\\ud800"}',
    ],
    ids=lambda text: repr(text[:24]),
)
@virtual
async def test_no_message_can_break_a_call(text):
    """Whatever arrives, before the start and after it, costs the call nothing."""
    dialled = Dialled(starts=False)
    dialled.peer.push(text)
    await asyncio.sleep(0.1)
    dialled.platform.start()
    dialled.peer.push(text)
    dialled.platform.press("1")
    await dialled.begun()
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert session.ledger.anomalies["malformed"] == 2


@virtual
async def test_a_start_without_a_stream_is_refused():
    """Nothing could be answered: close 1008, and no handler."""
    dialled = Dialled(starts=False)
    dialled.peer.say("start", start={"callSid": CALL_SID})
    session = await dialled.over()
    assert dialled.peer.closed == (1008, "start has no streamSid")
    assert session.termination is Termination.PROTOCOL_ERROR
    assert dialled.call is None


@virtual
async def test_a_binary_object_is_a_message_too():
    """A peer gives bytes for text and binary alike, so a JSON object in a binary frame is understood."""
    dialled = Dialled(starts=False)
    start = {"streamSid": SID, "callSid": CALL_SID}
    dialled.peer.push(json.dumps({"event": "start", "start": start}).encode())
    call = await dialled.begun()
    assert call.stream_sid == SID
    await dialled.hung_up_on()
