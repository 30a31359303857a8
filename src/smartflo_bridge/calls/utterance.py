"""An utterance: audio spoken as one, at one rate, in one epoch. What a handler feeds piece by piece.

It belongs to the epoch in which it began: after an interrupt its further pieces are dropped, even when the task that
makes them has not heard of the interrupt yet. It keeps the resampler's state between pieces.
"""

from typing import Literal

from smartflo_bridge.calls.rates import rate_converter
from smartflo_bridge.calls.requests import Requests
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, pcm_to_ulaw
from smartflo_bridge.core.errors import HandlerError

Encoding = Literal["pcm", "ulaw"]


class Utterance:
    """Made by `Call.utterance`.

    Args:
        requests: where the audio goes.
        rate_hz: of the audio that will be fed.
        encoding: `pcm` (PCM16, little-endian, mono) or `ulaw` (at 8000 Hz only).

    Raises:
        HandlerError: a rate or encoding that cannot be played, or one that needs numpy where it is not installed.
    """

    def __init__(self, requests: Requests, rate_hz: int, encoding: Encoding) -> None:
        if encoding not in ("pcm", "ulaw"):
            msg = f"encoding is 'pcm' or 'ulaw', not {encoding!r}"
            raise HandlerError(msg)
        if encoding == "ulaw" and rate_hz != SAMPLE_RATE_HZ:
            msg = f"mu-law is played at {SAMPLE_RATE_HZ} Hz, not {rate_hz}: hand over PCM for other rates"
            raise HandlerError(msg)
        self.rate_hz = rate_hz
        self.encoding: Encoding = encoding
        self._requests = requests
        self._epoch = requests.epoch
        self._converter = rate_converter(rate_hz) if encoding == "pcm" else None

    @property
    def is_interrupted(self) -> bool:
        """True once an interrupt has ended the utterance: whoever makes its audio may stop."""
        return self._epoch != self._requests.epoch

    def goes_on_with(self, rate_hz: int, encoding: Encoding) -> bool:
        """Return True if more audio of this kind may follow."""
        return self._epoch == self._requests.epoch and self.rate_hz == rate_hz and self.encoding == encoding

    async def play(self, audio: bytes) -> bool:
        """Queue a piece, cut anywhere; return False if the utterance has been interrupted.

        Waits while the queue of outbound audio is full.

        Raises:
            CallEnded: the call is over.
        """
        left = self.offer(audio)
        return left is None or await self.enqueue(left)

    def offer(self, audio: bytes) -> bytes | None:
        """Queue a piece at once if there surely is room for it; else return it as mu-law, for `enqueue`."""
        ulaw = audio if self._converter is None else pcm_to_ulaw(self._converter.convert(audio))
        return None if self._requests.offer(ulaw, self._epoch) else ulaw

    async def enqueue(self, ulaw: bytes) -> bool:
        """Queue mu-law when there is room for it; return False if the utterance has been interrupted.

        Raises:
            CallEnded: the call is over.
        """
        return await self._requests.enqueue(ulaw, self._epoch)

    def add(self, ulaw: bytes) -> None:
        """Queue a little mu-law at once, whether there is room or not: the last bytes of what `play` has queued.

        Raises:
            CallEnded: the call is over.
        """
        self._requests.append(ulaw, self._epoch)

    def end(self) -> None:
        """Queue what the resampler still holds, up to 3 ms. Calling it twice does no harm."""
        if self._converter is not None and not self._requests.are_over:
            self._requests.append(pcm_to_ulaw(self._converter.flush()), self._epoch)
