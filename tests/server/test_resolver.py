"""The dynamic endpoint: what it answers to whom, and which call a token is bound to."""

import json
import time
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.access import Access
from smartflo_bridge.server.doors import open_doors
from smartflo_bridge.server.plain_http import PlainRequest
from smartflo_bridge.server.resolver import Resolver
from smartflo_bridge.server.tokens import CallToken, check_token

SECRET = "s" * 32
ASKING = "asking-is-allowed"
STREAM = "wss://voice.example.com/vendor-stream"
NAMES = ["callId", "call id", "öä"]


def resolver(call_id_name="callId"):
    """Return a resolver."""
    access = Access("/resolve", [ASKING])
    return Resolver("/resolve", access, STREAM, signer=SECRET.encode(), token_seconds=120.0, call_id_name=call_id_name)


def resolved(request, call_id_name="callId"):
    """Return the token that a request is answered with; the answer has exactly the two members."""
    body = resolver(call_id_name).answer(request)
    assert isinstance(body, bytes), body
    answer = json.loads(body)
    assert list(answer) == ["success", "wss_url"]
    assert answer["success"] is True
    url, _, text = answer["wss_url"].rpartition("/")
    assert url == STREAM
    token = check_token(text, [SECRET.encode()], time.time())
    assert isinstance(token, CallToken)
    assert 118 <= token.expires_at - time.time() <= 121
    return token


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (PlainRequest("GET", f"/resolve/{ASKING}"), None),
        (PlainRequest("POST", f"/resolve/{ASKING}"), None),
        (PlainRequest("POST", f"/resolve?token={ASKING}&callId=1"), None),
        (PlainRequest("GET", "/resolve"), 401),
        (PlainRequest("GET", f"/resolve/{ASKING}x"), 401),
        (PlainRequest("POST", "/resolve", "application/json", json.dumps({"token": ASKING}).encode()), 401),
        (PlainRequest("GET", f"/elsewhere/{ASKING}"), 404),
        (PlainRequest("PUT", f"/resolve/{ASKING}"), 405),
        (PlainRequest("HEAD", f"/resolve/{ASKING}"), 405),
        (PlainRequest("get", f"/resolve/{ASKING}"), 405),
    ],
)
def test_who_is_answered(request_, status):
    """Whoever has the secret, by GET and POST; the body is no place for it."""
    answer = resolver().answer(request_)
    assert isinstance(answer, bytes) if status is None else answer == HTTPStatus(status)


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("method", "query", "content_type", "body"),
    [
        ("GET", "?callId=1758.42&fromNumber=x", "", b""),
        ("POST", "?callId=1758.42", "", b"callId=other"),
        ("POST", "?callId=1758%2E42", "application/json", b'{"callId":"other"}'),
        ("POST", "", "application/json", b'{"fromNumber":"x","callId":"1758.42","n":null,"d":{"callId":1}}'),
        ("POST", "", "application/json", b' {"callId":"1758.42"}\r\n'),
        ("POST", "", "", b'{"callId":"1758.42"}'),
        ("POST", "", FORM, b"fromNumber=x&callId=1758.42"),
        ("POST", "", FORM, b"callId=1758%2E42&callId=other"),
        ("GET", "", "application/json", b'{"callId":"1758.42"}'),
    ],
)
def test_a_token_is_bound_to_the_call(method, query, content_type, body):
    """In all the forms in which the platform may name it: query, JSON, form."""
    assert resolved(PlainRequest(method, f"/resolve/{ASKING}{query}", content_type, body)).call_id == "1758.42"


@pytest.mark.parametrize("number", ["17", "1758000000.4242", "1758000000.10", "1e3"])
def test_an_id_that_is_a_number(number):
    """In JSON it need not be text; it is taken as it is written."""
    assert (
        resolved(PlainRequest("POST", f"/resolve/{ASKING}", "", f'{{"callId": {number} }}'.encode())).call_id == number
    )


def test_a_request_without_the_id_is_told_once(caplog):
    """Else an operator would think that his tokens are bound; a flood of them is one line."""
    asked = resolver()
    for _ in range(100):
        asked.answer(PlainRequest("GET", f"/resolve/{ASKING}?callid=1"))
    assert caplog.messages == ['a token for any call reason="no call id in the request" so_far=1']


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"callId=",
        b"callid=1",
        b"callId=" + b"x" * 129,
        b'{"callId":""}',
        b'{"callId":null}',
        b'{"callId":{"callId":"1"}}',
        b'{"callId":"\xff"}',
        b'{"callId":"1"',
        b'["callId"]',
        b'{"x":' + b"[" * 4000,
        b"\xff\xfe\x00",
    ],
)
def test_without_an_id_the_token_is_for_any_call(body):
    """Whatever is in the body: a call is not lost over what only narrows its token."""
    assert resolved(PlainRequest("POST", f"/resolve/{ASKING}", "application/json", body)).call_id is None


def test_an_id_is_bound_only_where_one_is_configured():
    """By default none is: it is not documented that the platform means the same id by both."""
    assert resolved(PlainRequest("GET", f"/resolve/{ASKING}?callId=1&=2"), call_id_name="").call_id is None


@given(
    st.sampled_from(["", "application/json", FORM]),
    st.binary(max_size=200) | st.builds(lambda text: b"{" + text, st.binary()),
)
def test_no_body_is_an_error(content_type, body):
    """The answer is always there."""
    resolved(PlainRequest("POST", f"/resolve/{ASKING}", content_type, body))


def test_every_token_is_another_one():
    """Also in the same second and for the same call."""
    request = PlainRequest("GET", f"/resolve/{ASKING}?callId=1")
    asked = resolver()
    assert len({asked.answer(request) for _ in range(1000)}) == 1000
    assert asked.resolved == 1000


# --- The configuration


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Keys that go together."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    for name, text in (("asking", ASKING), ("secrets", f"{SECRET}\n{'o' * 32}\n")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    return {
        "resolver_path": "/resolve",
        "resolver_token_file": "asking",
        "token_secret_file": "secrets",
        "public_url": "wss://voice.example.com",
    }


@pytest.mark.parametrize(
    ("public_url", "path", "expected"),
    [
        ("wss://voice.example.com", "/vendor-stream", STREAM),
        ("wss://voice.example.com/", "/vendor-stream", STREAM),
        ("wss://voice.example.com/telephony/in", "/vendor-stream", "wss://voice.example.com/telephony/in"),
        ("wss://voice.example.com:8443", "/v/", "wss://voice.example.com:8443/v"),
        ("ws://[::1]:8000", "/", "ws://[::1]:8000"),
        ("wss://10.0.0.5/x/", "/v", "wss://10.0.0.5/x"),
    ],
)
def test_the_url_is_the_configured_one(keys, tmp_path, public_url, path, expected):
    """With the stream's path where it has none; the newest secret signs."""
    asked = open_doors(Config(**(keys | {"public_url": public_url, "path": path})), tmp_path).resolver
    url, _, text = json.loads(asked.answer(PlainRequest("GET", f"/resolve/{ASKING}")))["wss_url"].rpartition("/")
    assert url == expected
    assert isinstance(check_token(text, [SECRET.encode()], time.time()), CallToken)


@pytest.mark.parametrize("key", ["resolver_token_file", "token_secret_file", "public_url"])
def test_what_it_needs(keys, tmp_path, key):
    """Without it the daemon does not start, and says which key is missing."""
    with pytest.raises(ConfigError, match=f"^{key.replace('_', '-')}: is needed with resolver-path$"):
        open_doors(Config(**(keys | {key: ""})), tmp_path)


@pytest.mark.parametrize(
    "public_url",
    [
        "voice.example.com",
        "https://voice.example.com",
        "wss://",
        "wss://a b",
        "wss://x/?a=b",
        "wss://u:p@x",
        "wss://x\n",
    ],
)
def test_what_is_no_public_url(keys, tmp_path, public_url):
    """Another scheme, a query, a password, blanks: the sentence shows one that would do."""
    with pytest.raises(ConfigError, match=r'^public-url: takes a URL such as "wss://voice\.example\.com", not '):
        open_doors(Config(**(keys | {"public_url": public_url})), tmp_path)


@pytest.mark.parametrize(("path", "resolver_path"), [("/v", "/v"), ("/v", "/v/"), ("/v/stream", "/v"), ("/v", "/")])
def test_a_path_that_would_hide_the_stream_s(keys, tmp_path, path, resolver_path):
    """No call could come in."""
    with pytest.raises(ConfigError, match=r"^resolver-path: .* would hide path"):
        open_doors(Config(**(keys | {"path": path, "resolver_path": resolver_path})), tmp_path)


def test_without_a_path_there_is_none(tmp_path):
    """The default."""
    assert open_doors(Config(), tmp_path).resolver is None
