"""Other sample rates than 8 kHz, for those who need them: numpy is an extra, and loaded when first asked for."""

import importlib
from typing import Protocol, cast

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.errors import HandlerError


class RateConverter(Protocol):
    """A streaming converter: see `core.resampling.Resampler`."""

    def convert(self, pcm: bytes) -> bytes:
        """Take PCM16 of the source rate, cut anywhere; return what can be given of the target rate."""
        ...

    def flush(self) -> bytes:
        """Return what the filter still holds, at an utterance's end."""
        ...


class SameRate:
    """No conversion: only an odd byte is carried to the next piece."""

    def __init__(self) -> None:
        self._odd = b""

    def convert(self, pcm: bytes) -> bytes:
        """Return whole samples."""
        pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        return pcm[:whole]

    def flush(self) -> bytes:
        """Return nothing: half a sample is no sample."""
        self._odd = b""
        return b""


def rate_converter(from_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> RateConverter:
    """Return a converter between two rates.

    Raises:
        HandlerError: numpy is not installed, or a rate is outside 4000 to 192000 Hz.
    """
    if from_hz == to_hz:
        return SameRate()
    try:
        resampling = importlib.import_module("smartflo_bridge.core.resampling")
    except ImportError:
        msg = f"audio at {from_hz} Hz needs numpy for {to_hz} Hz: pip install 'smartflo-bridge[resample]'"
        raise HandlerError(msg) from None
    try:
        return cast("RateConverter", resampling.Resampler(from_hz, to_hz))
    except ValueError as error:
        raise HandlerError(str(error)) from None
