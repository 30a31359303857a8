"""Mu-law and PCM: the units of audio, stated here once, and the conversions, delegated to audioop (G.711).

Shapes: `ulaw` is G.711 mu-law, 8000 Hz mono, one byte a sample. `pcm` is linear 16-bit little-endian mono. Nothing here
keeps state between calls; other sample rates are `resampling`'s business.
"""

import binascii
import warnings

import msgspec

from smartflo_bridge.core.errors import ProtocolError

with warnings.catch_warnings():
    # Until Python 3.12 the module announces its removal; from 3.13 on audioop-lts takes its place. Whoever imports this
    # package can do nothing about it, and pytest, which loads our fixture, would show it in every project.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

SAMPLE_RATE_HZ = 8000
"""Samples, and so mu-law bytes, in a second of audio. Protocol, section 3."""

FRAME_BYTES = 160
"""One frame: 20 ms. What we send is always a multiple of it. Protocol, section 3."""

FRAME_SECONDS = FRAME_BYTES / SAMPLE_RATE_HZ

SILENCE = b"\xff"
"""Mu-law silence (+0). 0x00 and 0x80 are full scale: padding with them clicks. G.711, table 2a."""

BYTES_PER_MS = SAMPLE_RATE_HZ // 1000


def duration_seconds(ulaw_bytes: int) -> float:
    """Return how long so many mu-law bytes play."""
    return ulaw_bytes / SAMPLE_RATE_HZ


def whole_frames(byte_count: int) -> int:
    """Return the largest multiple of a frame that is not above `byte_count`."""
    return byte_count - byte_count % FRAME_BYTES


def silence(seconds: float) -> bytes:
    """Return mu-law silence of `seconds`, rounded up to a whole frame."""
    frames = -(-round(seconds * SAMPLE_RATE_HZ) // FRAME_BYTES)
    return SILENCE * (frames * FRAME_BYTES)


def ulaw_to_pcm(ulaw: bytes) -> bytes:
    """Expand mu-law to PCM16: twice as many bytes."""
    return audioop.ulaw2lin(ulaw, 2)


def pcm_to_ulaw(pcm: bytes) -> bytes:
    """Compand PCM16 at 8000 Hz to mu-law: half as many bytes.

    Raises:
        ValueError: `pcm` has an odd number of bytes, so it is not PCM16 or was cut inside a sample.
    """
    if len(pcm) % 2:
        msg = f"PCM16 has two bytes a sample, so {len(pcm)} bytes are not PCM16"
        raise ValueError(msg)
    return audioop.lin2ulaw(pcm, 2)


def decode_mulaw_from_base64(text: str | bytes) -> bytes:
    """Decode the payload of a media event to PCM16 (little-endian, mono, 8000 Hz).

    Raises:
        ProtocolError: `text` is not strict base64. (The standard decoder would drop foreign characters in silence.)
    """
    return ulaw_to_pcm(ulaw_from_base64(text))


def encode_pcm16_to_mulaw_base64(pcm: bytes) -> str:
    """Encode PCM16 (little-endian, mono, 8000 Hz) as the payload of a media event.

    Raises:
        ValueError: `pcm` has an odd number of bytes.
    """
    return binascii.b2a_base64(pcm_to_ulaw(pcm), newline=False).decode("ascii")


def ulaw_from_base64(text: str | bytes) -> bytes:
    """Decode strict base64 to the mu-law bytes it holds.

    Raises:
        ProtocolError: `text` is not strict base64.
    """
    try:
        # The parser's own base64: one strictness for all (before Python 3.13, binascii's lets padding too much pass).
        return msgspec.convert(text if isinstance(text, str) else str(text, "ascii"), bytes)
    except (msgspec.ValidationError, UnicodeError):
        msg = "payload is not base64"
        raise ProtocolError(msg) from None
