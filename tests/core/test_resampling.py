"""The resampler: what it lets through, what it keeps out, how late it is, and that cuts in the input never show."""

from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartflo_bridge.core.resampling import Resampler

FASTER_RATES_HZ = [11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
RATE_PAIRS = [
    *((hz, 8_000) for hz in FASTER_RATES_HZ),
    *((8_000, hz) for hz in FASTER_RATES_HZ),
    (16_000, 24_000),
    (24_000, 16_000),
]
WHOLE_FRAME_PAIRS = [pair for pair in RATE_PAIRS if not any(hz % 50 for hz in pair)]

LOUD = 32_000  # almost full scale, so that rounding to PCM16 is 90 dB down and more
PASS_BAND_HZ = range(300, 3_401, 100)

Samples = npt.NDArray[np.int16]
Spectrum = npt.NDArray[np.float64]


def tone(hz: float, rate_hz: int, seconds: float = 1.2, amplitude: int = LOUD) -> bytes:
    """Return a sine as PCM16."""
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    return np.rint(amplitude * np.sin(2 * np.pi * hz * time)).astype("<i2").tobytes()


def chirp(rate_hz: int, seconds: float = 1.0) -> bytes:
    """Return a sweep from 300 to 3400 Hz as PCM16: a stand-in for speech that has every frequency of it once."""
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * (300 * time + (3_400 - 300) / (2 * seconds) * time**2)
    return np.rint(16_000 * np.sin(phase)).astype("<i2").tobytes()


def samples(pcm: bytes) -> Samples:
    """View PCM16 as numbers."""
    return np.frombuffer(pcm, "<i2")


def spectrum_db(pcm: bytes, rate_hz: int) -> Spectrum:
    """Return the level in dB below `LOUD` of every whole Hz, over one second that is clear of the filter's start."""
    start = rate_hz // 10
    window = np.hanning(rate_hz)
    spectrum = np.abs(np.fft.rfft(samples(pcm)[start : start + rate_hz] * window)) / (window.sum() / 2)
    return 20 * np.log10(np.maximum(spectrum, 1e-3) / LOUD)


@pytest.mark.parametrize("from_hz", FASTER_RATES_HZ)
def test_tones_that_would_alias_are_kept_out(from_hz: int):
    """Going down, every tone from 4.2 kHz up comes out below -80 dB, at whatever frequency it comes out."""
    for hz in range(4_200, from_hz // 2, 137):
        loudest = spectrum_db(Resampler(from_hz, 8_000).convert(tone(hz, from_hz)), 8_000).max()
        assert loudest <= -80, f"{hz} Hz comes out at {loudest:.1f} dB"


@pytest.mark.parametrize("from_hz", [16_000, 24_000, 48_000])
def test_nothing_aliases_into_the_telephone_band(from_hz: int):
    """A 5 kHz tone, which a converter without a filter returns as 3 kHz at full level, is below -85 dB."""
    level = spectrum_db(Resampler(from_hz, 8_000).convert(tone(5_000, from_hz)), 8_000)
    assert level[:3_401].max() <= -85


@pytest.mark.parametrize("to_hz", FASTER_RATES_HZ)
def test_images_are_kept_out(to_hz: int):
    """Going up, a tone of the telephone band comes out alone: everything else is below -80 dB."""
    for hz in PASS_BAND_HZ:
        level = spectrum_db(Resampler(8_000, to_hz).convert(tone(hz, 8_000)), to_hz)
        level[hz - 4 : hz + 5] = -np.inf  # the tone itself, as wide as the analysis window shows it
        assert level.max() <= -80, f"{hz} Hz has an image at {level.argmax()} Hz of {level.max():.1f} dB"


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_the_telephone_band_passes_unchanged(from_hz: int, to_hz: int):
    """From 300 to 3400 Hz no tone changes its level by more than 0.15 dB."""
    for hz in PASS_BAND_HZ:
        level = spectrum_db(Resampler(from_hz, to_hz).convert(tone(hz, from_hz)), to_hz)[hz]
        assert abs(level) <= 0.15, f"{hz} Hz comes out at {level:.2f} dB"


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_delay_is_as_stated_and_at_most_3_ms(from_hz: int, to_hz: int):
    """Cross-correlation with the same sweep made at the output's rate peaks at `delay_seconds`, to half a sample."""
    resampler = Resampler(from_hz, to_hz)
    output = samples(resampler.convert(chirp(from_hz))).astype(float)
    wanted = samples(chirp(to_hz)).astype(float)
    lags = range(ceil(0.01 * to_hz))
    correlation = [np.dot(output[lag : wanted.size], wanted[: min(wanted.size, output.size) - lag]) for lag in lags]
    assert abs(int(np.argmax(correlation)) - resampler.delay_seconds * to_hz) <= 0.5
    assert 0 < resampler.delay_seconds <= 0.003


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_a_sweep_survives_the_way_there_and_back(from_hz: int, to_hz: int):
    """Resampled and back, a sweep of the telephone band differs from itself, delayed, by less than -35 dB."""
    there, back = Resampler(from_hz, to_hz), Resampler(to_hz, from_hz)
    original = samples(chirp(from_hz)).astype(float)
    output = samples(back.convert(there.convert(chirp(from_hz)) + there.flush()) + back.flush()).astype(float)
    delay_samples = (there.delay_seconds + back.delay_seconds) * from_hz
    if delay_samples % 1:  # compare at whole samples: shift the original by the fraction
        shift = np.exp(-2j * np.pi * np.fft.rfftfreq(original.size) * (delay_samples % 1))
        original = np.fft.irfft(np.fft.rfft(original) * shift, original.size)
    middle = slice(from_hz // 10, -from_hz // 10)
    heard = output[int(delay_samples) : int(delay_samples) + original.size]
    error_db = 10 * np.log10(np.mean((heard - original)[middle] ** 2) / np.mean(original[middle] ** 2))
    assert error_db < -35


@settings(deadline=None)
@given(
    pair=st.sampled_from(RATE_PAIRS),
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(0, 5_000),
    cuts=st.lists(st.integers(0, 5_000), max_size=30),
)
@example(pair=(8_000, 11_025), seed=0, length=4_000, cuts=list(range(4_000)))
@example(pair=(24_000, 8_000), seed=0, length=4_001, cuts=list(range(4_001)))
def test_cuts_never_show(pair: tuple[int, int], seed: int, length: int, cuts: list[int]):
    """However the bytes are cut, also inside a sample, the same bytes come out as from one piece."""
    pcm = np.random.default_rng(seed).bytes(length)
    whole, cut = Resampler(*pair), Resampler(*pair)
    edges = [0, *sorted(min(at, length) for at in cuts), length]
    pieces = [cut.convert(pcm[start:end]) for start, end in pairwise(edges)]
    assert b"".join([*pieces, cut.flush()]) == whole.convert(pcm) + whole.flush()


@pytest.mark.parametrize("size", [1, 3, 7, 160, 441, 1_000])
@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_no_sample_is_held_back_or_made_up(from_hz: int, to_hz: int, size: int):
    """After N samples, in chunks of any size, exactly ceil(N * to / from) have come out."""
    resampler = Resampler(from_hz, to_hz)
    came_out = 0
    for chunk in range(1, 60):
        came_out += len(resampler.convert(bytes(2 * size))) // 2
        assert came_out == -(-chunk * size * to_hz // from_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), WHOLE_FRAME_PAIRS)
def test_20_ms_in_is_20_ms_out(from_hz: int, to_hz: int):
    """Each call with 20 ms returns 20 ms, from the first one on, at every pair with whole samples in 20 ms."""
    resampler = Resampler(from_hz, to_hz)
    lengths = [len(resampler.convert(bytes(2 * from_hz // 50))) for _ in range(10)]
    assert lengths == [2 * to_hz // 50] * 10


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_flush_adds_the_delay_and_no_more(from_hz: int, to_hz: int):
    """With its flush, an utterance of N samples comes out as if ceil(delay * from) samples of silence followed it."""
    resampler = Resampler(from_hz, to_hz)
    pcm = chirp(from_hz, seconds=0.1)
    silence_samples = ceil(24 * from_hz / min(from_hz, to_hz))
    followed = Resampler(from_hz, to_hz).convert(pcm + bytes(2 * silence_samples))
    assert resampler.convert(pcm) + resampler.flush() == followed


def test_flush_returns_the_end_of_the_utterance():
    """The last 3 ms of a tone that ends loud come with the flush, as loud as the rest."""
    resampler = Resampler(24_000, 8_000)
    resampler.convert(tone(1_000, 24_000))
    last = samples(resampler.flush())
    assert last.size == 24
    assert np.abs(last[:16]).max() > 0.95 * LOUD


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_flush_starts_anew(from_hz: int, to_hz: int):
    """After a flush nothing of the last utterance is left: the next one comes out as from a new resampler."""
    used, new = Resampler(from_hz, to_hz), Resampler(from_hz, to_hz)
    used.convert(tone(440, from_hz, seconds=0.0333) + b"\x7f")
    used.flush()
    assert used.convert(chirp(from_hz)) + used.flush() == new.convert(chirp(from_hz)) + new.flush()


def test_flush_of_nothing_is_nothing():
    """Without input there is no delay to make up for: not at the start, not twice, not for half a sample."""
    resampler = Resampler(24_000, 8_000)
    assert resampler.flush() == b""
    assert resampler.convert(b"\x7f") == b""
    assert resampler.flush() == b""
    resampler.convert(bytes(960))
    assert len(resampler.flush()) == 48
    assert resampler.flush() == b""


def test_an_odd_byte_waits_for_its_other_half():
    """A sample whose bytes come in two chunks comes out with the second."""
    resampler = Resampler(8_000, 16_000)
    assert resampler.convert(b"\x01") == b""
    assert len(resampler.convert(b"\x02")) == 4
    assert resampler.convert(b"") == b""


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_overshoot_saturates(from_hz: int, to_hz: int):
    """A full-scale square wave overshoots; it comes out as its softer self made louder and clipped, never wrapped."""
    period_samples = from_hz // 250
    square = np.where(np.arange(from_hz) % period_samples < period_samples // 2, 32_767, -32_768)
    loud = samples(Resampler(from_hz, to_hz).convert(square.astype("<i2").tobytes())).astype(int)
    soft = samples(Resampler(from_hz, to_hz).convert((square // 2).astype("<i2").tobytes())).astype(int)
    assert np.abs(2 * soft).max() > 32_768 + 1_000, "the wave does not overshoot, so the test says nothing"
    assert np.abs(loud - np.clip(2 * soft, -32_768, 32_767)).max() <= 2


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_silence_stays_silence(from_hz: int, to_hz: int):
    """Digital silence comes out as digital silence, from the first sample to the last of the flush."""
    resampler = Resampler(from_hz, to_hz)
    assert not any(resampler.convert(bytes(from_hz // 5)) + resampler.flush())


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
@pytest.mark.parametrize("value", [1, -32_768, 32_767])
def test_a_constant_stays_as_it_is(from_hz: int, to_hz: int, value: int):
    """Any constant comes out as itself to the bit, once the filter no longer reaches back to its start."""
    output = samples(Resampler(from_hz, to_hz).convert(np.full(from_hz // 10, value, "<i2").tobytes()))
    assert set(output[ceil(0.0061 * to_hz) :].tolist()) == {value}


@pytest.mark.parametrize(("from_hz", "to_hz"), RATE_PAIRS)
def test_sums_are_exact(from_hz: int, to_hz: int):
    """Coefficients are whole multiples of 2**-24 and no sum outgrows a double: no order of adding can show."""
    scaled = Resampler(from_hz, to_hz)._filter.matrix * 2.0**24
    assert (scaled == np.rint(scaled)).all()
    assert np.abs(scaled).sum(axis=0).max() * 32_768 < 2.0**53


def test_equal_rates_are_filtered_as_well():
    """From 8 kHz to 8 kHz comes the same sound, as late as from any other rate."""
    resampler = Resampler(8_000, 8_000)
    output = samples(resampler.convert(chirp(8_000))).astype(int)
    assert resampler.delay_seconds == 0.003
    assert np.abs(output[24:] - samples(chirp(8_000))[:-24]).max() < 0.02 * 16_000


@pytest.mark.parametrize("hz", [-8_000, 0, 3_999, 192_001, 10**9])
def test_rates_out_of_range_are_refused(hz: int):
    """A rate that no audio has, at either end, is refused with the range that is allowed."""
    for pair in ((hz, 8_000), (8_000, hz)):
        with pytest.raises(ValueError, match=rf"^{hz} Hz .* 4000 to 192000 Hz"):
            Resampler(*pair)


def test_ratios_that_would_need_huge_filters_are_refused():
    """A rate that a far end made up may not cost a filter of half a gigabyte."""
    with pytest.raises(ValueError, match="191999 Hz to 8000 Hz is 191999 to 8000"):
        Resampler(191_999, 8_000)
    assert Resampler(11_025, 48_000).delay_seconds < 0.003
