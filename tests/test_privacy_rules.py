"""What is taken for private in a log line, and that the ear which hears all tests hears it."""

import base64
import logging

import pytest

from conftest import PrivacyEar
from privacy import private_in


@pytest.mark.parametrize("number", ["919812345601", "+919812345601", "9812345601", "91981234560112"])
def test_a_number_is_private(number: str) -> None:
    """With its prefix and without, as a value, in quotes and in a sentence."""
    assert private_in(f"call started from={number} x") == number
    assert private_in(f'call started from="{number}"') == number
    assert private_in(f"the call of {number}, which failed") == number


def test_a_payload_is_private() -> None:
    """Forty-five bytes of it, and more."""
    payload = base64.b64encode(bytes(range(45))).decode()
    assert payload in str(private_in(f"malformed payload={payload}"))


@pytest.mark.parametrize(
    "line",
    [
        "call ended stream_sid=MZ738a6a2af7f5492c call_sid=1758000000.4242 seconds=0.0 frames_in=225",
        f"call ended stream_sid={'x' * 128} call_sid=1758000000.4242",
        "2026-11-24 13:50:10,833 INFO    listening address=127.0.0.1:35499",
        "a capture is cut file=/var/lib/20261124T135010/9812345601.capture.jsonl",
    ],
)
def test_ids_times_and_files_are_not(line: str) -> None:
    """They are what a log is for."""
    assert private_in(line) is None


def test_what_is_private_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG too, and with the arguments in their places."""
    ear = PrivacyEar()
    logger = logging.getLogger("privacy-rules")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(ear)
    logger.debug("call from %s", "919812345601")
    logger.debug("call from somebody")
    assert ear.heard == ["call from 919812345601"]
