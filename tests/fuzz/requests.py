"""Fuzz target: a plain request on the call port, cut anywhere, and what the dynamic endpoint answers; and tokens.

Whoever has no secret is told nothing, whatever they write; whoever has is answered in the one form that the platform takes.
A token that is not, character by character, the one that we signed is none.
"""

import json
import re
import time
from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus

from corpus.case import Request, load, text_of
from fuzz.choices import Choices
from server.test_plain_http import by_the_library
from smartflo_bridge.server.access import Access, Verdict
from smartflo_bridge.server.plain_http import FirstLine, PlainRequest, RequestReader, Whose
from smartflo_bridge.server.resolver import Resolver
from smartflo_bridge.server.tokens import CallToken, Flaw, check_token, sign_token
from wire.test_frames import cut

MAX_BYTES = 2048
SIGNER = b"s" * 32
ASKING = "asking-is-allowed"
STREAM = "wss://voice.example.com/vendor-stream"
TOKENS = [
    sign_token(CallToken(1 << 39, bytes(range(12))), SIGNER),
    sign_token(CallToken(1 << 39, bytes(12), "1758000000.4242"), SIGNER),
    sign_token(CallToken(5, bytes(12), "é"), SIGNER),
]
WORDS = [
    *(f"{method} /resolve/{ASKING} HTTP/1.1\r\n" for method in ("GET", "POST", "PUT")),
    *(
        "content-length: ",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Content-Type: application/json",
    ),
    *("\r\n\r\n", '{"callId":"', "callId=", "%00", "%C3%A9", "?token=", f"token={ASKING}", "/vendor-stream/", *TOKENS),
]

_FOR_RESOLVER = re.compile(rb"(?:%s) /resolve(?:[/?][^ \n]*)?(?:[ \n]|\Z)" % "|".join(HTTPMethod).encode())
_access = Access("/vendor-stream", [], [SIGNER.decode()])
_resolver = Resolver(
    "/resolve", Access("/resolve", [ASKING]), STREAM, signer=SIGNER, token_seconds=120.0, call_id_name="callId"
)


def seeds() -> Iterator[bytes]:
    """Yield the corpus' requests and some for the endpoint, uncut and cut; and tokens, with and without an edit."""
    requests: list[Request] = load("A", Request)
    texts = [text_of(request.send) for request in requests]
    for body in ('{"callId":"17.42"}', "callId=17.42&a=b", ""):
        texts += [
            f"{method} /resolve/{ASKING}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            for method in ("GET", "POST")
            for query in ("", "callId=%41", "callId")
        ]
    texts += [
        f"POST /resolve?{query} HTTP/1.1\r\n\r\n" for query in (f"token={ASKING}", f"a=%20&token={ASKING}&a", "token")
    ]
    texts += [f"POST /resolve/{ASKING} HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx"]
    for text in texts:
        yield b"\x00" + text.encode("latin-1", errors="replace")
        yield b"\x02\x00\x09\x00\x40" + text.encode("latin-1", errors="replace")
    for number in range(len(TOKENS)):
        yield bytes([8, number])
        yield bytes([8, number, 20, 0, 65])


def check(data: bytes) -> None:
    """Let the first byte say what follows."""
    choices = Choices(data)
    cuts = choices.below(9)
    if cuts == 8:
        _check_token(choices)
    else:
        places = [choices.below(1 << 16) for _ in range(cuts)]
        _check_request(choices.rest(), places)


def _check_request(text: bytes, cuts: list[int]) -> None:
    pieces = cut(text, cuts)
    whose = _passed(pieces)
    assert whose == _passed([text]), "the cut decides whose a request is"
    assert whose is None or (whose[1] is Whose.RESOLVER) == bool(_FOR_RESOLVER.match(text)), "not whose it is"
    said, rest = _read(pieces)
    at_once, _ = _read([text])
    if not (isinstance(said, HTTPStatus) and isinstance(at_once, HTTPStatus)):
        assert said == at_once, "the cut decides what a request says"
    if isinstance(said, PlainRequest):
        _check_framing(said, text)
        _check_answer(said)
        if said.method == "GET" and not said.body and not rest:
            other = by_the_library(text)
            assert other is None or (other.path, other.method) == (said.target, said.method), (
                "two readings of a request"
            )


def _passed(pieces: list[bytes]) -> tuple[bytes, Whose] | None:
    """Return what came of a first line, with all that belongs behind it; None while it is not whole."""
    first = FirstLine("/resolve")
    for number, piece in enumerate(pieces):
        data, whose = first.receive(piece)
        if data:
            return data + b"".join(pieces[number + 1 :]), whose
    return None


def _read(pieces: list[bytes]) -> tuple[PlainRequest | HTTPStatus | None, bytes]:
    reader = RequestReader()
    for number, piece in enumerate(pieces):
        said = reader.receive(piece)
        if said is not None:
            return said, b"".join(pieces[number + 1 :])
    return None, b""


def _check_framing(request: PlainRequest, text: bytes) -> None:
    """Find the body's length by a reading of our own: once at most, and no other way to say it."""
    head, _, body = text.partition(b"\r\n\r\n")
    head = head.partition(b"\r\n")[2]
    lengths = re.findall(rb"^content-length:[ \t]*(.*?)[ \t]*\r?$", head, re.IGNORECASE | re.MULTILINE)
    assert len(lengths) <= 1, "two lengths"
    assert not re.search(rb"^(transfer-encoding|[^:]*\s):", head, re.IGNORECASE | re.MULTILINE), "another way"
    assert request.body == body[: int(lengths[0]) if lengths else 0]


def _check_answer(request: PlainRequest) -> None:
    answer = _resolver.answer(request)
    has_secret = _has_secret(request.target)
    assert isinstance(answer, bytes) == (has_secret and request.method in ("GET", "POST")), answer
    if isinstance(answer, HTTPStatus):
        assert answer in (401, 404, 405)
        return
    said = json.loads(answer)
    assert list(said) == ["success", "wss_url"]
    assert said["success"] is True
    url, _, text = said["wss_url"].rpartition("/")
    assert url == STREAM
    assert isinstance(check_token(text, [SIGNER], time.time()), CallToken)


def _has_secret(target: str) -> bool:
    """Find the secret by a reading of our own: below the path, or as the first `token` of the query."""
    match = re.fullmatch(r"/resolve(?:/*|/([^?]*))(?:\?(.*))?", target)
    if match is None:
        return False
    if match[1]:
        return _unquoted(match[1]) == ASKING
    offered = next((pair for pair in (match[2] or "").split("&") if re.match(r"token(=|\Z)", pair)), "")
    return _unquoted(offered.removeprefix("token=")) == ASKING


def _unquoted(text: str) -> str:
    return re.sub("%([0-9A-Fa-f]{2})", lambda digits: chr(int(digits[1], 16)), text)


def _check_token(choices: Choices) -> None:
    """Edit a good token at any places, or write one from nothing: only the unchanged one is any good."""
    signed = choices.one_of(TOKENS)
    text = list(signed)
    while choices.are_left and text:
        at = choices.below(len(text))
        text[at : at + choices.below(3)] = choices.one_of(["", chr(choices.below(256)), "=", "é", "/"])
    edited = "".join(text)
    found = check_token(edited, [b"o" * 32, SIGNER], 10.0)
    expected = edited == signed and signed != TOKENS[2]
    assert isinstance(found, CallToken) == expected, edited
    assert edited != TOKENS[2] or found is Flaw.EXPIRED
    verdict = _access.judge(f"/vendor-stream/{edited}")
    assert not isinstance(verdict, CallToken) or signed in _unquoted(edited)
    assert verdict is not Verdict.ADMITTED
