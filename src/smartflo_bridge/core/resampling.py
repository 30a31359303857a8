"""The streaming resampler between 8 kHz and an agent's sample rate: a low-pass filtered polyphase FIR on numpy.

PCM16 little-endian mono bytes go in and come out, cut anywhere; `Resampler` holds the state of one direction of one
call. It is not a codec (core/audio.py has the mu-law) and does not know frames: 20 ms in is 20 ms out. It needs numpy,
the `resample` extra, so its callers import it only when a rate other than 8 kHz is configured.

The filter is a Kaiser-windowed sinc over 48 samples of the slower rate. Between 8 kHz and any faster rate that is
3.0 ms of delay. The pass band is flat within 0.13 dB up to 3400 Hz. Aliases going down, and images going up, are at
-83 dB from 4.2 kHz on and at -88 dB from 4.6 kHz on; nothing below 4.6 kHz can alias into 0-3400 Hz. Both are measured
by tests/core/test_resampling.py and `scripts/bench/resampling`.
"""

from functools import lru_cache
from math import gcd

import msgspec
import numpy as np
import numpy.typing as npt

RATE_LOWEST_HZ = 4_000  # half the telephone's rate: nobody carries speech below it
RATE_HIGHEST_HZ = 192_000  # the fastest rate in use for PCM
RATIO_TERM_LARGEST = 640  # 11025:48000 is 147:640; usual rates to and from 8, 16, 24 and 48 kHz fit; a filter < 4 MB

# Measured over the values around them (scripts/bench/resampling prints the outcome): the delay is spent, 3 ms at 8 kHz.
_REACH = 24  # samples of the slower rate on either side of the filter's centre, hence its delay
_CUTOFF = 0.465  # of the slower rate, at -6 dB: 3720 Hz of 8 kHz, so that 3400 Hz is still flat and 4160 Hz is gone
_KAISER_BETA = 8.3  # 84 dB of stop band, by Kaiser's 0.1102 * (dB - 8.7)

# Coefficients are multiples of 2**-24, so every product and partial sum of PCM16 is exact in a double (41 of 53 bits).
# The order in which a BLAS adds them then cannot show: the output is the same for any cut and on any BLAS.
_COEFFICIENT_SCALE = float(1 << 24)
_BLOCK_SAMPLES = 16  # of the slower rate: as fast as 20 or 32, faster than 8 or 80; divides 10 ms and 20 ms

_FloatArray = npt.NDArray[np.float64]


class _Filter(msgspec.Struct, frozen=True):
    """A filter for `up` samples out per `down` samples in, as one matrix that turns a window of input into a block."""

    up: int
    down: int
    history_samples: int  # input before a block that its outputs reach back to
    block_samples: int  # input that one block advances by
    matrix: _FloatArray  # (history_samples + block_samples, outputs of a block)

    def outputs_due(self, input_samples: int) -> int:
        """The outputs whose newest input is among the first `input_samples` of a block: rounded up, never held back."""
        return -(-input_samples * self.up // self.down)


class Resampler:
    """One stream of PCM16 from `from_hz` to `to_hz`.

    The filter starts from silence, so its delay shows as leading silence and never as a short chunk: after N input
    samples exactly ceil(N * to_hz / from_hz) have come out, whatever the cuts. 20 ms in gives 20 ms out on every call
    when both rates have whole samples in 20 ms. The bytes that come out do not depend on how the input was cut.
    Full-scale overshoot saturates. Equal rates are filtered as well; do without a resampler there.

    Raises:
        ValueError: a rate outside 4000..192000 Hz, or a pair whose ratio needs terms above 640.
    """

    _odd_byte: bytes  # the first half of a sample that a chunk was cut in
    _started: bool  # something went in since the start or the last flush
    _held: _FloatArray  # the history, then the input of an unfinished block

    def __init__(self, from_hz: int, to_hz: int) -> None:
        for hz in (from_hz, to_hz):
            if not RATE_LOWEST_HZ <= hz <= RATE_HIGHEST_HZ:
                raise ValueError(f"{hz} Hz is not a rate to resample: {RATE_LOWEST_HZ} to {RATE_HIGHEST_HZ} Hz is")
        up, down = to_hz // gcd(from_hz, to_hz), from_hz // gcd(from_hz, to_hz)
        if max(up, down) > RATIO_TERM_LARGEST:
            raise ValueError(f"{from_hz} Hz to {to_hz} Hz is {down} to {up}: terms above {RATIO_TERM_LARGEST}")
        self._filter = _filter(up, down)
        self._slower_hz = min(from_hz, to_hz)
        self._flush_samples = -(-_REACH * from_hz // self._slower_hz)
        self._reset()

    @property
    def delay_seconds(self) -> float:
        """How much later a sound comes out than it went in, the same at every frequency."""
        return _REACH / self._slower_hz

    def convert(self, pcm: bytes) -> bytes:
        """Resample the next chunk, of any length; a last odd byte waits for its other half in the next call."""
        pcm = self._odd_byte + pcm
        sample_count = len(pcm) // 2
        self._odd_byte = pcm[2 * sample_count :]
        if not sample_count:
            return b""
        return self._convert_samples(np.frombuffer(pcm, "<i2", sample_count))

    def flush(self) -> bytes:
        """Return the end of the utterance, which the filter still holds back, and start anew.

        That is what ceil(delay_seconds * from_hz) samples of silence would push out, or nothing if nothing went in.
        Half a sample is dropped.
        """
        last = self._convert_samples(np.zeros(self._flush_samples, "<i2")) if self._started else b""
        self._reset()
        return last

    def _reset(self) -> None:
        self._odd_byte = b""
        self._started = False
        self._held = np.zeros(self._filter.history_samples)

    def _convert_samples(self, samples: npt.NDArray[np.int16]) -> bytes:
        """Multiply the input by the matrix, block by block; an unfinished block is computed again by the next call."""
        fir, held = self._filter, self._held
        unfinished = held.size - fir.history_samples
        fresh = unfinished + samples.size
        blocks = -(-fresh // fir.block_samples)
        joined = np.zeros(fir.history_samples + blocks * fir.block_samples)
        joined[: held.size] = held
        joined[held.size : held.size + samples.size] = samples
        window_strides = (fir.block_samples * joined.itemsize, joined.itemsize)
        windows: _FloatArray = np.ndarray((blocks, fir.matrix.shape[0]), joined.dtype, joined, 0, window_strides)
        # Without the copy numpy cannot hand overlapping windows to its BLAS.
        output = (windows.copy() @ fir.matrix).ravel()[fir.outputs_due(unfinished) : fir.outputs_due(fresh)]
        np.rint(output, out=output)
        output.clip(-32768.0, 32767.0, out=output)
        self._held = joined[fresh // fir.block_samples * fir.block_samples : fir.history_samples + fresh].copy()
        self._started = True
        return output.astype("<i2").tobytes()


@lru_cache(maxsize=16)
def _filter(up: int, down: int) -> _Filter:
    """Lay the polyphase filter out as a block's matrix: column j has the coefficients of output j, newest input last."""
    phases = _phases(up, down)
    history = phases.shape[1] - 1
    periods = max(1, _BLOCK_SAMPLES // min(up, down))
    matrix = np.zeros((history + periods * down, periods * up))
    for output in range(periods * up):
        newest, phase = divmod(output * down, up)
        matrix[newest : newest + history + 1, output] = phases[phase, ::-1]
    matrix.flags.writeable = False
    return _Filter(up, down, history, periods * down, matrix)


def _phases(up: int, down: int) -> _FloatArray:
    """Design the low-pass filter at `up` times the input's rate and deal its coefficients out to the `up` phases."""
    wide = max(up, down)  # filter coefficients in one sample of the slower rate
    centre = _REACH * wide
    slow_samples = np.arange(1 - centre, centre) / wide
    taps = np.sinc(2 * _CUTOFF * slow_samples) * np.kaiser(2 * centre - 1, _KAISER_BETA)
    padded = np.zeros(-(-2 * centre // up) * up)
    padded[1 : 2 * centre] = taps
    phases = padded.reshape(-1, up).T
    phases = phases / phases.sum(axis=1, keepdims=True)  # each phase passes a constant unchanged: no ripple at DC
    exact: _FloatArray = np.rint(phases * _COEFFICIENT_SCALE) / _COEFFICIENT_SCALE
    return exact
