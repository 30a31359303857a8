"""Plain requests: whose one is, and reading one in whatever pieces it comes; compared with the library's own parser."""

from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.streams import StreamReader

from smartflo_bridge.server.plain_http import (
    MAX_LINE_BYTES,
    MAX_REQUEST_BYTES,
    FirstLine,
    PlainRequest,
    RequestReader,
    Whose,
)

LIBRARY, RESOLVER, NOBODY = Whose.LIBRARY, Whose.RESOLVER, Whose.NOBODY
BODY = b'{"callId":"1758000000.4242"}'
POST = (
    b"POST /resolve/secret?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
    b"content-length: 28\r\n\r\n" + BODY
)
READ = PlainRequest("POST", "/resolve/secret?a=b", "application/json", BODY)


def pieces(data, cuts):
    """Cut bytes at these places."""
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


# --- The first line


@pytest.mark.parametrize(
    ("line", "whose"),
    [
        (b"GET /vendor-stream/token HTTP/1.1", LIBRARY),
        (b"GET /resolve HTTP/1.1", RESOLVER),
        (b"GET /resolve/secret?x=y HTTP/1.1", RESOLVER),
        (b"GET /resolve?token=secret HTTP/1.0", RESOLVER),
        (b"POST /resolve HTTP/1.1", RESOLVER),
        (b"POST /resolve/ HTTP/1.1", RESOLVER),
        (b"PUT /resolve HTTP/1.1", RESOLVER),
        (b"GET /resolver HTTP/1.1", LIBRARY),
        (b"GET /x/resolve HTTP/1.1", LIBRARY),
        (b"GET /Resolve HTTP/1.1", LIBRARY),
        (b"POST /vendor-stream HTTP/1.1", NOBODY),
        (b"POST /?x=/resolve HTTP/1.1", NOBODY),
        (b"HEAD / HTTP/1.1", NOBODY),
        (b"OPTIONS * HTTP/1.1", NOBODY),
        (b"POST", LIBRARY),
        (b"post /resolve HTTP/1.1", LIBRARY),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", LIBRARY),
        (b"\x16\x03\x01\x02\x00\x01\x00", LIBRARY),
        (b"", LIBRARY),
        (b" GET /resolve HTTP/1.1", LIBRARY),
    ],
)
def test_a_first_line_says_whose_a_request_is(line, whose):
    """By its method and its path alone; what is no HTTP is left to the library."""
    data = line + b"\r\nHost: x\r\n\r\n"
    assert FirstLine("/resolve").receive(data) == (data, whose)


def test_without_a_resolver_nothing_is_its():
    """A POST is nobody's, a GET the library's, whatever the path."""
    assert FirstLine("").receive(b"GET / HTTP/1.1\r\n")[1] is LIBRARY
    assert FirstLine("").receive(b"POST / HTTP/1.1\r\n")[1] is NOBODY


@given(st.lists(st.integers(0, 200), max_size=8))
def test_a_first_line_may_come_in_pieces(cuts):
    """Nothing is passed on before it is whole, and then all of it."""
    first, passed, said = FirstLine("/resolve"), b"", set()
    for piece in pieces(POST, cuts):
        if said:
            passed += piece
            continue
        data, whose = first.receive(piece)
        passed += data
        said |= {whose} if data else set()
    assert (passed, said) == (POST, {RESOLVER})


def test_a_first_line_without_an_end_is_passed_on():
    """It may be longer than any that we hold, and not longer: the library says 414."""
    first = FirstLine("/resolve")
    assert first.receive(b"GET /" + b"x" * (MAX_LINE_BYTES - 5)) == (b"", NOBODY)
    data, whose = first.receive(b"x")
    assert (len(data), whose) == (MAX_LINE_BYTES + 1, LIBRARY)


# --- A whole request


@given(st.lists(st.integers(0, 200), max_size=8))
def test_a_request_may_come_in_pieces(cuts):
    """The same whole request comes of it, with the last byte and not before."""
    reader = RequestReader()
    *before, last = pieces(POST, cuts)
    assert [reader.receive(piece) for piece in before] == [None] * len(before)
    assert reader.receive(last) == READ


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (b"GET /resolve HTTP/1.1\r\n\r\n", PlainRequest("GET", "/resolve")),
        (b"GET /r?a=b HTTP/1.0\r\nHost: x\r\n\r\n", PlainRequest("GET", "/r?a=b")),
        (b"POST /r HTTP/1.1\r\nContent-Length: 0\r\n\r\n", PlainRequest("POST", "/r")),
        (b"POST /r HTTP/1.1\r\n\r\nmore", PlainRequest("POST", "/r")),
        (b"POST /r HTTP/1.1\r\nContent-Length:3\r\n\r\nabcd", PlainRequest("POST", "/r", body=b"abc")),
        (b"POST /r HTTP/1.1\r\nX:\xff\t\r\nContent-Length: 1 \r\n\r\na", PlainRequest("POST", "/r", body=b"a")),
    ],
)
def test_requests_of_every_form(text, request_):
    """With and without a body; what comes behind is not looked at."""
    assert RequestReader().receive(text) == request_


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /r", 400),
        (b"POST /r HTTP/2", 400),
        (b"POST  /r HTTP/1.1", 400),
        (b"POST /r HTTP/1.1 ", 400),
        (b"POST /\xff HTTP/1.1", 400),
        (b"POST /r HTTP/1.1\r\nno colon", 400),
        (b"POST /r HTTP/1.1\r\nname : value", 400),
        (b"POST /r HTTP/1.1\r\n: value", 400),
        (b"POST /r HTTP/1.1\r\nX: a\r\n folded", 400),
        (b"POST /r HTTP/1.1\r\nX: a\nContent-Length: 1", 400),
        (b"POST /r HTTP/1.1\r\nX: \x00", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: -1", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: +1", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: 1, 1", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: 0x1", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: ", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: 9999999999", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"POST /r HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 2", 400),
        (b"POST /r HTTP/1.1\r\nTransfer-Encoding: chunked", 411),
        (b"POST /r HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: identity", 411),
        (b"POST /r HTTP/1.1\r\nContent-Length: 8193", 413),
        (b"POST /r HTTP/1.1\r\nContent-Length: 999999999", 413),
    ],
)
def test_what_is_no_request(head, status):
    """It is refused as soon as its headers are there: two readings of one request are how requests are smuggled."""
    assert RequestReader().receive(head + b"\r\n\r\n") == HTTPStatus(status)


def test_how_large_a_request_may_be():
    """8 KiB with everything; headers without an end are held no longer than that."""
    head = b"POST /r HTTP/1.1\r\nContent-Length: 8000\r\n\r\n"
    assert isinstance(RequestReader().receive(head + b"x" * 8000), PlainRequest)
    reader = RequestReader()
    assert reader.receive(b"POST /r HTTP/1.1\r\n" + b"X: y\r\n" * 1362) is None
    assert reader.receive(b"X: y\r\n") is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    at_most = MAX_REQUEST_BYTES - len(head)
    for length, kind in ((at_most, PlainRequest), (at_most + 1, HTTPStatus)):
        text = head.replace(b"8000", str(length).encode()) + b"x" * length
        assert isinstance(RequestReader().receive(text), kind)


def test_a_client_that_waits_to_be_told_to_go_on():
    """It is seen once its headers are there, and only if it has something to send."""
    reader = RequestReader()
    assert reader.receive(b"POST /r HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n") is None
    assert not reader.expects_continue
    assert reader.receive(b"\r\n") is None
    assert reader.expects_continue
    assert reader.receive(b"abc") == PlainRequest("POST", "/r", body=b"abc")
    nothing = RequestReader()
    assert nothing.receive(b"POST /r HTTP/1.1\r\nExpect: 100-continue\r\n\r\n") == PlainRequest("POST", "/r")
    assert not nothing.expects_continue


# --- Beside the library's parser


def by_the_library(text):
    """Return what the library reads, or None."""
    reader = StreamReader()
    reader.feed_data(text)
    reader.feed_eof()
    parsing = Request.parse(reader.read_line)
    try:
        next(parsing)
    except StopIteration as parsed:
        return parsed.value
    except Exception:  # noqa: BLE001 - whatever it raises, it reads nothing
        return None
    return None


lines = st.one_of(
    st.sampled_from(
        [b"Host: a", b"X-Y:z", b"Content-Length: 0", b"X: \t a \t", b"Content-Type: a/b; c=d", b" folded", b"a b: c"]
    ),
    st.binary(max_size=20),
    st.from_regex(rb"[A-Za-z-]{1,10}:[ \t]?[\x20-\x7e\x80-\xff]{0,10}", fullmatch=True),
)


@given(
    st.sampled_from([b"GET /r HTTP/1.1", b"POST /r?a=%20 HTTP/1.1", b"GET / HTTP/1.0"]) | st.binary(max_size=30),
    st.lists(lines, max_size=6),
)
@example(b"POST /r?a=%20 HTTP/1.1", [b"Host: a", b"Content-Length: 0", b"Content-Type: a/b; c=d"])
def test_what_we_read_the_library_reads_alike(first, more):
    """Every request that we accept, it accepts, with the same method, target and content type. We are stricter, never laxer."""
    text = b"\r\n".join([first, *more]) + b"\r\n\r\n"
    ours = RequestReader().receive(text)
    if isinstance(ours, PlainRequest) and not ours.body:
        theirs = by_the_library(text)
        assert theirs is not None, text
        assert (ours.method, ours.target) == (theirs.method, theirs.path)
        types = theirs.headers.get_all("Content-Type")
        assert ours.content_type == (types[0].partition(";")[0].strip().lower() if types else "")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_are_an_error(data, cuts):
    """Whatever comes, in whatever pieces: a request, a refusal, or nothing yet."""
    first, reader = FirstLine("/resolve"), RequestReader()
    for piece in pieces(b"POST /resolve HTTP/1.1\r\n" + data, cuts):
        first.receive(piece)
        if reader.receive(piece) is not None:
            break
