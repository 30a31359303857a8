"""What holds for every dialect: no message breaks it, whatever a service sends, and it says nothing that is no message."""

import ast
import functools
import inspect
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.agents.dialect import CallFacts, Dialect, Endpoint, HttpRequest, Opening
from smartflo_bridge.agents.events import LegEvent, Transcript
from smartflo_bridge.agents.kinds import KINDS

FACTS = CallFacts("MZ1", "CA1", "AC1", "inbound", "+911", "+912", {"order": "17"})
MOST_MESSAGES = 30_000
ODD = (None, True, 5, "", "///w", [], [5], {}, [{}])


def known_words(name: str) -> list[str]:
    """Return what may be a name or a tag in a service's messages: each word in the source of its dialect."""
    source = inspect.getsource(inspect.getmodule(KINDS[name].dialect))  # type: ignore[arg-type]  # all are classes
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(word)) | ast.AnnAssign(target=ast.Name(id=word)):
                found.add(word)
            case _:
                pass
    words = {word for word in found if re.fullmatch(r"[\w.]{2,60}", word)}
    if 'rename="camel"' in source:
        words = {re.sub("_([a-z])", lambda found: found[1].upper(), word) for word in words}
    return sorted(words)


def messages(name: str) -> Iterator[dict[str, object]]:
    """Return a message of each tag with each member that the dialect knows, of a wrong kind, and with each inside of each."""
    words = known_words(name)
    members = [word for word in words if "." not in word]
    for key in ("type", "event"):
        for tag in words:
            yield {key: tag}
            yield from ({member: odd, key: tag} for member in members for odd in ODD)
            yield from ({outer: {inner: 5}, key: tag} for outer in members for inner in members)


@functools.cache
def settings_of(name: str) -> Any:
    """Return settings with no more keys than they need. They are frozen, and slow to find out about: made once."""
    kind = KINDS[name]
    fields = msgspec.structs.fields(kind.settings)
    needed = {field.name: "wss://example.org/" for field in fields if field.required or field.name == "url"}
    return kind.settings(**needed)


def made(name: str, **opening: Any) -> Dialect:
    """Return a new dialect, with no more keys than it needs."""
    return KINDS[name].dialect(settings_of(name), Opening(FACTS, "a-key", **opening))


@pytest.mark.parametrize("name", KINDS)
def test_no_message_of_a_service_breaks_its_dialect(name):
    """Members of wrong kinds, at two levels, in every message that it knows."""
    # A service of many words has a quarter of a million such messages: then each so-many-th is taken, by an odd number.
    step = 1 + sum(1 for _ in messages(name)) // MOST_MESSAGES // 2 * 2
    for message in islice(messages(name), 0, None, step):
        dialect = made(name)
        for event in dialect.receive(json.dumps(message)):
            assert isinstance(event, get_args(LegEvent)), message


@pytest.mark.parametrize("name", KINDS)
@given(said=st.lists(st.binary(max_size=200) | st.text(max_size=200), max_size=5))
def test_nothing_else_breaks_a_dialect(name, said):
    """Whatever it is; and what the dialect says then are messages."""
    dialect = made(name)
    for message in said:
        for event in dialect.receive(message):
            assert isinstance(event, get_args(LegEvent))
    spoken = [
        *dialect.opening(),
        *dialect.hear(bytes(3200)),
        *dialect.press("#"),
        *dialect.interrupt(),
        *dialect.tell_heard("item", 120),
        *dialect.tell_cleared(120),
        *dialect.reach("mark", was_played=False),
        *dialect.tool_result("call", "{}"),
        *dialect.keep_alive(),
        *dialect.end(),
    ]
    assert all(isinstance(message, str | bytes) for message in spoken)


@pytest.mark.parametrize("name", KINDS)
@given(code=st.none() | st.integers(1000, 4999), reason=st.text(max_size=50).map("\N{SECTION SIGN}{}".format))
def test_no_close_breaks_a_dialect(name, code, reason):
    """Nor is its reason, which may quote anything, repeated."""
    event = made(name).closed(code, reason)
    assert isinstance(event, get_args(LegEvent))
    assert "\N{SECTION SIGN}" not in repr(event)


@pytest.mark.parametrize("name", KINDS)
def test_a_key_is_where_it_belongs(name):
    """In a header, or in what is asked first; never in a message, unless a service has no other place."""
    dialect = made(name, is_first=False, handle="h", said=(Transcript(is_caller=True, text="Hello"),))
    request = dialect.request()
    if request is None:
        endpoint = dialect.endpoint(None)
        assert isinstance(endpoint, Endpoint)
        assert "a-key" not in endpoint.url
    else:
        assert isinstance(request, HttpRequest)
        assert "a-key" not in request.url
    assert not any("a-key" in str(message) for message in dialect.opening())
