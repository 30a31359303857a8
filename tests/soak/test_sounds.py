"""The soak's ear: each frame that is lost, repeated, changed or strange is counted, however the audio is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soaking.sounds import SILENT_FRAME, Ear, frame, number_of

from smartflo_bridge.agents.formats import ULAW_8K, FormatJudge
from smartflo_bridge.core.audio import FRAME_BYTES, pcm_to_ulaw, ulaw_to_pcm

CALL = 0xABCDEF


def speech(*numbers: int) -> bytes:
    """Return these frames of the call."""
    return b"".join(frame(CALL, number) for number in numbers)


def counts(audio: bytes) -> dict[str, int]:
    """Return what an ear makes of audio, where it is not nothing."""
    ear = Ear(CALL)
    ear.hear(audio)
    names = ("next", "lost", "repeated", "silent_frames", "foreign_bytes")
    return {name: getattr(ear, name) for name in names if getattr(ear, name)}


def test_a_frame():
    """It has its length, tells its number to its own call, and survives what is done to mu-law at its own rate."""
    made = frame(CALL, 123_456)
    assert len(made) == FRAME_BYTES
    assert number_of(CALL, made) == 123_456
    assert number_of(CALL + 1, made) is None
    assert pcm_to_ulaw(ulaw_to_pcm(made)) == made


def test_a_leg_takes_it_for_speech():
    """Or an agent that says it back would be refused for noise."""
    judge = FormatJudge(ULAW_8K)
    audio = speech(*range(50))
    assert judge.feed(audio) + judge.finish() == audio
    assert judge.format == ULAW_8K


@pytest.mark.parametrize(
    ("audio", "found"),
    [
        (speech(0, 1, 2, 3), {"next": 4}),
        (speech(0, 1, 3, 4), {"next": 5, "lost": 1}),
        (speech(0, 1, 1, 2), {"next": 3, "repeated": 1}),
        (speech(0, 2, 1, 3), {"next": 4, "lost": 1, "repeated": 1}),
        (speech(0) + SILENT_FRAME + speech(1), {"next": 2, "silent_frames": 1}),
        (speech(0) + b"\x30" * 200 + speech(1), {"next": 2, "foreign_bytes": 200}),
        (speech(0) + frame(CALL + 1, 1) + speech(1), {"next": 2, "foreign_bytes": 160}),
    ],
)
def test_what_comes_back(audio, found):
    """Lost, repeated, out of order, silent, strange, another call's."""
    assert counts(audio) == found


@given(st.integers(0, 4 * FRAME_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte(place, change):
    """Whichever it is, that frame is none of ours any more."""
    audio = bytearray(speech(0, 1, 2, 3) + speech(4))
    audio[place] ^= change
    found = counts(bytes(audio))
    assert found["lost"] == 1
    assert found["foreign_bytes"] == FRAME_BYTES
    assert found["next"] == 5


@given(st.lists(st.integers(1, 400), max_size=20))
def test_any_cut(sizes):
    """Pieces of any length are heard alike."""
    audio = speech(0, 1, 2) + SILENT_FRAME + b"\x30" * 77 + speech(4, 3, 5)
    ear = Ear(CALL)
    rest = audio
    for size in sizes:
        ear.hear(rest[:size])
        rest = rest[size:]
    ear.hear(rest)
    assert (ear.next, ear.lost, ear.repeated, ear.silent_frames, ear.foreign_bytes) == (6, 1, 1, 1, 77)
