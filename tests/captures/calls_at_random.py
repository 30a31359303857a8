"""Calls that do anything at any time, made by Hypothesis, driven on numbers and captured: for what must hold for all."""

from hypothesis import strategies as st

from captures.support import Captured, media_message
from core.support import OTHER_SID, SID, message, start_message
from smartflo_bridge.core.commands import AwaitRoom, HangUp, Interrupt, MuteRecording, PlaceMark, Play
from smartflo_bridge.core.signals import Drained, HandlerDone, PeerLost, Refused, Undelivered

NUMBER = "919812345678"
NAME = "Ravindranath"
CALL_SID = "1758000000.4242"

STARTS = [
    start_message(**{"from": NUMBER, "to": "+91 80-1234-5678", "callSid": CALL_SID}),
    start_message(
        SID, inner_sid=OTHER_SID, callSid=CALL_SID, customParameters={"name": NAME, "phone": f"call {NUMBER}"}
    ),
    message("start", start={"streamSid": SID, "from": int(NUMBER), "customParameters": f'{{"who":"{NAME}","n":9}}'}),
]
SAID = [
    message("connected"),
    message("dtmf", streamSid=SID, dtmf={"digit": "4"}),
    message("dtmf", streamSid=OTHER_SID, dtmf={"digit": 7}),
    message("transfer", to=NUMBER, name=NAME),
    b'{"event":"media","media":{"payload":"!!!!"}}',
    b'{"event":"dtmf","dtmf":{"digit":"' + NUMBER.encode() + b'"}}',
    b'{"event" : "connected" , "from" : ["' + NAME.encode() + b'", 1e3, null]}',
    b'{"event":"start","from":"' + NUMBER.encode(),
    NAME.encode() + b" was here",
    b"\xff\xfe" + NAME.encode(),
    b'{"event":"connected","x":"\xff"}',
    b"",
]
ENDS = [
    message("stop", streamSid=SID, stop={"callSid": CALL_SID, "reason": f"{NUMBER} hung up"}),
    *(PeerLost(code, f"bye {NUMBER}") for code in (None, 1000, 1011)),
    HandlerDone(),
    HandlerDone(failed=True),
    HangUp(),
    Refused("no"),
    Drained(),
]
AUDIO = st.integers(0, 2000).flatmap(
    lambda size: st.binary(min_size=1, max_size=8).map(lambda some: (some * size)[:size])
)
NAMES = st.sampled_from([None, "a", "a.1", "m1", "goodbye", NUMBER, f"{CALL_SID} b", "x" * 64])

SOMETHING = st.one_of(
    st.floats(0.0001, 0.6),
    st.sampled_from([*STARTS, *SAID]),
    AUDIO.map(media_message),
    st.builds(Play, AUDIO, st.integers(0, 2)),
    st.builds(PlaceMark, st.integers(1, 99), NAMES),
    st.builds(Interrupt, st.integers(1, 99)),
    st.builds(AwaitRoom, st.integers(1, 99)),
    st.builds(MuteRecording, st.booleans()),
    st.builds(Undelivered, st.integers(1, 800), st.sampled_from(["slow_handler", "unread"])),
    NAMES.filter(bool).map(lambda name: message("mark", streamSid=SID, mark={"name": name})),
)


@st.composite
def calls(draw):
    """Return a captured call; it may have begun and may have ended, or not."""
    call = Captured(
        hang_up=draw(st.sampled_from(["close", "end"])),
        send_connected=draw(st.sampled_from(["auto", "always", "never"])),
        mark_slack_seconds=0.5,
    )
    things = draw(st.lists(SOMETHING, max_size=25))
    if draw(st.booleans()):
        things.insert(draw(st.integers(0, min(3, len(things)))), draw(st.sampled_from(STARTS)))
    if draw(st.booleans()):
        things.insert(draw(st.integers(len(things) // 2, len(things))), draw(st.sampled_from(ENDS)))
    for thing in things:
        if isinstance(thing, float):
            call.run(thing)
        elif isinstance(thing, bytes):
            call.say(thing)
        else:
            call.give(thing)
    call.run(draw(st.floats(0, 3)))
    if call.session.is_over:
        call.end()
    return call
