"""Tokens for one call: signed, expiring, each with a nonce that makes it single-use. Pure: who calls says what time it is.

A token is base64url, without padding, of: version (1 byte), expiry (5 bytes, seconds since the epoch), nonce (12 bytes), the
call's id if it is bound to one (0 to 128 bytes of UTF-8), and the first 16 bytes of an HMAC-SHA256 over all of that. RFC 2104,
section 5, allows half of the hash. That it is used only once is `used_tokens`' business.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

VERSION = 1
NONCE_BYTES = 12
"""96 bits: at 500 tokens/s two are alike, by chance, within 10**13 years of their short lives."""

MAC_BYTES = 16
MAX_CALL_ID_BYTES = 128
"""Reliability, section 8: `max_id_len`."""

MIN_SECRET_CHARACTERS = 32
"""A secret can be tried offline by whoever has seen a token, so it is longer than one that can only be tried here."""

_EXPIRY_BYTES = 5
_HEAD_BYTES = 1 + _EXPIRY_BYTES + NONCE_BYTES
_MAX_CHARACTERS = -(-(_HEAD_BYTES + MAX_CALL_ID_BYTES + MAC_BYTES) * 4 // 3)


class Flaw(Enum):
    """Why a text is no valid token; the value says it to an operator."""

    MALFORMED = "it does not have the form of a token that this version signs"
    FORGED = "none of the secrets signed it"
    EXPIRED = "it has expired"


@dataclass(frozen=True, slots=True)
class CallToken:
    """What a valid token says.

    Attributes:
        expires_at: seconds since the epoch.
        nonce: 12 bytes that no other token has.
        call_id: of the one call that it is for; None is any.
    """

    expires_at: int
    nonce: bytes
    call_id: str | None = None


def sign_token(token: CallToken, secret: bytes) -> str:
    """Return a token as it stands in a URL: 46 characters, and 4 for every 3 bytes of the call's id.

    Raises:
        ValueError: the id is empty or too long, the nonce has another length, or the expiry is out of range.
    """
    call_id = (token.call_id or "").encode()
    if token.call_id == "" or len(call_id) > MAX_CALL_ID_BYTES or len(token.nonce) != NONCE_BYTES:
        msg = f"a call's id has 1 to {MAX_CALL_ID_BYTES} bytes, and a nonce {NONCE_BYTES}"
        raise ValueError(msg)
    if not 0 <= token.expires_at < 1 << 8 * _EXPIRY_BYTES:
        msg = f"an expiry is in seconds since the epoch, not {token.expires_at}"
        raise ValueError(msg)
    said = bytes([VERSION]) + token.expires_at.to_bytes(_EXPIRY_BYTES, "big") + token.nonce + call_id
    return _encoded(said + _mac(said, secret))


def check_token(text: str, secrets: Sequence[bytes], now: float, leeway_seconds: float = 0.0) -> CallToken | Flaw:
    """Return what a text says if one of the secrets signed it and it has not expired, else why not; never raises.

    Args:
        text: from outside: any characters, of any length.
        secrets: any of which may have signed it.
        now: seconds since the epoch.
        leeway_seconds: how far our clock may be ahead of the signer's.
    """
    raw = _decoded(text)
    if raw is None:
        return Flaw.MALFORMED
    said, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    # All are compared, each in constant time: how long it takes does not tell which secret, or how nearly.
    if not sum(hmac.compare_digest(mac, _mac(said, secret)) for secret in secrets):
        return Flaw.FORGED
    expires_at = int.from_bytes(said[1 : 1 + _EXPIRY_BYTES], "big")
    if now >= expires_at + leeway_seconds:
        return Flaw.EXPIRED
    # We signed it, so it is UTF-8.
    return CallToken(expires_at, said[1 + _EXPIRY_BYTES : _HEAD_BYTES], said[_HEAD_BYTES:].decode() or None)


def _mac(said: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, said, "sha256")[:MAC_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes | None:
    """Return the bytes of a text that can be a token, or None."""
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # another alphabet or length; or not ASCII
        return None
    if not len(raw) >= _HEAD_BYTES + MAC_BYTES or raw[0] != VERSION:
        return None
    # base64 has several spellings of the same bytes, in its last character's unused bits: only ours is the token.
    return raw if _encoded(raw) == text else None
