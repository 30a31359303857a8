"""A format that lies is named: twelve wrong ones of real voices, and the right ones, which are never touched."""

import audioop
import base64
import struct
import zlib

import pytest

from recorded_speech import prompts, to_ulaw
from smartflo_bridge.agents.formats import DECIDING_BYTES, ULAW_8K, AudioFormat, FormatJudge
from smartflo_bridge.core.audio import pcm_to_ulaw, ulaw_to_pcm
from smartflo_bridge.core.errors import AgentError
from smartflo_bridge.core.resampling import Resampler
from smartflo_bridge.handlers.ivr import prompt

PCM_8K, PCM_16K, PCM_24K = (AudioFormat("pcm", hz) for hz in (8000, 16000, 24000))
VOICES = list(prompts())[::18] or None
needs_voices = pytest.mark.skipif(VOICES is None, reason="Debian's asterisk-core-sounds-en-wav is not installed")


def voice(name: str) -> bytes:
    """Return a recorded voice as PCM16 at 8 kHz."""
    return ulaw_to_pcm(to_ulaw(prompts()[name]))


def at(pcm: bytes, hz: int) -> bytes:
    """Return it at another rate."""
    return pcm if hz == 8000 else Resampler(8000, hz).convert(pcm)


def wav(audio: bytes, tag: int, hz: int, bits: int, channels: int = 1) -> bytes:
    """Return a WAV file of it."""
    fmt = struct.pack("<HHIIHH", tag, channels, hz, hz * bits // 8 * channels, bits // 8 * channels, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(audio)) + audio
    return b"RIFF" + struct.pack("<I", len(body)) + body


def judged(declared: AudioFormat, audio: bytes, piece_ms: int = 20) -> tuple[FormatJudge, bytes]:
    """Feed it in pieces, as a service sends it; return the judge, and what would be played."""
    judge = FormatJudge(declared)
    size = round(piece_ms * declared.bytes_per_ms) & ~1
    played = b"".join(judge.feed(audio[start : start + size]) for start in range(0, len(audio), size))
    return judge, played + judge.finish()


def to_alaw(pcm: bytes) -> bytes:
    """Return it as A-law."""
    return audioop.lin2alaw(pcm, 2)


def from_alaw(alaw: bytes) -> bytes:
    """Return A-law as PCM16."""
    return audioop.alaw2lin(alaw, 2)


def compressed(pcm: bytes) -> bytes:
    """Return what looks as MP3 and Opus do: bytes without a pattern."""
    return zlib.compress(pcm, 9)[2:]


def feed_until_refused(declared: AudioFormat, audio: bytes, played: bytearray) -> None:
    """Feed frames, as they come in real time; it has to be refused before long."""
    judge, size = FormatJudge(declared), round(20 * declared.bytes_per_ms)
    for start in range(0, len(audio), size):
        played += judge.feed(audio[start : start + size])
        assert start < DECIDING_BYTES[declared.encoding] + 60 * declared.bytes_per_ms


REFUSED = {
    "PCM16 at 8 kHz for mu-law": (ULAW_8K, lambda pcm: pcm, "PCM16,|noise"),
    "PCM16 at 24 kHz for mu-law": (ULAW_8K, lambda pcm: at(pcm, 24000), "PCM16,"),
    "PCM16, big-endian, for mu-law": (ULAW_8K, lambda pcm: audioop.byteswap(pcm, 2), "PCM16 with|noise"),
    "base64 text for mu-law": (ULAW_8K, lambda pcm: base64.b64encode(pcm_to_ulaw(pcm)), "base64 text"),
    "JSON text for mu-law": (ULAW_8K, lambda pcm: f'{{"samples": {list(pcm)}}}'.encode(), "text"),
    "an MP3 file for mu-law": (ULAW_8K, lambda pcm: b"ID3\x04" + compressed(pcm), "MP3"),
    "compressed audio for PCM16": (PCM_24K, lambda pcm: compressed(at(pcm, 24000)), "noise"),
    "an Ogg file for PCM16": (PCM_24K, lambda pcm: b"OggS" + compressed(pcm), "Ogg"),
    "a stereo file for PCM16": (PCM_24K, lambda pcm: wav(audioop.tostereo(pcm, 2, 1, 1), 1, 8000, 16, 2), "2 channels"),
}

CORRECTED = {
    "PCM16, big-endian, for PCM16": (PCM_24K, lambda pcm: audioop.byteswap(at(pcm, 24000), 2), PCM_24K),
    "mu-law for PCM16": (PCM_24K, pcm_to_ulaw, ULAW_8K),
    "a WAV file of mu-law for mu-law": (ULAW_8K, lambda pcm: wav(pcm_to_ulaw(pcm), 7, 8000, 8), ULAW_8K),
    "a WAV file of PCM16 at 16 kHz for mu-law": (ULAW_8K, lambda pcm: wav(at(pcm, 16000), 1, 16000, 16), PCM_16K),
    "a WAV file of A-law for PCM16": (PCM_24K, lambda pcm: wav(to_alaw(pcm), 6, 8000, 8), ULAW_8K),
}


@needs_voices
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_corrected_is_refused(name: str) -> None:
    """Within a fifth of a second of it, before any of its noise is played, in words that name both formats."""
    declared, spoil, word = REFUSED[name]
    for voice_name in VOICES:
        audio, played = spoil(voice(voice_name)), bytearray()
        with pytest.raises(AgentError, match=word) as refused:
            feed_until_refused(declared, audio, played)
        assert str(refused.value).endswith(f"where {declared} was agreed")
        assert not played.strip(b"\0\xff"), voice_name


@needs_voices
@pytest.mark.parametrize("name", CORRECTED)
def test_what_is_certain_is_corrected(name: str) -> None:
    """It is played as what it is, whole, and said."""
    declared, spoil, found = CORRECTED[name]
    for voice_name in VOICES:
        pcm = voice(voice_name)
        judge, played = judged(declared, spoil(pcm))
        assert judge.format == found, voice_name
        assert judge.correction, voice_name
        whole = pcm_to_ulaw(pcm) if found == ULAW_8K else at(pcm, found.rate_hz)
        assert played == (pcm_to_ulaw(from_alaw(to_alaw(pcm))) if "A-law" in name else whole), voice_name


@needs_voices
def test_a_law_is_corrected_where_it_shows() -> None:
    """Mu-law's nearest relative is told from it in nine voices of ten, and never takes a voice for another's."""
    corrected = 0
    for voice_name in VOICES:
        judge, played = judged(ULAW_8K, audioop.lin2alaw(voice(voice_name), 2))
        corrected += judge.correction is not None
        assert judge.format == ULAW_8K
        assert len(played) == len(voice(voice_name)) // 2
    assert corrected >= 0.85 * len(VOICES)


@needs_voices
@pytest.mark.parametrize("declared", [ULAW_8K, PCM_8K, PCM_16K, PCM_24K], ids=str)
@pytest.mark.parametrize("piece_ms", [1, 20, 100, 5000])
def test_what_is_right_is_not_touched(declared: AudioFormat, piece_ms: int) -> None:
    """Not a byte of any voice, however it is cut, whether silence comes first or not."""
    silence = b"\xff" * 1600 if declared == ULAW_8K else bytes(1600)
    for number, voice_name in enumerate(VOICES):
        pcm = voice(voice_name)
        audio = pcm_to_ulaw(pcm) if declared == ULAW_8K else at(pcm, declared.rate_hz)
        audio = silence * (number % 2) + audio
        judge, played = judged(declared, audio, piece_ms)
        assert (judge.format, judge.correction) == (declared, None), voice_name
        assert played == audio


@needs_voices
def test_little_is_held_back() -> None:
    """What is right is played after at most a fifth of a second of it, and half of the voices within 60 ms."""
    waits = []
    for voice_name in VOICES:
        judge, audio = FormatJudge(ULAW_8K), pcm_to_ulaw(voice(voice_name))
        waits.append(next(n for n in range(1, 100) if judge.feed(audio[160 * n - 160 : 160 * n].ljust(160, b"\xff"))))
    assert max(waits) * 160 <= DECIDING_BYTES["ulaw"] + 320
    assert sorted(waits)[len(waits) // 2] * 20 <= 60


def test_silence_is_played_at_once_and_zeros_are_never_full_scale() -> None:
    """Mu-law's silence goes through; PCM's zeros, which would be a click at full scale, become silence."""
    judge = FormatJudge(ULAW_8K)
    assert judge.feed(b"\xff" * 800) == b"\xff" * 800
    assert judge.feed(bytes(800)) == b"\xff" * 800
    assert FormatJudge(PCM_16K).feed(bytes(800)) == bytes(800)


def test_a_file_for_each_sentence_loses_each_header() -> None:
    """Also when a header is cut in two."""
    judge = FormatJudge(PCM_8K)
    tone = b"".join(struct.pack("<h", 9000 if n % 20 < 10 else -9000) for n in range(4000))
    file = wav(tone, 1, 8000, 16)
    assert judge.feed(file) == tone
    assert judge.feed(file[:20]) == b""
    assert judge.feed(file[20:]) == tone


def test_silence_cut_inside_a_sample_does_not_shift_what_follows() -> None:
    """PCM may be cut anywhere, before there is anything to judge too: what is looked at begins with a sample."""
    pcm = bytes(1001) + b"\0" + ulaw_to_pcm(prompt("menu"))
    judge = FormatJudge(PCM_8K)
    played = (
        b"".join(judge.feed(piece) for piece in (pcm[:3], pcm[3:4], pcm[4:9], pcm[9:1001], pcm[1001:])) + judge.finish()
    )
    assert judge.correction is None
    assert played == pcm
