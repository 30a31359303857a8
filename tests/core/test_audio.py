"""The units of audio, the codec against G.711's own arithmetic, and strict base64."""

import base64
from collections.abc import Callable
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.core import audio
from smartflo_bridge.core.errors import ProtocolError

ALL_ULAW = bytes(range(256))

# Reliability, section 3e, and what else a lenient decoder would let through.
BASE64_DEFECTS = {
    "unpadded": "AAA",
    "one character": "A",
    "five characters": "AAAAA",
    "one pad too many": "AAAA=",
    "two pads too many": "AAAA==",
    "four pads too many": "AAAA====",
    "three pads": "A===",
    "only padding": "====",
    "padding first": "=AAA",
    "padding inside": "AA=A",
    "two documents": "AA==AA==",
    "data after padding": "AA==AAAA",
    "space": "AA AA",
    "newline inside": "AA\nAA",
    "newline at the end": "AAAA\n",
    "MIME line break": "AAAA\r\nAAAA",
    "NUL": "AAAA\0",
    "URL-safe alphabet": "-_-_",
    "foreign characters": "!!!!",
    "not ASCII": "é===",
    "not ASCII, right length": "AAAé",
    "lone surrogate": "AAA\ud800",
}


def expanded(byte: int) -> int:
    """Expand one mu-law byte by the formula of G.711: sign, exponent, mantissa, and a bias of 132."""
    inverted = ~byte & 0xFF
    magnitude = ((((inverted & 0x0F) << 3) + 0x84) << ((inverted & 0x70) >> 4)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


def samples(pcm: bytes) -> list[int]:
    """Read PCM16, little-endian."""
    return [int.from_bytes(pcm[at : at + 2], "little", signed=True) for at in range(0, len(pcm), 2)]


@pytest.mark.parametrize(
    ("byte_count", "ms", "characters"),
    [(160, 20, 216), (320, 40, 428), (800, 100, 1068), (1600, 200, 2136), (4000, 500, 5336)],
)
def test_sizes_on_the_wire(byte_count: int, ms: int, characters: int):
    """The table of the protocol page, section 3: bytes, ms and base64 characters of one payload."""
    assert audio.duration_seconds(byte_count) == ms / 1000
    assert audio.BYTES_PER_MS * ms == byte_count
    assert len(audio.encode_pcm16_to_mulaw_base64(bytes(2 * byte_count))) == characters
    assert len(audio.silence(ms / 1000)) == byte_count


def test_a_frame_is_20_ms():
    """A frame is 160 bytes, which is 20 ms."""
    assert (audio.FRAME_BYTES, audio.FRAME_SECONDS, audio.SAMPLE_RATE_HZ) == (160, 0.02, 8000)


@pytest.mark.parametrize(
    ("byte_count", "whole"), [(0, 0), (1, 0), (159, 0), (160, 160), (161, 160), (319, 160), (800, 800)]
)
def test_whole_frames_round_down(byte_count: int, whole: int):
    """A remainder below a frame is left out."""
    assert audio.whole_frames(byte_count) == whole


@pytest.mark.parametrize(("seconds", "frames"), [(0, 0), (0.001, 1), (0.02, 1), (0.021, 2), (0.1, 5), (1, 50)])
def test_silence_rounds_up_to_a_frame(seconds: float, frames: int):
    """Silence is 0xFF, in whole frames, at least as long as asked."""
    assert audio.silence(seconds) == b"\xff" * (160 * frames)


def test_silence_is_zero_and_its_neighbours_are_clicks():
    """0xFF expands to zero, 0x00 and 0x80 to full scale."""
    assert samples(audio.ulaw_to_pcm(audio.SILENCE + b"\x00\x80")) == [0, -32124, 32124]


def test_every_ulaw_byte_expands_as_in_g711():
    """All 256 values expand to what the formula of the standard gives."""
    assert samples(audio.ulaw_to_pcm(ALL_ULAW)) == [expanded(byte) for byte in ALL_ULAW]


def test_every_ulaw_byte_survives_a_round_trip():
    """All 256 values come back, but that the second zero, 0x7F, becomes the first, 0xFF."""
    assert audio.pcm_to_ulaw(audio.ulaw_to_pcm(ALL_ULAW)) == ALL_ULAW.replace(b"\x7f", b"\xff")


def test_companding_is_as_exact_as_its_step():
    """Every one of the 65 536 samples comes back within half a step of its size, and the rounding to 14 bits before."""
    every = range(-32768, 32768)
    pcm = b"".join(value.to_bytes(2, "little", signed=True) for value in every)
    for value, back in zip(every, samples(audio.ulaw_to_pcm(audio.pcm_to_ulaw(pcm))), strict=True):
        assert abs(back - value) <= (abs(value) + 132) / 32 + 4, value


@pytest.mark.parametrize("byte_count", [1, 3, 321])
def test_half_a_sample_is_refused(byte_count: int):
    """An odd number of bytes is not PCM16, and the error says how many there were."""
    with pytest.raises(ValueError, match=str(byte_count)):
        audio.pcm_to_ulaw(bytes(byte_count))
    with pytest.raises(ValueError, match=str(byte_count)):
        audio.encode_pcm16_to_mulaw_base64(bytes(byte_count))


def test_nothing_becomes_nothing():
    """Empty audio is legal in every conversion."""
    assert audio.ulaw_to_pcm(b"") == audio.pcm_to_ulaw(b"") == audio.decode_mulaw_from_base64("") == b""
    assert audio.encode_pcm16_to_mulaw_base64(b"") == ""


@given(st.binary())
def test_payloads_survive_a_round_trip(ulaw: bytes):
    """What base64 holds comes back, as mu-law and as PCM16, from a str and from bytes."""
    text = base64.b64encode(ulaw).decode()
    assert audio.ulaw_from_base64(text) == audio.ulaw_from_base64(text.encode()) == ulaw
    assert audio.decode_mulaw_from_base64(text) == audio.ulaw_to_pcm(ulaw)
    zeros_merged = base64.b64encode(ulaw.replace(b"\x7f", b"\xff")).decode()
    assert audio.encode_pcm16_to_mulaw_base64(audio.decode_mulaw_from_base64(text)) == zeros_merged


def test_padding_bits_may_be_anything():
    """`AB==` has non-zero bits in its padding, which every decoder known accepts."""
    assert audio.ulaw_from_base64("AB==") == b"\x00"


@pytest.mark.parametrize("text", BASE64_DEFECTS.values(), ids=BASE64_DEFECTS.keys())
def test_defective_base64_is_refused(text: str):
    """Each defect is the platform's error, from a str and from bytes, and none of the payload is quoted."""
    for given_text in (text, text.encode("utf-8", "surrogatepass")):
        with pytest.raises(ProtocolError, match="payload is not base64") as caught:
            audio.decode_mulaw_from_base64(given_text)
        assert text not in str(caught.value)


def test_base64_is_as_strict_as_the_parser():
    """Every string of up to five characters of some alphabets is judged alike by this decoder and the parser's."""
    parser = msgspec.json.Decoder(bytes)
    for text in ("".join(letters) for length in range(6) for letters in product("AB=\n-", repeat=length)):
        assert outcome(audio.ulaw_from_base64, text) == outcome(parser.decode, msgspec.json.encode(text)), text


def outcome(decode: Callable[..., bytes], text: str | bytes) -> bytes | None:
    """Return what a decoder makes of a text, None if it refuses it."""
    try:
        return decode(text)
    except (ProtocolError, msgspec.DecodeError):
        return None
