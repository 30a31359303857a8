"""Whether a service's speech is in the format that was agreed: declared against observed, by the bytes alone.

A wrong format is the loudest mistake there is: mu-law played as PCM, or the other way round, is full-scale noise in the
caller's ear. So the first fifth of a second that is not silence is looked at before it is played. Read as what it is,
speech is smooth: neighbouring samples are alike. Read as anything else it is noise. What is certain is corrected: the
order of bytes, a header that says what follows, and mu-law or A-law, which exist at one rate only. PCM in the place of
mu-law is refused, because its rate cannot be known for sure, and so is what is no audio at all.

Pure: bytes in, bytes and a format out. `speaking` uses it. The figures are from `tests/agents/test_formats.py`, which has
a dozen wrong formats of real voices.
"""

import audioop
import re
from typing import Literal, NoReturn

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.core.errors import AgentError


class AudioFormat(msgspec.Struct, frozen=True):
    """How audio is written: mono; `ulaw` is always at 8000 Hz, `pcm` is PCM16, little-endian."""

    encoding: Literal["ulaw", "pcm"]
    rate_hz: int

    @property
    def bytes_per_ms(self) -> float:
        """How many bytes play for one ms."""
        return self.rate_hz * (1 if self.encoding == "ulaw" else 2) / 1000

    def __str__(self) -> str:
        return f"mu-law at {self.rate_hz} Hz" if self.encoding == "ulaw" else f"PCM16 at {self.rate_hz} Hz"


ULAW_8K = AudioFormat("ulaw", SAMPLE_RATE_HZ)

DECIDING_BYTES = {"ulaw": 1600, "pcm": 3200}
"""So much audio that is not silence is enough to tell: 200 ms at 8 kHz. So much is held back while something looks wrong."""

EARLY_BYTES = 320
"""What looks right for so long is right: two frames of mu-law, so that a service which speaks in real time is hardly delayed."""

MAX_HEADER_BYTES = 4096
"""A WAV file's samples begin before; 44 is usual."""

_RIGHT_RATIO = 1.3
"""Of the smoothest other reading's roughness to the declared one's: above, the declared reading is right. In 1,102 voices
read wrongly it was at most 1.29 at any time; most that are read rightly are there within 40 to 80 ms."""

_WRONG_RATIO = 0.8
"""Below it, after `DECIDING_BYTES`, the declared reading is wrong: 0.84 was the least in 2,204 that were right. Of PCM
for mu-law one voice in 551 passes, one that begins with a whisper; of A-law, the nearest relative, one in ten."""

_QUIET_RMS = 100
"""-50 dBFS: silence, which tells nothing. Read wrongly it is loud; a correct reading of it is played at once."""

_NOISE = 1.25
_NOISE_RMS = 8000
"""Rough in every reading and louder than -12 dBFS: compressed audio. No speech is both for 200 ms."""

_NOT_AUDIO = {b"ID3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC", b"\x1aE\xdf\xa3": "WebM"}
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]+=*")
_TEXT = re.compile(rb"[\t\r\n -~]+")
"""In mu-law all of it is of one sign, for a fifth of a second: no sound is."""

Reading = Literal["ulaw", "alaw", "pcm", "pcm_swapped"]

_READINGS: tuple[Reading, ...] = ("ulaw", "alaw", "pcm", "pcm_swapped")
_NAMES: dict[Reading, str] = {
    "ulaw": "mu-law",
    "alaw": "A-law",
    "pcm": "PCM16",
    "pcm_swapped": "PCM16 with its bytes swapped",
}


class FormatJudge:
    """One connection's speech. `feed` it all; it says what to play, and in which format.

    Args:
        declared: what was agreed.
    """

    def __init__(self, declared: AudioFormat) -> None:
        self.format = declared
        self.correction: str | None = None
        self._declared = declared
        self._reading: Reading = declared.encoding
        self._held = b""
        self._is_decided = False
        self._header = b""
        self._odd = b""

    def feed(self, audio: bytes) -> bytes:
        """Take the next speech; return what may be played of it and of what was held back, as `format` says.

        Raises:
            AgentError: it is in a format that cannot be played, which is named.
        """
        audio = self._without_header(self._header + audio)
        if self._is_decided:
            return self._as_played(audio)
        self._held += audio
        return self._decide()

    def finish(self) -> bytes:
        """Return what is still held back: nothing follows it for now."""
        held, self._held = self._held, b""
        return self._as_played(held)

    def _without_header(self, audio: bytes) -> bytes:
        """Take a file's header off, at the beginning of any piece: some services make a file of each sentence."""
        self._header = b""
        if not self._is_decided:
            for magic, name in _NOT_AUDIO.items():
                if audio.startswith(magic):
                    self._refuse(name)
        if not audio.startswith(b"RIFF"):
            return audio
        at = audio.find(b"data", 12)
        if at < 0 or len(audio) < at + 8:
            if len(audio) > MAX_HEADER_BYTES:
                self._refuse("a WAV file without samples")
            self._header = audio
            return b""
        self._obey_header(audio[:at])
        return audio[at + 8 :]

    def _obey_header(self, header: bytes) -> None:
        at = header.find(b"fmt ", 12)
        tag, channels = (int.from_bytes(header[at + 8 + 2 * n : at + 10 + 2 * n], "little") for n in range(2))
        rate_hz = int.from_bytes(header[at + 12 : at + 16], "little")
        bits = int.from_bytes(header[at + 22 : at + 24], "little")
        readings: dict[tuple[int, int], Reading] = {(1, 16): "pcm", (0xFFFE, 16): "pcm", (7, 8): "ulaw", (6, 8): "alaw"}
        reading = readings.get((tag, bits))
        if at < 0 or reading is None or channels != 1 or (reading != "pcm" and rate_hz != SAMPLE_RATE_HZ):
            self._refuse(f"a WAV file of format {tag}, {channels} channels, {bits} bits at {rate_hz} Hz")
        self._reading = reading
        self.format = AudioFormat("pcm", rate_hz) if reading == "pcm" else ULAW_8K
        self.correction = f"WAV files came where {self._declared} was agreed; their headers are taken off"
        self._is_decided = True

    def _decide(self) -> bytes:
        """Look at what is held: pass it on, go on holding, correct, or refuse."""
        reading: Reading = self._declared.encoding
        informative = _informative(self._held, reading)
        if not informative:
            # Silence in the declared reading. Zeros are PCM's silence, and full scale in mu-law: never played as such.
            if reading == "ulaw":
                held, self._held = self._held, b""
                return held.replace(b"\0", SILENCE)
            whole = len(self._held) & ~1  # what is looked at next begins with a sample again
            held, self._held = self._held[:whole], self._held[whole:]
            return held
        if len(informative) < EARLY_BYTES:
            return b""
        others: list[Reading] = [other for other in _READINGS if other != reading]
        best = min(others, key=lambda other: _roughness(informative, other))
        least, declared = _roughness(informative, best), _roughness(informative, reading)
        ratio = least / declared
        if ratio < _RIGHT_RATIO and len(informative) < DECIDING_BYTES[reading]:
            return b""
        self._is_decided = True
        if _BASE64.fullmatch(informative):
            self._refuse("base64 text")
        if _TEXT.fullmatch(informative):
            self._refuse("text")
        if ratio < _WRONG_RATIO:
            self._correct(best)
        elif min(least, declared) > _NOISE and _rms(_samples(informative, reading)) > _NOISE_RMS:
            self._refuse("noise, such as compressed audio")
        return self.finish()

    def _correct(self, reading: Reading) -> None:
        """Read it otherwise from now on, where there is no doubt about its rate."""
        if self._declared.encoding == "ulaw" and reading != "alaw":
            self._refuse(_NAMES[reading])
        self._reading = reading
        if reading != "pcm_swapped":
            self.format = ULAW_8K
        self.correction = f"{_NAMES[reading]} came where {self._declared} was agreed; it is read as that"

    def _as_played(self, audio: bytes) -> bytes:
        match self._reading:
            case "alaw":
                return audioop.lin2ulaw(audioop.alaw2lin(audio, 2), 2)
            case "pcm_swapped":
                whole = self._odd + audio
                self._odd = whole[len(whole) & ~1 :]
                return audioop.byteswap(whole[: len(whole) & ~1], 2)
            case _:
                return audio

    def _refuse(self, found: str) -> NoReturn:
        msg = f"its speech is {found}, where {self._declared} was agreed"
        raise AgentError(msg)


def _samples(audio: bytes, reading: Reading) -> bytes:
    match reading:
        case "ulaw":
            return audioop.ulaw2lin(audio, 2)
        case "alaw":
            return audioop.alaw2lin(audio, 2)
        case "pcm":
            return audio[: len(audio) & ~1]
        case "pcm_swapped":
            return audioop.byteswap(audio[: len(audio) & ~1], 2)


def _informative(audio: bytes, reading: Reading) -> bytes:
    """Return what is left without the silence before it, by windows of 10 ms or so; nothing if all of it is silent."""
    size = 160
    for at in range(0, len(audio), size):
        pcm = _samples(audio[at : at + size], reading)
        if len(pcm) >= 4 and _rms(pcm) > _QUIET_RMS:
            return audio[at:]
    return b""


def _rms(pcm: bytes) -> int:
    """Return the level without the mean: a constant is silence."""
    return audioop.rms(audioop.bias(pcm, 2, -audioop.avg(pcm, 2)), 2)


def _roughness(audio: bytes, reading: Reading) -> float:
    """Return how unlike neighbouring samples are: 0 for a constant, 1.4 for white noise, some 0.5 for speech."""
    pcm = audioop.mul(_samples(audio, reading), 2, 0.5)  # halved, so that a difference does not clip
    level = _rms(pcm)
    if level < _QUIET_RMS / 2:
        return 1.4  # almost nothing is left of it: not what it is
    difference = audioop.add(audioop.mul(pcm[2:], 2, 0.5), audioop.mul(pcm[:-2], 2, -0.5), 2)
    return 2 * audioop.rms(difference, 2) / level
