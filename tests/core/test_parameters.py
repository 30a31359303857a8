"""The custom parameters: every form in which the platform hands them over, and every size in which a stranger can."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.support import start_message
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import StartEvent, parse_incoming_event
from smartflo_bridge.core.parameters import MAX_PARAMETER_BYTES, MAX_PARAMETERS, flatten_parameters

FORMS: dict[str, tuple[Any, dict[str, str]]] = {
    "null": (None, {}),
    "an empty object": ({}, {}),
    "an object": ({"a": "1", "b": "two"}, {"a": "1", "b": "two"}),
    "a string of JSON": ('{"a":"1","b":2}', {"a": "1", "b": "2"}),
    "a string of JSON, with space before": (' \n{"a":"1"}', {"a": "1"}),
    "a string of an empty object": ("{}", {}),
    "a plain string": ("hello", {"custom_identifier": "hello"}),
    "a string that is a pair": ("lang:hi", {"custom_identifier": "lang:hi", "lang": "hi"}),
    "a string that only looks like JSON": ('{"a":', {"custom_identifier": '{"a":'}),
    "a string of an array": ("[1]", {"custom_identifier": "[1]"}),
    "an object holding a string of JSON": (
        {"custom_identifier": '{"a":"1","b":[2]}'},
        {"custom_identifier": '{"a":"1","b":[2]}', "a": "1", "b": "[2]"},
    ),
    "a value that is a pair": ({"custom_identifier": "lang:hi"}, {"custom_identifier": "lang:hi", "lang": "hi"}),
    "a pair with space": ({"x": "lang: hi there"}, {"x": "lang: hi there", "lang": "hi there"}),
    "a pair with two colons": ({"x": "url:http://a"}, {"x": "url:http://a", "url": "http://a"}),
    "a pair of lines": ({"x": "a:1\n2"}, {"x": "a:1\n2", "a": "1\n2"}),
    "a URL is no pair": ({"x": "https://a.example/b"}, {"x": "https://a.example/b"}),
    "a time of day is no pair": ({"x": "10:30"}, {"x": "10:30"}),
    "a name with a space is no pair": ({"x": "two words:1"}, {"x": "two words:1"}),
    "a pair without a value is no pair": ({"x": "lang:"}, {"x": "lang:"}),
    "what is given outright wins": ({"a": "b:1", "b": "2"}, {"a": "b:1", "b": "2"}),
    "what is given outright wins, before it too": ({"b": "2", "a": '{"b":"1"}'}, {"b": "2", "a": '{"b":"1"}'}),
    "other values": (
        {"n": 1, "f": 1.5, "t": True, "z": None, "l": [1, "a"], "o": {"k": "v"}},
        {"n": "1", "f": "1.5", "t": "true", "z": "null", "l": '[1,"a"]', "o": '{"k":"v"}'},
    ),
    "a huge number": ({"n": 10**400}, {"n": "1" + "0" * 400}),
    "an array": ([{"a": "1"}], {}),
    "a number": (5, {}),
    "a boolean": (True, {}),
    "not ASCII": ({"नाम": "अ"}, {"नाम": "अ"}),
    "control characters": ({"x": "\x00\x1b[31m"}, {"x": "\x00\x1b[31m"}),
}


@pytest.mark.parametrize(("value", "flat"), FORMS.values(), ids=FORMS.keys())
def test_every_form_becomes_a_flat_dict(value: object, flat: dict[str, str]):
    """Each form that has been seen, or could be, gives names with string values."""
    event = parse_incoming_event(start_message(customParameters=value))
    assert isinstance(event, StartEvent)
    assert event.custom_parameters == flatten_parameters(value) == flat


def test_absent_parameters_are_none():
    """A start that does not mention them has none."""
    event = parse_incoming_event(start_message())
    assert isinstance(event, StartEvent)
    assert event.custom_parameters == {}


def size(parameters: dict[str, str]) -> int:
    """Count the bytes of names and values."""
    return sum(len(name.encode()) + len(text.encode()) for name, text in parameters.items())


def test_no_more_than_64_parameters():
    """The first 64 are kept, the call goes on."""
    many = {f"n{number}": "v" for number in range(100_000)}
    assert flatten_parameters(many) == dict(list(many.items())[:MAX_PARAMETERS])
    assert MAX_PARAMETERS == 64


@pytest.mark.parametrize(("length", "fits"), [(8 * 1024 - 1, True), (8 * 1024, False)])
def test_no_more_than_8_kib(length: int, fits: bool):
    """8 KiB of names and values fit exactly; one byte more is left out."""
    assert MAX_PARAMETER_BYTES == 8 * 1024
    assert flatten_parameters({"n": "v" * length}) == ({"n": "v" * length} if fits else {})


def test_the_bound_counts_bytes():
    """A letter of another script counts as what it takes: 3 bytes."""
    assert size(flatten_parameters({f"n{number}": "अ" * 1000 for number in range(9)})) <= MAX_PARAMETER_BYTES


def test_one_that_does_not_fit_leaves_the_others():
    """What does not fit is left out; what does is kept, in front of it and behind it."""
    assert flatten_parameters({"a": "1", "huge": "x" * 9_000, "b": "2"}) == {"a": "1", "b": "2"}


def test_what_is_found_inside_crowds_nothing_out():
    """What is given outright wins: seventy members inside a string do not push it out."""
    inside = json.dumps({f"n{number}": "v" for number in range(70)})
    flat = flatten_parameters({"custom_identifier": inside, "lang": "hi"})
    assert flat["lang"] == "hi"
    assert len(flat) == MAX_PARAMETERS


@pytest.mark.parametrize("depth", [10, 500, *range(860, 1_010, 10), 4_000, 9_000])
def test_deep_nesting_is_read_or_refused(depth: int):
    """Nesting that the parser let pass does not fail a handler, which reads it from deeper in the stack."""
    nested = "[" * depth + "]" * depth
    for parameters in (f'{{"n":{nested}}}', json.dumps(f'{{"n":{nested}}}')):
        text = f'{{"event":"start","start":{{"customParameters":{parameters}}}}}'
        try:
            event = parse_incoming_event(text)
        except ProtocolError:
            continue  # nested too deeply already for the parser
        assert isinstance(event, StartEvent)
        assert set(deeper(150, event)) <= {"n", "custom_identifier"}


def deeper(levels: int, event: StartEvent) -> dict[str, str]:
    """Read the parameters so many calls further down."""
    return deeper(levels - 1, event) if levels else event.custom_parameters


texts = st.text(max_size=12) | st.sampled_from(
    ["a:1", "b: 2", '{"a":"3"}', '{"a":{"b":1}}', "{}", "{", "c:" + "x" * 3000]
)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.sampled_from("abcdef") | st.text(max_size=5), values) | texts)
def test_any_parameters_are_bounded_strings(value: object):
    """Whatever is given: strings, within the bounds; outright ones as they are; the same each time."""
    flat = flatten_parameters(value)
    assert all(isinstance(text, str) for text in flat.values())
    assert len(flat) <= MAX_PARAMETERS
    assert size(flat) <= MAX_PARAMETER_BYTES
    assert flatten_parameters(value) == flat
    if isinstance(value, dict):
        assert all(value[name] == text for name, text in flat.items() if isinstance(value.get(name), str))
