"""Where speech begins and ends: tones with numbers for time, then recordings whose end is known."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorded_speech
from smartflo_bridge.core.audio import SILENCE, pcm_to_ulaw
from smartflo_bridge.core.speech import SpeechDetector, SpeechEdge

needs_recordings = pytest.mark.skipif(
    not recorded_speech.PROMPTS.is_dir(), reason="recordings are not installed (Debian: asterisk-core-sounds-en-wav)"
)
np = recorded_speech.np


def tone(seconds: float, level: int = 6000) -> bytes:
    """Return something as loud as speech: 300 Hz."""
    samples = (round(level * math.sin(2 * math.pi * 300 * n / 8000)) for n in range(round(seconds * 8000)))
    return pcm_to_ulaw(array("h", samples).tobytes())


def hush(seconds: float) -> bytes:
    """Return digital silence."""
    return SILENCE * round(seconds * 8000)


def hiss(seconds: float, dbfs: float, seed: int = 1) -> bytes:
    """Return a line's noise."""
    return recorded_speech.to_ulaw(
        recorded_speech.line_noise(round(seconds * 8000), dbfs, "white", np.random.default_rng(seed))
    )


def near(edge: SpeechEdge, *, is_speech: bool, seconds: float) -> bool:
    """Tell whether an edge is of this kind and within 10 ms of a time."""
    return edge.is_speech is is_speech and abs(edge.position_bytes / 8000 - seconds) <= 0.01


def test_speech_between_silences_has_two_edges() -> None:
    """They lie where the sound begins and ends, not where that was decided."""
    begins, ends = SpeechDetector().feed(hush(1) + tone(0.5) + hush(1))
    assert near(begins, is_speech=True, seconds=1.0)
    assert near(ends, is_speech=False, seconds=1.5)


def test_an_end_is_known_when_the_silence_is_long_enough() -> None:
    """The state follows what was reported."""
    detector = SpeechDetector(min_silence_seconds=0.3)
    assert not detector.is_speech
    assert len(detector.feed(hush(0.5) + tone(0.5))) == 1
    assert detector.is_speech
    assert detector.feed(hush(0.29)) == []
    assert detector.is_speech
    assert len(detector.feed(hush(0.02))) == 1
    assert not detector.is_speech


def test_a_pause_belongs_to_the_speech() -> None:
    """A silence below the minimum has no edges; the same one above it has."""
    audio = hush(0.5) + tone(0.5) + hush(0.3) + tone(0.5) + hush(1)
    assert [edge.is_speech for edge in SpeechDetector().feed(audio)] == [True, False]
    assert [edge.is_speech for edge in SpeechDetector(0.2).feed(audio)] == [True, False, True, False]


def test_pauses_do_not_add_up() -> None:
    """Each begins anew."""
    assert len(SpeechDetector().feed(hush(0.5) + (tone(0.2) + hush(0.3)) * 5 + hush(1))) == 2


def test_speech_may_begin_with_gaps() -> None:
    """A consonant and its release: 30 ms of sound, 20 ms of none, and so on, begin with the first sound."""
    begins, _ = SpeechDetector().feed(hush(1) + (tone(0.03) + hush(0.02)) * 4 + hush(1))
    assert near(begins, is_speech=True, seconds=1.0)


def test_a_click_is_not_speech() -> None:
    """Nor are several, far apart."""
    assert SpeechDetector().feed((hush(0.3) + tone(0.02, level=20_000)) * 5 + hush(1)) == []


def test_speech_from_the_first_sample_is_found() -> None:
    """A hasty caller is not taken for a noisy line."""
    begins, ends = SpeechDetector().feed(tone(1) + hush(1))
    assert near(begins, is_speech=True, seconds=0.0)
    assert near(ends, is_speech=False, seconds=1.0)


@pytest.mark.parametrize("dbfs", [-70, -60, -50, -40, -33])
def test_noise_alone_is_never_speech(dbfs: float) -> None:
    """One minute of it, from the first sample on; beyond -40 dBFS the line has to be heard first."""
    edges = SpeechDetector().feed(hiss(60, dbfs))
    assert [edge for edge in edges if edge.position_bytes > 8000 or dbfs <= -40] == []


def test_a_line_that_becomes_noisy_is_learnt_within_three_seconds() -> None:
    """A step is speech at first, what else; then speech above the new noise has edges again."""
    detector = SpeechDetector()
    detector.feed(hiss(5, -65) + hiss(4, -40))
    assert not detector.is_speech
    begins, ends = detector.feed(tone(0.5) + hiss(1, -40, seed=2))
    assert near(begins, is_speech=True, seconds=9.0)
    assert near(ends, is_speech=False, seconds=9.5)


def test_a_quiet_caller_has_the_same_edges() -> None:
    """15 dB less of everything changes nothing."""
    loud = SpeechDetector().feed(hush(1) + tone(0.7, 8000) + hush(1))
    assert SpeechDetector().feed(hush(1) + tone(0.7, 1400) + hush(1)) == loud


@given(st.lists(st.integers(0, 700), max_size=60), st.integers(0, 2**32 - 1))
def test_the_cut_of_the_audio_changes_nothing(sizes: list[int], seed: int) -> None:
    """Any chunks, empty ones too, give the edges of the whole."""
    audio = hiss(0.5, -50, seed) + tone(0.4) + hiss(0.25, -45, seed) + tone(0.2, 900) + hiss(1, -50, seed)
    whole, cut = SpeechDetector(), SpeechDetector()
    edges, at = [], 0
    for size in sizes:
        edges += cut.feed(audio[at : at + size])
        at += size
    edges += cut.feed(audio[at:])
    assert edges == whole.feed(audio)
    assert cut.is_speech == whole.is_speech
    assert cut.position_bytes == whole.position_bytes == len(audio) // 80 * 80


@needs_recordings
@pytest.mark.parametrize(
    ("dbfs", "colour", "within_20_ms", "median_ms"),
    [
        (None, "none", 1.0, 4),
        (-60, "white", 1.0, 4),
        (-60, "hum", 1.0, 4),
        (-50, "white", 0.97, 5),
        (-50, "pink", 0.95, 5),
        (-45, "white", 0.95, 5),
        (-40, "white", 0.82, 9),
        (-40, "pink", 0.68, 12),
    ],
)
def test_the_end_of_recorded_speech_is_found(
    dbfs: float | None, colour: str, within_20_ms: float, median_ms: float
) -> None:
    """On an ordinary line always; what drowns in a loud line's noise is missed with it. `scripts/bench/speech` has more."""
    rng = np.random.default_rng(7)
    errors = []
    for samples in recorded_speech.prompts().values():
        heard = np.concatenate([np.zeros(8000), samples, np.zeros(6000)])
        ulaw = recorded_speech.to_ulaw(heard + recorded_speech.line_noise(len(heard), dbfs, colour, rng))
        ends = [edge.position_bytes for edge in SpeechDetector().feed(ulaw) if not edge.is_speech]
        errors.append(abs(ends[-1] - 8000 - len(samples)) / 8 if ends else math.inf)
    assert len(errors) > 500
    assert sum(error <= 20 for error in errors) / len(errors) >= within_20_ms
    assert np.median(errors) <= median_ms
