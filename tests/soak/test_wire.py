"""The soak's WebSockets by hand, against the library's: what one writes the other reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking import messages, wire
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import MediaEvent, StartEvent, StopEvent, parse_incoming_event

KEY = b"\x01\x80\xfe\x42"
SIZES = [0, 1, 125, 126, 1100, 65_535, 65_536]


@pytest.mark.parametrize("size", SIZES)
def test_a_clients_message_is_what_the_library_reads(size):
    """Masked, whatever the length of its length."""
    server = ServerProtocol(max_size=None)
    server.receive_data(wire.request(8000, "/vendor-stream"))
    request = server.events_received()[0]
    server.send_response(server.accept(request))
    server.receive_data(wire.message(wire.TEXT, b"x" * size, KEY))
    assert server.events_received() == [Frame(Opcode.TEXT, b"x" * size)]
    assert wire.refusal(b"".join(server.data_to_send())) is None


@pytest.mark.parametrize("size", SIZES)
def test_a_servers_message_is_what_the_library_reads(size):
    """And its answer to the handshake is one that the library takes."""
    client = ClientProtocol(parse_uri("ws://127.0.0.1:1/"), max_size=None)
    client.send_request(client.connect())
    head = b"".join(client.data_to_send())
    reader = wire.Reader()
    assert reader.feed(head) == []
    client.receive_data(wire.response(reader.head) + wire.message(wire.BINARY, b"x" * size))
    assert client.handshake_exc is None
    assert client.events_received()[1:] == [Frame(Opcode.BINARY, b"x" * size)]


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50), st.booleans())
def test_any_cut(payloads, size, is_masked):
    """What comes in pieces is read alike, from a client and from a server."""
    data = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    data += b"".join(wire.message(wire.TEXT, payload, KEY if is_masked else b"") for payload in payloads)
    reader = wire.Reader()
    read = [message for at in range(0, len(data), size) for message in reader.feed(data[at : at + size])]
    assert read == [(wire.TEXT, payload) for payload in payloads]


def test_a_refusal_is_told():
    """With the server's words; an answer to another key is none."""
    assert wire.refusal(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1") == "HTTP/1.1 503 Service Unavailable"
    assert wire.refusal(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x") is not None


def test_the_messages_are_those_of_a_platform():
    """The daemon's parser takes each as what it is meant to be, and none of the bad ones."""
    start = parse_incoming_event(messages.start("MZ1", "c1"))
    assert isinstance(start, StartEvent)
    media = parse_incoming_event(messages.media("MZ1", 1, 0, b"\x30" * 160))
    assert isinstance(media, MediaEvent)
    assert media.media.payload == b"\x30" * 160
    assert isinstance(parse_incoming_event(messages.stop("MZ1", 9)), StopEvent)
    for bad in messages.bad_messages("MZ1"):
        with pytest.raises(ProtocolError):
            parse_incoming_event(bad)
    assert messages.audio_of(messages.media("MZ1", 1, 0, b"\x30" * 160)) == b"\x30" * 160
    assert messages.audio_of(b'{"event":"clear"}') == b""
