"""What the referee looks at, where the referee's own tests do not go: the edges of each check."""

import pytest

from simulator.support import FRAME, SILENT, caller_voice, noise, slowed, speech
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.simulator.checks.marks import MarkCheck
from smartflo_bridge.simulator.checks.rate import SpeechSample, slowness
from smartflo_bridge.simulator.checks.sound import SoundCheck
from smartflo_bridge.simulator.checks.stale import continuity
from smartflo_bridge.simulator.rules import Rule


def rules_of_marks(*names: str) -> list[Rule]:
    """Place marks, each echoed at once; `-` is a clear."""
    check, found = MarkCheck(), []
    for name in names:
        if name == "-":
            check.clear()
            continue
        found += [finding.rule for finding in check.place(name)]
        check.echo(name)
    return found


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a", "a"),
        ("m1", "m2", "m3", "-", "m7", "m8"),
        ("w1", "w2", "w3", "w1", "w2", "w3"),
        ("m1", "m2", "m3", "x.4", "m5", "m6"),
        ("7f3a1", "c0ffee2", "9d3", "7f3a9"),
        ("1758000000123", "1758000000456", "1758000000789"),
        ("m1", "m5", "m9", "m2"),
    ],
)
def test_marks_that_are_in_order(names: tuple[str, ...]) -> None:
    """Reused after their echo, with a hole after a clear, begun again, numbered together, or not numbered at all."""
    assert rules_of_marks(*names) == []


def test_a_hole_names_what_is_missing() -> None:
    """All of them, up to ten."""
    check = MarkCheck()
    for number in (1, 2, 3):
        check.place(f"u{number}")
    (finding,) = check.place("u6")
    assert finding.detail == "u6 was placed, and u4, 5 never"


def sound(*payloads: bytes) -> list[Rule]:
    """Judge payloads."""
    check = SoundCheck()
    return [finding.rule for payload in payloads for finding in check.hear(payload)]


def test_speech_and_noise_and_silence_are_sound() -> None:
    """No click, no PCM, no header, in any voice or at any cut."""
    for voice in (speech(20.0), caller_voice(), noise(200), SILENT * 8000, b"\x7f" * 8000):
        for size in (159, 160, 800, 1001):
            assert sound(*(voice[at : at + size] for at in range(0, len(voice), size))) == []


def test_padding_with_zeros_clicks_once_a_run() -> None:
    """Also with 0x80; also at the very beginning; zeros that go on are the same click."""
    assert sound(SILENT * 80 + b"\x00" * 80) == [Rule.CLICK]
    assert sound(SILENT * 80 + b"\x80" * 80) == [Rule.CLICK]
    assert sound(b"\x00" * FRAME, b"\x00" * FRAME, SILENT * FRAME) == [Rule.CLICK]
    assert sound(SILENT * 155 + b"\x00" * 5) == []


def test_a_clipped_voice_does_not_click() -> None:
    """It comes to full scale through loud samples."""
    assert (
        sound((b"\x30\x10\x02" + b"\x00" * 12 + b"\x02\x10\x30\xb0\x90\x82" + b"\x80" * 12 + b"\x82\x90\xb0") * 20)
        == []
    )


@pytest.mark.parametrize("shift", [0, 1])
def test_pcm_is_found_whichever_byte_comes_first(shift: int) -> None:
    """In payloads of even and odd length; its silence is not."""
    pcm = ulaw_to_pcm(speech(2.0))[shift:]
    assert Rule.PCM_AS_ULAW in sound(*(pcm[at : at + 641] for at in range(0, len(pcm), 641)))
    assert Rule.PCM_AS_ULAW not in sound(bytes(16000))


@pytest.mark.parametrize("voice", [speech(12.0), caller_voice() * 2])
def test_the_rate_of_real_voices_is_right(voice: bytes) -> None:
    """A woman's and a man's; and three times too slow it is not."""
    assert slowness(voice) is None
    assert (slowness(slowed(voice, 3)) or 0) > 1.7


@pytest.mark.parametrize("ulaw", [b"", SILENT * 80000, noise(500), bytes([0x10, 0x90]) * 40000, speech(2.0)])
def test_what_is_no_speech_has_no_rate(ulaw: bytes) -> None:
    """Nothing, silence, noise, a tone, or too little of it."""
    assert slowness(ulaw) is None


def test_long_silences_are_left_out_of_the_sample() -> None:
    """A far end that sends silence for a minute is judged by what it says afterwards."""
    sample = SpeechSample()
    slow = slowed(speech(6.0), 3)
    for payload in [SILENT * 800] * 600 + [slow[at : at + 800] for at in range(0, len(slow), 800)]:
        sample.hear(payload)
    assert [finding.rule for finding in sample.judge()] == [Rule.WRONG_RATE]


def test_continuity_needs_sound_on_both_sides() -> None:
    """Silence continues nothing, nor does anything continue a short beginning."""
    voice = speech(4.0)
    assert continuity(voice[:100], voice[100:900]) == 0.0
    assert continuity(voice[:16000], SILENT * 800) == 0.0
    assert continuity(SILENT * 800, voice[8000:8800]) == 0.0
    assert continuity(noise(5), noise(5)) < 0.9
