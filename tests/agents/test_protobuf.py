"""The wire format of Protocol Buffers, as much of it as a leg needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.agents.protobuf import bytes_field, fields, number_field

NUMBERS = st.integers(1, 2**29 - 1)


@given(st.lists(st.tuples(NUMBERS, st.one_of(st.binary(max_size=300), st.integers(0, 2**64 - 1)))))
def test_what_is_written_is_read(written):
    """Whatever the numbers, lengths and values are."""
    message = b"".join(
        bytes_field(number, value) if isinstance(value, bytes) else number_field(number, value)
        for number, value in written
    )
    assert list(fields(message)) == written


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (bytes.fromhex("089601"), [(1, 150)]),
        (bytes.fromhex("120774657374696e67"), [(2, b"testing")]),
        (bytes.fromhex("0d01020304") + bytes.fromhex("11") + bytes(8), [(1, bytes([1, 2, 3, 4])), (2, bytes(8))]),
        (bytes.fromhex("08ffffffffffffffffff01"), [(1, 2**64 - 1)]),
        (b"", []),
    ],
)
def test_the_documentation_s_own_examples(message, expected):
    """And what we never write: fields of fixed width, and the largest number."""
    assert list(fields(message)) == expected


@pytest.mark.parametrize(
    "message",
    ["08", "0880", "1205616263", "12", "0b", "0c", "0e", "0f", "00", "0d0102", "08" + "ff" * 11, "12ffffffff0f"],
)
def test_what_is_no_message_is_named(message):
    """A field that does not end, is longer than the message, or of a kind that there is not."""
    with pytest.raises(ValueError, match=r"a field|a number"):
        list(fields(bytes.fromhex(message)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message):
    """With nothing else than a `ValueError`, and never more than there is."""
    try:
        found = list(fields(message))
    except ValueError:
        return
    assert sum(len(value) for _, value in found if isinstance(value, bytes)) <= len(message)
