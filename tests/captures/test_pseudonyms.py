"""Pseudonyms keep the form, tell the same from the different, and nothing else."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from captures.support import form
from smartflo_bridge.captures.pseudonyms import Pseudonyms

KEY = b"sixteen bytes or more"


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_the_form_stays(text):
    """The length, each character's class, and what is neither letter nor digit."""
    assert form(Pseudonyms(KEY).of(text)) == form(text)


@given(st.lists(st.text("aAz09-.", min_size=1, max_size=6), max_size=9, unique=True))
def test_what_differs_stays_different(texts):
    """And is not itself, as long as there is another of the form."""
    pseudonyms = Pseudonyms(KEY)
    assume(all(re.search(r"\w", text) for text in texts))
    new = [pseudonyms.of(text) for text in texts]
    assert len(set(new)) == len(texts)
    assert new == [pseudonyms.of(text) for text in texts]
    assert all(one != other for one, other in zip(new, texts, strict=True))


def test_ten_digits_are_used_up():
    """The eleventh of one digit cannot differ any more; it is given one all the same."""
    pseudonyms = Pseudonyms(KEY)
    assert {pseudonyms.of(str(number)) for number in range(9)} < set("0123456789")
    assert all(len(pseudonyms.of(text)) == 1 for text in "0123456789")


def test_the_kind_of_an_id_stays():
    """Two capitals before hexadecimal digits say only whether it is a stream or an account."""
    assert re.fullmatch("MZ[0-9a-f]{32}", Pseudonyms(KEY).of("MZ" + "0123456789abcdef" * 2))
    assert not Pseudonyms(KEY).of("MZ1").startswith("MZ")


def test_a_number_is_recognised_in_its_forms():
    """With its country, without it, with a zero, and grouped in any way."""
    pseudonyms = Pseudonyms(KEY)
    plain = pseudonyms.number("919812345678")
    for written in ("9812345678", "09812345678", "+91 98123 45678", "+91-981-234-5678"):
        new = pseudonyms.text(written)
        assert re.sub(r"\D", "", new)[-10:] == plain[-10:]
        assert form(new) == form(written)


def test_scrubbing_keeps_words():
    """Ids that are known and telephone numbers go; a year and an amount may stay."""
    pseudonyms = Pseudonyms(KEY)
    new_id = pseudonyms.id("1758000000.4242")
    text = "in 2026 the caller of 1758000000.4242 at (080) 1234-5678 owed 1500"
    new = pseudonyms.scrubbed(text)
    assert form(new) == form(text)
    assert new.startswith("in 2026 the caller of ")
    assert new.endswith(" owed 1500")
    assert new_id in new
    assert "1234-5678" not in new


def test_a_short_id_is_not_looked_for_in_texts():
    """`7` is an id, and part of everything."""
    pseudonyms = Pseudonyms(KEY)
    pseudonyms.id("7")
    assert pseudonyms.scrubbed("7 of 77") == "7 of 77"


def test_what_the_session_adds_to_a_name_stays():
    """The second of a name is `.1`, whatever the name became."""
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.name("to 919812345678.1") == f"{pseudonyms.name('to 919812345678')}.1"
    assert pseudonyms.name("menu 12") == "menu 12"
