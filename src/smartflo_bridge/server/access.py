"""Who may come in: by a secret in the URL, because the platform has no other way to authenticate itself.

It stands in the path (`/vendor-stream/TOKEN`) or the query (`?token=TOKEN`). It is a static token, which comes from a file,
or one for a single call, which we signed (`tokens`). None is ever in the configuration, a log line, an error or a response.
"""

import hmac
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import ip_address
from urllib.parse import unquote

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.tokens import CallToken, Flaw, check_token
from smartflo_bridge.server.used_tokens import Use, UsedTokens


class Verdict(Enum):
    """What becomes of a request for a path."""

    ADMITTED = "admitted"
    NOT_FOUND = "not found"
    UNAUTHORISED = "unauthorised"
    UNKNOWN = "unknown"  # whether its token was used before


class Access:
    """Judges request targets.

    Args:
        path: of what is guarded.
        tokens: static ones, any of which opens it.
        signers: secrets, any of which may have signed a token for a single call. With neither, anybody may come in.
        leeway_seconds: how far our clock may be ahead of the signer's.
        used_tokens: remembers which tokens of calls were used.
    """

    def __init__(
        self,
        path: str,
        tokens: Sequence[str],
        signers: Sequence[str] = (),
        leeway_seconds: float = 0.0,
        used_tokens: UsedTokens | None = None,
    ) -> None:
        self._path = path.rstrip("/")
        self._leeway_seconds = leeway_seconds
        self._used_tokens = used_tokens
        self.renew(tokens, signers)

    def renew(self, tokens: Sequence[str], signers: Sequence[str] = ()) -> None:
        """From now on judge by these; who is in stays."""
        self._tokens = [token.encode() for token in tokens]
        self._signers = [secret.encode() for secret in signers]

    @property
    def is_open(self) -> bool:
        """True if no token is needed."""
        return not self._tokens and not self._signers

    def judge(self, target: str) -> Verdict | CallToken:
        """Judge a request target, such as `/vendor-stream?token=...`; a call's token is returned, for `use` to decide."""
        offered = token_in(target, self._path)
        if offered is None or (self.is_open and not _is_path(target, self._path)):
            return Verdict.NOT_FOUND
        if self.is_open or self._is_known(offered.encode()):
            return Verdict.ADMITTED
        token = check_token(offered, self._signers, time.time(), self._leeway_seconds)
        return Verdict.UNAUTHORISED if isinstance(token, Flaw) else token

    def use(self, token: CallToken) -> Verdict:
        """Use a call's token up, and judge it."""
        match self._used_tokens.spend(token) if self._used_tokens else Use.UNKNOWN:
            case Use.FIRST:
                return Verdict.ADMITTED
            case Use.REPEATED:
                return Verdict.UNAUTHORISED
            case Use.UNKNOWN:
                return Verdict.UNKNOWN

    def _is_known(self, offered: bytes) -> bool:
        # All are compared, each in constant time: how long it takes tells nothing.
        return sum(hmac.compare_digest(offered, token) for token in self._tokens) > 0


def token_in(target: str, path: str) -> str | None:
    """Return what stands in a target where a token would, "" if nothing does; None if the target is not below the path."""
    if _is_path(target, path):
        return next((value for name, value in pairs_of(target.partition("?")[2]) if name == "token"), "")
    before_query = target.partition("?")[0]
    stem = f"{path.rstrip('/')}/"
    return unquote(before_query[len(stem) :]) if before_query.startswith(stem) else None


def _is_path(target: str, path: str) -> bool:
    return target.partition("?")[0].rstrip("/") == path.rstrip("/")


def pairs_of(query: str) -> Iterator[tuple[str, str]]:
    """Split a query; a plus is a plus, as in a token of base64, not a form's space."""
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield name, unquote(value)


def refuse_exposure(access: Access, config: Config, host: str) -> None:
    """Refuse to listen where others can reach us without a token, unless the operator said so.

    Args:
        access: who may come in.
        config: what the operator said.
        host: the address that is, or will be, listened on; a socket may be inherited from somebody who chose another.

    Raises:
        ConfigError: anybody could come in.
    """
    if not access.is_open or config.allow_unauthenticated or _is_loopback(host):
        return
    msg = (
        f"host: {host} can be reached from other machines, and anybody who finds it could use it: "
        "set token-file or token-secret-file, or allow-unauthenticated = true where something in front keeps strangers out"
    )
    raise ConfigError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
