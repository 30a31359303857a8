"""What a payload's bytes give away: a WAV header, PCM that was never made mu-law, padding that clicks. Pure."""

import re

from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.rules import Rule

CLICK_BYTES = 8
"""So many full-scale samples in a row, coming from a quiet one: 1 ms. Speech reaches full scale only through loud samples."""

QUIET = 8000
"""Of 32768: a quarter of full scale."""

PCM_WINDOW_BYTES = 1600
"""200 ms: long enough to tell."""

PCM_LIMIT = 0.3
"""How much more often one half of the bytes is near zero. By `scripts/bench/referee`: in mu-law speech 0.06 at most, in PCM16
0.62 in the middle."""

_FULL_SCALE = re.compile(rb"\x00{%d,}|\x80{%d,}" % (CLICK_BYTES, CLICK_BYTES))
_NEAR_ZERO = bytes(byte < 16 or byte >= 240 for byte in range(256))
"""As the upper byte of a PCM16 sample: below an eighth of full scale."""

_LOUD = bytes(abs(int.from_bytes(ulaw_to_pcm(bytes([byte])), "little", signed=True)) >= QUIET for byte in range(256))


class SoundCheck:
    """Judges payloads in the order of their arrival."""

    def __init__(self) -> None:
        self._last = 0xFF
        self._window_bytes = 0
        self._near_zero = [0, 0]

    def hear(self, ulaw: bytes) -> list[Finding]:
        """Take a payload."""
        findings = []
        if ulaw[:4] == b"RIFF" and ulaw[8:12] == b"WAVE":
            findings.append(Finding(Rule.WAV_HEADER, "the payload begins with a WAV header"))
        findings += self._pcm(ulaw)
        findings += self._clicks(ulaw)
        return findings

    def _pcm(self, ulaw: bytes) -> list[Finding]:
        """In PCM16, every other byte is the upper one, and in speech mostly near zero; mu-law knows no such halves."""
        near_zero = ulaw.translate(_NEAR_ZERO)
        for half in (0, 1):
            self._near_zero[(self._window_bytes + half) % 2] += near_zero[half::2].count(1)
        self._window_bytes += len(ulaw)
        if self._window_bytes < PCM_WINDOW_BYTES:
            return []
        difference = abs(self._near_zero[0] - self._near_zero[1]) / (self._window_bytes / 2)
        self._window_bytes, self._near_zero = 0, [0, 0]
        if difference <= PCM_LIMIT:
            return []
        return [Finding(Rule.PCM_AS_ULAW, "every other byte is near zero, as in 16-bit PCM")]

    def _clicks(self, ulaw: bytes) -> list[Finding]:
        before, self._last = self._last, ulaw[-1] if ulaw else self._last
        findings = []
        for run in _FULL_SCALE.finditer(ulaw):
            entered_from = ulaw[run.start() - 1] if run.start() else before
            if not _LOUD[entered_from]:
                text = f"{len(run[0])} bytes of 0x{run[0][0]:02X} behind a quiet sample, {run.start()} bytes into the payload"
                findings.append(Finding(Rule.CLICK, text))
        return findings
