"""The script of a captured caller: what is said again, with which ids and numbers, and how it ends."""

import json

import pytest

from captures.support import QUIET, Captured, media_message
from core.support import HANG_UP, SID, message, start_message
from smartflo_bridge.captures.format import CaptureError
from smartflo_bridge.captures.script import renumbered, script_of, started_in
from smartflo_bridge.core.signals import PeerLost

STOP = message("stop", sequenceNumber="9", streamSid=SID, stop={"callSid": "1758000000.4242"})


def a_call(*more) -> Captured:
    """Return a call with these messages or signals at its end, each 100 ms after the other."""
    call = Captured()
    for thing in (message("connected"), start_message(sequenceNumber=1), media_message(QUIET, 2), *more):
        call.run(0.1)
        if isinstance(thing, bytes):
            call.say(thing)
        else:
            call.give(thing)
    call.run(0.1)
    call.end()
    return call


def test_all_that_was_said_is_said_again_but_for_marks():
    """Byte for byte if ids are kept, at its time, odd messages too; the marks will be those of the live server's audio."""
    odd = [b"rubbish", b'{ "event" : "connected" }', b"\xff"]
    mark = message("mark", streamSid=SID, mark={"name": "m1"})
    call = a_call(*odd, mark, STOP)
    script = script_of(call.records, keeps_ids=True)
    said = [record for record in call.records if record.dir == "in" and record.wire != mark]
    assert [(cue.at_ns, cue.text) for cue in script.cues] == [(record.t, record.wire) for record in said]
    assert [cue.is_stop for cue in script.cues] == [False] * 6 + [True]
    assert [cue.number_shift for cue in script.cues] == [0] * 6 + [1]
    assert (script.stream_sid, script.hanging) == (SID, None)


def test_ids_are_new_and_consistent():
    """Stream and call get the same new id in every message, another one each time; nothing else changes."""
    call = a_call(message("dtmf", streamSid=SID, dtmf={"digit": "1"}), STOP)
    scripts = [script_of(call.records, keeps_ids=False) for _ in range(2)]
    assert scripts[0].stream_sid != scripts[1].stream_sid
    for script in scripts:
        assert len({SID, script.stream_sid}) == 2
        messages = [json.loads(cue.text) for cue in script.cues]
        assert {one["streamSid"] for one in messages[1:]} == {script.stream_sid}
        assert messages[1]["start"]["callSid"] == messages[-1]["stop"]["callSid"] != "1758000000.4242"
        old = [record.wire for record in call.records if record.dir == "in"]
        assert [len(cue.text) for cue in script.cues] == list(map(len, old))
        assert messages[3]["dtmf"] == {"digit": "1"}


@pytest.mark.parametrize(
    ("more", "hanging"),
    [
        ([STOP], None),
        ([STOP, PeerLost(1000)], None),
        ([PeerLost(1000)], (False,)),
        ([PeerLost(None)], (True,)),
        ([HANG_UP, PeerLost(1000)], None),
        ([], None),
    ],
)
def test_the_end_is_the_platform_s_or_not(more, hanging):
    """Closed or dropped without a stop, as it was; not where it only answered our close."""
    call = a_call(*more)
    found = script_of(call.records, keeps_ids=True).hanging
    assert (found and (found.is_drop,)) == hanging
    if found:
        assert found.at_ns == 400_000_000


@pytest.mark.parametrize("keeps_ids", [True, False])
def test_nothing_said_is_no_script(keeps_ids):
    """A capture of a connection on which nothing came."""
    with pytest.raises(CaptureError, match="holds no message of the platform"):
        script_of(Captured().records, keeps_ids=keeps_ids)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (b'{"event":"media","sequenceNumber":"57"}', b'{"event":"media","sequenceNumber":"55"}'),
        (
            b'{"sequenceNumber": 57 ,"media":{"sequenceNumber":"1"}}',
            b'{"sequenceNumber": 55 ,"media":{"sequenceNumber":"1"}}',
        ),
        (b'{"sequenceNumber":"n/a"}', b'{"sequenceNumber":"n/a"}'),
        (b'{"event":"connected"}', b'{"event":"connected"}'),
        (b"\xff7", b"\xff7"),
    ],
)
def test_sequence_numbers_make_room_for_other_marks(text, new):
    """As a string or as a number; where there is none, none is made."""
    assert renumbered(text, -2) == new


def test_a_start_is_told_from_other_messages():
    """With the stream that it names, or none."""
    call = a_call(STOP)
    assert [started_in(record) for record in call.records if record.dir == "in"] == [None, SID, None, None]
    call = Captured()
    call.say(b'{"event":"start","start":{}}')
    call.say(b"rubbish")
    assert [started_in(record) for record in call.records if record.dir == "in"] == ["", None]
