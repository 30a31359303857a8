"""Recorded speech whose end is known: Debian's prompts for Asterisk, labelled while they are clean, made noisy afterwards.

The prompts are one speaker's, recorded in a studio at 8 kHz; their noise is below -75 dBFS, so the end of each can be
seen. It is labelled as the last place where the envelope (the power in 5 ms, centred) is within 27 dB of the speech's own
level. That number was chosen by eye, on spectrograms of fifteen endings: at 20 dB the releases of final stops and the ends
of weak fricatives are cut off, at 35 dB room and breath are called speech. Counted over all 551, the
three lie within 50 ms of each other in two recordings of three, within 100 ms in four of five: the others fade away slowly.
What follows the label is cut away, so the end is exact: after it there is only what a test adds.

Tones and the sounds of monkeys are not speech, and left out. Used by tests and by `scripts/bench/speech`.
"""

import functools
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, pcm_to_ulaw

PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
NOT_SPEECH = ("silence/", "beep", "2tone", "tt-monkeys.", "confbridge-join.", "confbridge-leave.")
FULL_SCALE = 32_768
LABEL_DB = 27.0

Samples = npt.NDArray[np.float64]


@functools.cache
def prompts() -> dict[str, Samples]:
    """Return all recordings, trimmed to their speech, by name; none where Debian's package is not installed."""
    found = {}
    for path in sorted(PROMPTS.rglob("*.wav")):
        name = str(path.relative_to(PROMPTS))
        if any(word in name for word in NOT_SPEECH):
            continue
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        found[name] = trimmed(samples - samples.mean())
    return found


def trimmed(samples: Samples, label_db: float = LABEL_DB) -> Samples:
    """Cut away what is before and behind the speech of a clean recording."""
    envelope = envelope_of(samples)
    active = samples[envelope > np.percentile(envelope, 95) / 20]
    level = np.sqrt(np.mean(active**2))
    loud = np.flatnonzero(envelope > level / 10 ** (label_db / 20))
    return samples[loud[0] : loud[-1] + 1]


def envelope_of(samples: Samples) -> Samples:
    """Return the RMS around each sample, 5 ms wide."""
    window = np.hanning(SAMPLE_RATE_HZ // 200 + 2)[1:-1]
    return np.sqrt(np.maximum(np.convolve(samples**2, window / window.sum(), "same"), 0))


def line_noise(count: int, dbfs: float | None, colour: str, rng: np.random.Generator) -> Samples:
    """Return noise of a level: white, pink (from 60 Hz up), or hum (mains and its third harmonic, in some white).

    A level of None is no noise but that of mu-law itself.
    """
    if dbfs is None:
        return np.zeros(count)
    noise = rng.standard_normal(count)
    if colour == "pink":
        length = 1 << 17  # 16 s, which then repeat: numpy takes long for millions of samples
        spectrum, hz = np.fft.rfft(rng.standard_normal(length)), np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
        noise = np.resize(np.fft.irfft(np.where(hz < 60, 0, spectrum / np.sqrt(np.maximum(hz, 60)))), count)
    elif colour == "hum":
        turn = 2 * np.pi * np.arange(count) / SAMPLE_RATE_HZ
        noise = 0.7 * noise + np.sin(50 * turn) + 0.5 * np.sin(150 * turn + 1)
    return noise * (FULL_SCALE * 10 ** (dbfs / 20) / np.sqrt(np.mean(noise**2)))


def to_ulaw(samples: Samples) -> bytes:
    """Compand samples, clipped to full scale."""
    return pcm_to_ulaw(np.clip(np.rint(samples), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())
