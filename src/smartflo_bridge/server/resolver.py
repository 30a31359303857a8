"""The dynamic endpoint: the platform asks over HTTP, for each call, to which URL it shall connect.

It gets one with a fresh token in it, within 2 s and in exactly the form that it expects, or the call is lost: so nothing
here waits, reads or writes.
"""

import http
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from urllib.parse import unquote_plus, urlsplit

import msgspec

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.log import line
from smartflo_bridge.server.access import Access, Verdict, pairs_of
from smartflo_bridge.server.plain_http import PlainRequest
from smartflo_bridge.server.tokens import MAX_CALL_ID_BYTES, NONCE_BYTES, CallToken, sign_token

_PUBLIC_URL = re.compile(r"wss?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_NUMBER = re.compile(r"-?[0-9.eE+-]+")

TELL_SECONDS = 10.0
"""Between two lines in the log about requests that should name a call and do not."""

_log = logging.getLogger(__name__)


class Answer(msgspec.Struct):
    """What the platform expects: these two, and nothing else."""

    success: bool
    wss_url: str


class Resolver:
    """Answers the platform's questions.

    Args:
        access: to it.
        stream_url: as the platform reaches it; a token is put behind it.
        signer: the secret that signs tokens.
        token_seconds: how long one is valid.
        call_id_name: of the parameter that has the call's id, to which the token is then bound; "" for none.

    Attributes:
        path: that it answers on, without a slash at the end.
        resolved: how many URLs it has given out.
    """

    def __init__(
        self, path: str, access: Access, stream_url: str, *, signer: bytes, token_seconds: float, call_id_name: str = ""
    ) -> None:
        self.path = path
        self._access = access
        self._stream_url = stream_url
        self._signer = signer
        self._token_seconds = token_seconds
        self._call_id_name = call_id_name
        self.resolved = 0
        self._unbound = 0
        self._told_at = -TELL_SECONDS

    def renew(self, tokens: Sequence[str], signer: str) -> None:
        """From now on let in whoever has one of these tokens, and sign with this secret."""
        self._access.renew(tokens)
        self._signer = signer.encode()

    def answer(self, request: PlainRequest) -> bytes | HTTPStatus:
        """Return the JSON that answers a request, or the status that refuses it. What else a request says does not matter."""
        if request.method not in (http.HTTPMethod.GET, http.HTTPMethod.POST):
            return HTTPStatus.METHOD_NOT_ALLOWED
        match self._access.judge(request.target):
            case Verdict.ADMITTED:
                pass
            case Verdict.NOT_FOUND:
                return HTTPStatus.NOT_FOUND
            case _:
                return HTTPStatus.UNAUTHORIZED
        expires_at = round(time.time() + self._token_seconds)
        token = CallToken(expires_at, os.urandom(NONCE_BYTES), self._call_id(request))
        self.resolved += 1
        return msgspec.json.encode(
            Answer(success=True, wss_url=f"{self._stream_url}/{sign_token(token, self._signer)}")
        )

    def _call_id(self, request: PlainRequest) -> str | None:
        """Return the id of the call that is asked about; None if none is wanted, or none is there that could be one."""
        if not self._call_id_name:
            return None
        call_id = next((value for name, value in parameters_of(request) if name == self._call_id_name), "")
        if 0 < len(call_id.encode(errors="replace")) <= MAX_CALL_ID_BYTES:
            return call_id
        self._unbound += 1
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            _log.warning(line("a token for any call", reason="no call id in the request", so_far=self._unbound))
        return None


def parameters_of(request: PlainRequest) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a request: of its query, then of its body, which is a JSON object or a form, or neither."""
    yield from pairs_of(request.target.partition("?")[2])
    body = request.body.strip()
    if body.startswith(b"{"):
        yield from _members(body)
    else:
        for pair in body.decode("latin-1").split("&"):
            name, _, value = pair.partition("=")
            yield unquote_plus(name), unquote_plus(value)


def _members(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        members = _object.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # all that comes out of it; reliability, F9
        return
    for name, raw in members.items():
        said = bytes(raw).decode(errors="replace")
        if _NUMBER.fullmatch(said):  # as it is written: an id such as 1758000000.10 is not to lose its last digit
            yield name, said
            continue
        try:
            yield name, _text.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # of another type, and so no id
            continue


def open_resolver(config: Config, tokens: Sequence[str], signers: Sequence[str]) -> Resolver | None:
    """Return the resolver that the configuration asks for, or None.

    Args:
        config: may ask for one.
        tokens: any of which opens it.
        signers: the first signs.

    Raises:
        ConfigError: a key that it needs is missing or cannot work.
    """
    if not config.resolver_path:
        return None
    for key, value in (
        ("resolver-token-file", config.resolver_token_file),
        ("token-secret-file", config.token_secret_file),
        ("public-url", config.public_url),
    ):
        if not value:
            msg = f"{key}: is needed with resolver-path"
            raise ConfigError(msg)
    path = config.resolver_path.rstrip("/")
    if not path or f"{config.path}/".startswith(f"{path}/"):
        msg = f"resolver-path: {config.resolver_path} would hide path, which is {config.path}: choose another"
        raise ConfigError(msg)
    return Resolver(
        path,
        Access(path, tokens),
        stream_url_of(config),
        signer=signers[0].encode(),
        token_seconds=config.token_seconds,
        call_id_name=config.resolver_call_id,
    )


def stream_url_of(config: Config) -> str:
    """Return the stream's URL as the platform reaches it, without a token: `public-url`, with `path` if it has none.

    Raises:
        ConfigError: it is no URL of a WebSocket.
    """
    if not _PUBLIC_URL.fullmatch(config.public_url):
        msg = f'public-url: takes a URL such as "wss://voice.example.com", not {config.public_url!r}'
        raise ConfigError(msg)
    url = config.public_url.rstrip("/")
    return url if urlsplit(url).path else (url + config.path).rstrip("/")
