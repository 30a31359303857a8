"""The WAV files before and after a simulated call: the caller's voice in, both voices out.

Reading takes what people have: PCM of 8 to 32 bits, mu-law or A-law, mono or stereo, any rate. Writing makes stereo PCM16
at 8000 Hz, caller left, bridge right. The command line and scenarios call it.
"""

import audioop
import importlib
import struct
import wave
from importlib import resources
from pathlib import Path
from typing import Protocol

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE, pcm_to_ulaw, ulaw_to_pcm
from smartflo_bridge.core.errors import ConfigError

_FULL_SCALE_WIDTH = 2
_BLOCK_BYTES = 60 * SAMPLE_RATE_HZ
_EXTENSIBLE = 0xFFFE
_SUBFORMAT_AT = 24
_SAMPLE = "caller.ulaw"


class _Resampler(Protocol):
    """What is used of the core's resampler, which cannot be imported without numpy."""

    def convert(self, pcm: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class _Format(msgspec.Struct, frozen=True):
    """A WAV file's `fmt` chunk."""

    tag: int
    channels: int
    rate_hz: int
    bits: int


def built_in_voice() -> bytes:
    """Return the caller that comes with the package: mu-law, some seconds of speech.

    Raises:
        ConfigError: the package was installed without it.
    """
    try:
        return (resources.files("smartflo_bridge.simulator") / _SAMPLE).read_bytes()
    except OSError:
        raise ConfigError(f"the built-in voice {_SAMPLE} is not installed; name a WAV file instead") from None


def read_wav(path: Path) -> bytes:
    """Read a WAV file as mu-law, 8000 Hz mono.

    Raises:
        ConfigError: it cannot be read, is no WAV file, or one of another kind; or numpy is missing to resample it.
    """
    try:
        chunks = _riff_chunks(path.read_bytes())
        form = _format(chunks[b"fmt "])
        pcm = _pcm(form, chunks[b"data"])
        return pcm_to_ulaw(pcm if form.rate_hz == SAMPLE_RATE_HZ else _resampled(pcm, form.rate_hz))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (KeyError, ValueError, struct.error, audioop.error) as error:
        raise ConfigError(f"{path} cannot be played: {_reason(error)}") from None


def write_wav(path: Path, *, caller: bytes, bridge: bytes) -> None:
    """Write both sides of a call, given as mu-law on one time axis: caller left, bridge right."""
    length = max(len(caller), len(bridge))
    with wave.open(str(path), "wb") as out:
        out.setparams((2, _FULL_SCALE_WIDTH, SAMPLE_RATE_HZ, 0, "NONE", ""))
        for at in range(0, length, _BLOCK_BYTES):
            size = min(_BLOCK_BYTES, length - at)
            left, right = (ulaw_to_pcm(side[at : at + size].ljust(size, SILENCE)) for side in (caller, bridge))
            stereo = audioop.add(
                audioop.tostereo(left, _FULL_SCALE_WIDTH, 1, 0),
                audioop.tostereo(right, _FULL_SCALE_WIDTH, 0, 1),
                _FULL_SCALE_WIDTH,
            )
            out.writeframesraw(stereo)


def _reason(error: Exception) -> str:
    match error:
        case KeyError():
            return f"it has no {error.args[0].decode().strip()} chunk"
        case struct.error():
            return "its fmt chunk is cut short"
        case _:
            return str(error)


def _riff_chunks(riff: bytes) -> dict[bytes, bytes]:
    if riff[:4] != b"RIFF" or riff[8:12] != b"WAVE":
        raise ValueError("it is no WAV file")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(riff):
        name, size = struct.unpack_from("<4sI", riff, at)
        # A recorder that could not seek back leaves 0 or 0xFFFFFFFF as the size of the last chunk, `data`.
        end = at + 8 + size if size or name != b"data" else len(riff)
        chunks.setdefault(name, riff[at + 8 : end])
        at = end + size % 2
    return chunks


def _format(chunk: bytes) -> _Format:
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE:
        (tag,) = struct.unpack_from("<H", chunk, _SUBFORMAT_AT)
    if channels not in {1, 2}:
        raise ValueError(f"it has {channels} channels; 1 and 2 can be played")
    return _Format(tag, channels, rate_hz, bits)


def _pcm(form: _Format, sound: bytes) -> bytes:
    """Return PCM16 mono at the file's own rate."""
    width = form.bits // 8
    sound = sound[: len(sound) - len(sound) % max(1, width * form.channels)]  # a cut file ends anywhere
    match form.tag, form.bits:
        case 7, 8:
            pcm = audioop.ulaw2lin(sound, _FULL_SCALE_WIDTH)
        case 6, 8:
            pcm = audioop.alaw2lin(sound, _FULL_SCALE_WIDTH)
        case 1, 8:
            pcm = audioop.lin2lin(audioop.bias(sound, 1, 128), 1, _FULL_SCALE_WIDTH)  # 8 bits are unsigned in WAV
        case 1, 16 | 24 | 32:
            pcm = audioop.lin2lin(sound, width, _FULL_SCALE_WIDTH)
        case _:
            raise ValueError(f"its format is {form.tag} with {form.bits} bits; PCM, mu-law and A-law can be played")
    return audioop.tomono(pcm, _FULL_SCALE_WIDTH, 0.5, 0.5) if form.channels == 2 else pcm


def _resampled(pcm: bytes, rate_hz: int) -> bytes:
    """Bring PCM16 to 8000 Hz. numpy is an extra, so what needs it is loaded here and not above."""
    try:
        resampling = importlib.import_module("smartflo_bridge.core.resampling")
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        needed = "pip install 'smartflo-bridge[resample]'"
        raise ValueError(f"its rate is {rate_hz} Hz, and any rate other than 8000 Hz needs numpy: {needed}") from None
    resampler: _Resampler = resampling.Resampler(rate_hz, SAMPLE_RATE_HZ)
    return resampler.convert(pcm) + resampler.flush()
