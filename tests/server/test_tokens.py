"""Tokens for one call: what one says is read again, and nothing else than what a secret signed is taken for one."""

import string
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from smartflo_bridge.server.tokens import MAX_CALL_ID_BYTES, CallToken, Flaw, check_token, sign_token

SECRET, OTHER = b"s" * 32, b"o" * 32
NOW = 1_800_000_000
ALPHABET = string.ascii_letters + string.digits + "-_"
TOKEN = CallToken(NOW + 120, bytes(range(12)))

call_ids = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=32)
tokens = st.builds(CallToken, st.integers(NOW + 1, 2**40 - 1), st.binary(min_size=12, max_size=12), call_ids)


@given(tokens)
@example(replace(TOKEN, call_id="x" * MAX_CALL_ID_BYTES))
def test_what_is_signed_is_read_again(token):
    """Whole, in characters that stand in a URL as they are."""
    text = sign_token(token, SECRET)
    assert set(text) <= set(ALPHABET)
    assert check_token(text, [SECRET], NOW) == token


def test_a_token_without_a_call_is_short():
    """It has to be dialled by a portal, and read by people."""
    assert len(sign_token(TOKEN, SECRET)) == 46


def test_the_form_does_not_change():
    """Bridges of different releases share secrets during an upgrade. The text was made with openssl and base64."""
    token = CallToken(NOW, bytes(12), "1758000000.4242")
    assert sign_token(token, SECRET) == "AQBrSdIAAAAAAAAAAAAAAAAAMTc1ODAwMDAwMC40MjQy2wu17JX4sDW19LvdEopkAA"


@given(tokens, st.data())
def test_any_bit_that_is_flipped_is_refused(token, data):
    """In the bytes that it stands for, and so everywhere: the version, the expiry, the nonce, the id and the signature."""
    text = sign_token(token, SECRET)
    bits = data.draw(st.integers(0, len(text) * 6 - 1))
    place, bit = divmod(bits, 6)
    flipped = ALPHABET_OF_BASE64[ALPHABET_OF_BASE64.index(text[place]) ^ (1 << bit)]
    assert check_token(text[:place] + flipped + text[place + 1 :], [SECRET], NOW) in (Flaw.FORGED, Flaw.MALFORMED)


ALPHABET_OF_BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


@given(tokens, st.data())
def test_a_text_that_differs_is_refused(token, data):
    """A character more, less or another one, wherever it is and whatever it is."""
    text = sign_token(token, SECRET)
    place = data.draw(st.integers(0, len(text)))
    there = data.draw(st.integers(0, 2))
    other = data.draw(st.text(max_size=2))
    changed = text[:place] + other + text[place + there :]
    assume(changed != text)
    assert check_token(changed, [SECRET], NOW) in (Flaw.FORGED, Flaw.MALFORMED)


@given(st.text(max_size=300) | st.text(ALPHABET, max_size=300))
@example("x" * 100_000)
@example("\ud800" * 46)
@example("ö" * 46)
@example("")
def test_no_text_is_an_error(text):
    """Whatever a stranger offers, the answer is a flaw."""
    assert check_token(text, [SECRET], NOW) in (Flaw.FORGED, Flaw.MALFORMED)


@given(tokens)
def test_the_other_spellings_of_its_bytes_are_refused(token):
    """With padding, with the other alphabet of base64, or with bits set that base64 does not use: one token, one text."""
    text = sign_token(token, SECRET)
    for other in (text + "=", text + "==", text.replace("-", "+"), text.replace("_", "/"), f" {text}", f"{text}\n"):
        assert other == text or check_token(other, [SECRET], NOW) is Flaw.MALFORMED
    last = ALPHABET_OF_BASE64.index(text[-1])
    if len(text) % 4:
        assert check_token(text[:-1] + ALPHABET_OF_BASE64[last ^ 1], [SECRET], NOW) is Flaw.MALFORMED


@given(st.integers(1, 10_000), st.floats(0, 600))
def test_a_token_expires(seconds, leeway):
    """At its second and the leeway, and not before."""
    text = sign_token(replace(TOKEN, expires_at=NOW + seconds), SECRET)
    assert isinstance(check_token(text, [SECRET], NOW + seconds + leeway - 0.001, leeway), CallToken)
    assert check_token(text, [SECRET], NOW + seconds + leeway, leeway) is Flaw.EXPIRED


def test_a_stranger_s_token_does_not_say_that_it_has_expired():
    """Who has no secret learns nothing of the form."""
    text = sign_token(replace(TOKEN, expires_at=1), OTHER)
    assert check_token(text, [SECRET], NOW) is Flaw.FORGED


@pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET], [SECRET]])
def test_any_of_the_secrets_may_have_signed(secrets):
    """So one can be replaced without a gap."""
    assert check_token(sign_token(TOKEN, SECRET), secrets, NOW) == TOKEN


@pytest.mark.parametrize("secrets", [[], [OTHER], [SECRET[:-1]], [SECRET + b"x"], [b""]])
def test_another_secret_did_not_sign(secrets):
    """Nor does one that is almost it, or none at all."""
    assert check_token(sign_token(TOKEN, SECRET), secrets, NOW) is Flaw.FORGED


@pytest.mark.parametrize(
    "token",
    [
        replace(TOKEN, call_id=""),
        replace(TOKEN, call_id="ö" * 65),
        replace(TOKEN, nonce=b"short"),
        replace(TOKEN, expires_at=-1),
        replace(TOKEN, expires_at=2**40),
    ],
)
def test_what_would_not_be_read_again_is_not_signed(token):
    """An id that is empty or too long, another nonce, or a time that has no room."""
    with pytest.raises(ValueError, match=r"^(a call's id|an expiry)"):
        sign_token(token, SECRET)
