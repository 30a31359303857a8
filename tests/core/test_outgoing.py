"""Our messages, byte by byte as in the protocol page, and the builder that makes them by hand."""

import base64
import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.support import CALL_SID, SID
from smartflo_bridge.core import outgoing
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.outgoing import EventBuilder, encode_outgoing_event

FRAME = bytes(range(160))
FRAME_BASE64 = base64.b64encode(FRAME).decode()

EXAMPLES = {
    b'{"event":"connected"}': outgoing.ConnectedEvent(),
    b'{"event":"media","streamSid":"MZ0a1","media":{"payload":"' + FRAME_BASE64.encode() + b'","chunk":1}}': (
        outgoing.MediaEvent(SID, outgoing.Media(FRAME, 1))
    ),
    b'{"event":"mark","streamSid":"MZ0a1","mark":{"name":"u3.e1"}}': outgoing.MarkEvent(SID, outgoing.Mark("u3.e1")),
    b'{"event":"clear","streamSid":"MZ0a1"}': outgoing.ClearEvent(SID),
    b'{"event":"end","streamSid":"MZ0a1","call_sid":"1758000000.4242"}': outgoing.EndEvent(SID, CALL_SID),
}


@pytest.mark.parametrize(("text", "event"), EXAMPLES.items(), ids=["connected", "media", "mark", "clear", "end"])
def test_the_bytes_of_the_protocol_page(text: bytes, event: outgoing.OutgoingEvent):
    """Each event is encoded exactly as in the example: member order, no spaces, `call_sid` in snake case."""
    assert encode_outgoing_event(event) == text


@pytest.mark.parametrize(("frames", "characters"), [(1, 216), (2, 428), (5, 1068), (10, 2136), (25, 5336)])
def test_payload_sizes(frames: int, characters: int):
    """A payload takes the base64 characters of the table in section 3."""
    text = encode_outgoing_event(outgoing.MediaEvent(SID, outgoing.Media(b"\xff" * 160 * frames, 1)))
    assert len(json.loads(text)["media"]["payload"]) == characters


@given(
    ulaw=st.binary(min_size=1, max_size=500),
    chunk=st.integers(1, 2**53),
    sid=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
)
def test_any_media_can_be_read_by_others(ulaw: bytes, chunk: int, sid: str):
    """Another JSON and base64 reads what was said, whatever characters are in the id."""
    read = json.loads(encode_outgoing_event(outgoing.MediaEvent(sid, outgoing.Media(ulaw, chunk))))
    assert read == {
        "event": "media",
        "streamSid": sid,
        "media": {"payload": base64.b64encode(ulaw).decode(), "chunk": chunk},
    }


@pytest.mark.parametrize(
    ("builder", "event"),
    [
        (EventBuilder().type("connected"), outgoing.ConnectedEvent()),
        (EventBuilder().type("media").sid(SID).sequence(1).payload(payload=FRAME), outgoing.MediaEvent(SID, outgoing.Media(FRAME, 1))),
        (EventBuilder().payload(FRAME_BASE64).sequence(7).sid(SID).type("media"), outgoing.MediaEvent(SID, outgoing.Media(FRAME, 7))),
        (EventBuilder().type("mark").sid(SID).name("u3.e1"), outgoing.MarkEvent(SID, outgoing.Mark("u3.e1"))),
        (EventBuilder().type("clear").sid(SID), outgoing.ClearEvent(SID)),
        (EventBuilder().type("end").sid(SID).call_sid(CALL_SID), outgoing.EndEvent(SID, CALL_SID)),
    ],
    ids=["connected", "media", "media from base64, in another order", "mark", "clear", "end"],
)  # fmt: skip
def test_the_builder_builds_each_event(builder: EventBuilder, event: outgoing.OutgoingEvent):
    """Each type is built from its members, in any order, and as often as one likes."""
    assert builder.build() == builder.build() == event


def test_the_last_word_counts():
    """A member or type given twice is the one given last."""
    builder = EventBuilder().type("mark").type("clear").sid("other").sid(SID)
    assert builder.build() == outgoing.ClearEvent(SID)


@pytest.mark.parametrize("name", [None, "", "stop", "Media", "start"])
def test_an_unknown_type_is_refused(name: str | None):
    """The error says which types there are."""
    builder = EventBuilder() if name is None else EventBuilder().type(name)
    with pytest.raises(ValueError, match="connected, media, mark, clear, end"):
        builder.build()


SETTERS: dict[str, Callable[[EventBuilder], EventBuilder]] = {
    "stream_sid": lambda builder: builder.sid(SID),
    "call_sid": lambda builder: builder.call_sid(CALL_SID),
    "chunk": lambda builder: builder.sequence(1),
    "payload": lambda builder: builder.payload(FRAME),
    "name": lambda builder: builder.name("m1"),
}
MEMBERS: dict[str, set[str]] = {
    "connected": set(),
    "media": {"stream_sid", "chunk", "payload"},
    "mark": {"stream_sid", "name"},
    "clear": {"stream_sid"},
    "end": {"stream_sid", "call_sid"},
}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("changed", SETTERS)
def test_a_member_missing_or_too_many_is_refused(kind: str, changed: str):
    """Without one of its members, or with one that it does not have, an event is not built; the error names both sides."""
    builder = EventBuilder().type(kind)
    for member in MEMBERS[kind] ^ {changed}:
        SETTERS[member](builder)
    with pytest.raises(ValueError, match=f"^{kind} takes ") as caught:
        builder.build()
    wanted, given_members = (set(side.split(", ")) for side in str(caught.value).split(" takes ")[1].split("; given: "))
    method = {"stream_sid": "sid", "chunk": "sequence"}.get(changed, changed)
    assert (method in wanted) is (changed in MEMBERS[kind])
    assert (method in given_members) is (changed not in MEMBERS[kind])


@pytest.mark.parametrize("size", [0, 1, 159, 161, 319, 801])
def test_a_payload_with_gaps_is_refused(size: int):
    """What is not n x 160 bytes, or empty, is refused where it is given, as bytes and as base64."""
    for payload in (bytes(size), base64.b64encode(bytes(size)).decode()):
        with pytest.raises(ValueError, match=f"has {size}$"):
            EventBuilder().type("media").payload(payload)


@pytest.mark.parametrize("payload", ["!!!!", FRAME_BASE64 + "\n", FRAME_BASE64[:-1], FRAME_BASE64 + "="])
def test_a_payload_of_defective_base64_is_refused(payload: str):
    """A str is strict base64, or it is refused."""
    with pytest.raises(ProtocolError):
        EventBuilder().payload(payload)


@pytest.mark.parametrize("event", EXAMPLES.values())
def test_events_are_values(event: outgoing.OutgoingEvent):
    """An event cannot be changed once it is said."""
    with pytest.raises(AttributeError):
        event.stream_sid = "other"  # type: ignore[misc, union-attr]


def test_every_event_of_ours_is_told_apart():
    """The tags make a union that a reader, such as a capture's, decodes again."""
    decoder = msgspec.json.Decoder(outgoing.OutgoingEvent)
    assert [decoder.decode(text) for text in EXAMPLES] == list(EXAMPLES.values())
