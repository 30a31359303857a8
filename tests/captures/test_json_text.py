"""Rewriting values in a message: what is not replaced stays to the byte, and each value is seen with its path."""

import json

from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.captures.json_text import rewrite

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def seen(text):
    """Return what is seen of a message: kind, path and text."""
    found = []

    def see(kind):
        def keep(path, text):
            found.append((kind, "/".join(path), text))
            return text

        return keep

    assert rewrite(text, value=see("value"), bare=see("bare"), name=see("name")) == text
    return found


def values_in(tree, path=()):
    """Return the strings and numbers of a tree, each with its path."""
    match tree:
        case dict():
            return [found for name, member in tree.items() for found in values_in(member, (*path, name))]
        case list():
            return [found for member in tree for found in values_in(member, path)]
        case None | True | False:
            return []
        case _:
            return [("/".join(path), str(tree))]


@given(TREES, st.sampled_from([None, 1]), st.booleans())
def test_every_value_is_seen_where_it_is(tree, indent, ascii_only):
    """However it is written, with whatever inside: names, strings and numbers, each with the members that lead to it."""
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)
    assert [(path, said) for kind, path, said in seen(text) if kind != "name"] == values_in(tree)


@given(st.text('{}[]:,"\\ a1\n-.e', max_size=30))
def test_what_is_no_json_stays_as_it_is(text):
    """Nothing is lost, added or moved, and nothing raises."""
    seen(text)


def test_a_value_is_replaced_in_its_place():
    """The spacing around it, other members of the name, and the order stay."""
    text = '{ "a": "1" ,"b":{"a" : "1", "c":[1, "1"]}, "a":"2"}'
    new = rewrite(text, value=lambda path, said: 'x"y' if path == ("a",) else said)
    assert new == '{ "a": "x\\"y" ,"b":{"a" : "1", "c":[1, "1"]}, "a":"x\\"y"}'


def test_numbers_and_words_that_are_no_json():
    """They are told from strings, and stand without quotes; true, false and null are nobody's."""
    text = '{"a":12,"b":[true,-1.5e3,null],"c":undefined}'
    assert seen(text)[1::2] == [("bare", "a", "12"), ("bare", "b", "-1.5e3"), ("bare", "c", "undefined")]
    assert rewrite(text, value=lambda _, said: said, bare=lambda *_: "0") == '{"a":0,"b":[true,0,null],"c":0}'


def test_a_name_is_replaced_too():
    """It is known by where it stands; its path is that of its object."""
    assert seen('{"a":{"b":"c"}}') == [("name", "", "a"), ("name", "a", "b"), ("value", "a/b", "c")]
    assert rewrite('{"a":1}', value=lambda _, said: said, name=lambda *_: "z") == '{"z":1}'


def test_a_broken_string_is_still_one():
    """Cut or badly escaped: what stands there is seen, and what replaces it stands there, no quote more or less."""
    assert seen('{"a":"b\\qc","d":"e f')[1::2] == [("value", "a", "b\\qc"), ("value", "d", "e f")]
    assert rewrite('{"a":"b\\qc","d":"e f', value=lambda *_: "x") == '{"a":"x","d":"x'
