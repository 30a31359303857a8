"""Whether speech was made for another sample rate, judged from the speech itself. Pure.

Speech that was recorded at 24 kHz and is sent as if it were 8 kHz is three times too slow, and as deep. Three measures know
it, and none of them knows the words: the pitch of the voice, how often loudness rises and falls (syllables), and how
steeply. Each varies from voice to voice less than a wrong rate changes it; together they tell a factor of two. It is
only said where pitch and rhythm agree, so that tones, music and an unusual voice pass.
"""

import audioop
import math
from statistics import fmean, median

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, FRAME_SECONDS, SAMPLE_RATE_HZ, pcm_to_ulaw, ulaw_to_pcm
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.loudness import SPEECH_LEVEL, level
from smartflo_bridge.simulator.rules import Rule

ENOUGH_SECONDS = 3.0
"""Of sound, before anything is said."""

LIMIT_SECONDS = 12.0
"""Of audio that is looked at; more changes nothing, and costs the simulator time."""

LIMIT = 1.68
"""Slower or faster than this is another rate. By `scripts/bench/referee`, of 132 pieces of speech by 26 voices none is off by
more than 1.53; at twice the length 122 are noticed, at three times 131."""

_LONGEST_PAUSE_BYTES = 4000  # half a second
_PITCH_WINDOW = 512  # samples: two periods at 31 Hz
_PITCH_STEP = 400
_LAGS = range(14, 266)  # samples: 571 to 30 Hz
_VOICED = 0.7  # of a window's energy repeats after a period
_ENOUGH_VOICED = 8  # windows
_SLOWEST_HZ, _FASTEST_HZ = 0.7, 20.0  # of the rise and fall of loudness
_SPECTRUM_STEP_HZ = 0.2
_LEAST_STEP = 0.12  # of loudness, from frame to frame: less is a tone or a chord, not speech at any rate
_TREND_FRAMES = 25  # to either side: half a second


class Measures(msgspec.Struct, frozen=True):
    """What was measured of speech, each as a logarithm to base 2: they add where rates multiply."""

    pitch: float
    rhythm: float
    steepness: float


class _Expected(msgspec.Struct, frozen=True):
    mean: float
    weight: float


PITCH = _Expected(7.38, -0.46)
RHYTHM = _Expected(1.65, -0.46)
STEEPNESS = _Expected(-1.16, -0.50)
"""The mean of speech at its right rate, and what a deviation says of the rate: as `scripts/bench/referee` fits them, over its
pieces and those of two more voices."""


class SpeechSample:
    """The first seconds of a call's speech, pauses shortened, to be judged when the call is over."""

    def __init__(self) -> None:
        self._ulaw = bytearray()
        self._quiet_bytes = 0

    def hear(self, ulaw: bytes) -> None:
        """Take a payload."""
        if len(self._ulaw) >= LIMIT_SECONDS * SAMPLE_RATE_HZ:
            return
        self._quiet_bytes = 0 if level(ulaw) >= SPEECH_LEVEL else self._quiet_bytes + len(ulaw)
        if self._quiet_bytes <= _LONGEST_PAUSE_BYTES:
            self._ulaw += ulaw

    def judge(self) -> list[Finding]:
        """Return whether the speech was made for another rate."""
        factor = slowness(bytes(self._ulaw))
        if factor is None:
            return []
        if factor > 1:
            text = f"speech is about {factor:.1f} times too slow and deep: audio of a higher rate sent as 8000 Hz"
        else:
            text = (
                f"speech is about {1 / factor:.1f} times too fast and high: audio resampled from a rate it did not have"
            )
        return [Finding(Rule.WRONG_RATE, text)]


def slowness(ulaw: bytes) -> float | None:
    """Return how many times too slow mu-law speech is (below 1: too fast); None if it is right, or cannot be told."""
    factor = _slowness(ulaw)
    if factor is not None:
        return factor
    # At six times too slow (48 kHz) the pitch is below what a window holds; at half of that it is not.
    halved, _ = audioop.ratecv(ulaw_to_pcm(ulaw), 2, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 2, None)
    factor = _slowness(pcm_to_ulaw(halved))
    return 2 * factor if factor is not None and factor > 1 else None


def _slowness(ulaw: bytes) -> float | None:
    measures = measure(ulaw[: round(LIMIT_SECONDS * SAMPLE_RATE_HZ)])
    if measures is None:
        return None
    pitch, rhythm, steepness = (
        expected.weight * (measured - expected.mean)
        for measured, expected in ((measures.pitch, PITCH), (measures.rhythm, RHYTHM), (measures.steepness, STEEPNESS))
    )
    factor = pitch + rhythm + steepness
    is_agreed = pitch * factor > 0 and rhythm * factor > 0
    return 2.0**factor if is_agreed and abs(factor) > math.log2(LIMIT) else None


def measure(ulaw: bytes) -> Measures | None:
    """Return the measures of speech; None if there is too little of it."""
    pcm = ulaw_to_pcm(ulaw)
    width = 2 * FRAME_BYTES
    loudness = [max(audioop.rms(pcm[at : at + width], 2), 1) for at in range(0, len(pcm) - width + 1, width)]
    if not loudness:
        return None
    floor = max(SPEECH_LEVEL, sorted(loudness)[len(loudness) * 95 // 100] // 10)
    is_loud = [one >= floor for one in loudness]
    if sum(is_loud) * FRAME_SECONDS < ENOUGH_SECONDS:
        return None
    pitches = _pitches(pcm, floor)
    if len(pitches) < _ENOUGH_VOICED:
        return None
    envelope = [math.log(max(one, floor / 3)) for one in loudness]
    step = fmean(abs(b - a) for a, b, loud in zip(envelope, envelope[1:], is_loud[1:], strict=False) if loud)
    if step < _LEAST_STEP:
        return None
    return Measures(math.log2(median(pitches)), _rhythm(envelope), math.log2(step))


def _pitches(pcm: bytes, floor: int) -> list[float]:
    """Return the pitch in Hz of the windows that have one: the shortest lag after which nearly all repeats."""
    found = []
    for start in range(0, len(pcm) - 2 * _PITCH_WINDOW, 2 * _PITCH_STEP):
        window = pcm[start : start + 2 * _PITCH_WINDOW]
        window = audioop.bias(window, 2, -audioop.avg(window, 2))
        if audioop.rms(window, 2) >= floor and (lag := _period(window)):
            found.append(SAMPLE_RATE_HZ / lag)
    return found


def _period(window: bytes) -> int | None:
    repeats = [_similarity(window, lag) for lag in _LAGS]
    best = max(repeats)
    if best < _VOICED:
        return None
    at = next(index for index, one in enumerate(repeats) if one > 0.9 * best)
    while at + 1 < len(repeats) and repeats[at + 1] > repeats[at]:
        at += 1
    return _LAGS[at]


def _similarity(window: bytes, lag: int) -> float:
    """Return the correlation of a window with itself, so many samples later: audioop's dot products, in C."""
    early, late = window[: -2 * lag], window[2 * lag :]
    one, other = audioop.findfactor(late, early), audioop.findfactor(early, late)
    # Where one of the two is silent, the factors are no numbers, and no comparison with them holds.
    return math.sqrt(one * other) if one > 0 and other > 0 else 0.0


def _rhythm(envelope: list[float]) -> float:
    """Return the middle of the spectrum of loudness, in octaves above 1 Hz, its slow trend taken away."""
    detrended = [
        value - fmean(envelope[max(0, at - _TREND_FRAMES) : at + _TREND_FRAMES + 1])
        for at, value in enumerate(envelope)
    ]
    count = len(detrended)
    tapered = [value * (1 - math.cos(2 * math.pi * at / count)) for at, value in enumerate(detrended)]
    weights, total = 0.0, 0.0
    frequency_hz = _SLOWEST_HZ
    while frequency_hz < _FASTEST_HZ:
        turn = 2 * math.pi * frequency_hz * FRAME_SECONDS
        real = sum(value * math.cos(turn * at) for at, value in enumerate(tapered))
        imaginary = sum(value * math.sin(turn * at) for at, value in enumerate(tapered))
        power = real * real + imaginary * imaginary
        weights += power
        total += power * math.log2(frequency_hz)
        frequency_hz += _SPECTRUM_STEP_HZ
    return total / weights if weights else 0.0
