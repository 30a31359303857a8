"""The WAV files before and after a call: every kind that people have is read, and what is written is the two voices."""

import audioop
import builtins
import math
import struct
import sys
import wave
from pathlib import Path

import pytest

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator import mix
from smartflo_bridge.simulator.loudness import level, speech_seconds

TONE_HZ = 440


def tone(rate_hz: int, seconds: float = 0.5) -> bytes:
    """Make a sine at half of full scale, as PCM16."""
    count = round(rate_hz * seconds)
    return b"".join(
        struct.pack("<h", round(16384 * math.sin(2 * math.pi * TONE_HZ * n / rate_hz))) for n in range(count)
    )


def wav(tag: int, bits: int, channels: int, rate_hz: int, sound: bytes, *, size: int | None = None) -> bytes:
    """Make a WAV file by hand, with a chunk before the sound that readers must skip."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * block, block, bits)
    if tag == 0xFFFE:
        fmt += struct.pack("<HHIH14x", 22, bits, 3, 1)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks += b"data" + struct.pack("<I", len(sound) if size is None else size) + sound
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def wideband(width: int) -> bytes:
    return audioop.lin2lin(tone(8000), 2, width)


STEREO = audioop.tostereo(tone(8000), 2, 1, 1)

FILES = {
    "16 bits": wav(1, 16, 1, 8000, tone(8000)),
    "8 bits": wav(1, 8, 1, 8000, audioop.bias(wideband(1), 1, 128)),
    "24 bits": wav(1, 24, 1, 8000, wideband(3)),
    "32 bits": wav(1, 32, 1, 8000, wideband(4)),
    "stereo": wav(1, 16, 2, 8000, STEREO),
    "extensible": wav(0xFFFE, 16, 1, 8000, tone(8000)),
    "mu-law": wav(7, 8, 1, 8000, audioop.lin2ulaw(tone(8000), 2)),
    "A-law": wav(6, 8, 1, 8000, audioop.lin2alaw(tone(8000), 2)),
    "16 kHz": wav(1, 16, 1, 16000, tone(16000)),
    "44.1 kHz stereo": wav(1, 16, 2, 44100, audioop.tostereo(tone(44100), 2, 1, 1)),
    "streamed, size unknown": wav(1, 16, 1, 8000, tone(8000), size=0xFFFFFFFF),
    "streamed, size 0": wav(1, 16, 1, 8000, tone(8000), size=0),
    "cut inside a sample": wav(1, 16, 1, 8000, tone(8000) + b"\0", size=9000),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_wav_is_read_as_the_same_tone(kind: str, tmp_path: Path) -> None:
    """Half a second of 440 Hz at the same loudness, whatever it came as."""
    path = tmp_path / "caller.wav"
    path.write_bytes(FILES[kind])
    ulaw = mix.read_wav(path)
    assert len(ulaw) / 8000 == pytest.approx(0.5, abs=0.01)
    inside = audioop.ulaw2lin(ulaw[400:3600], 2)  # a resampler rings at both ends
    assert audioop.cross(inside, 2) == pytest.approx(2 * TONE_HZ * 0.4, abs=2)
    assert level(ulaw) == pytest.approx(16384 / math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no WAV file"),
        (b"ID3 this is an MP3", "no WAV file"),
        (b"RIFF\0\0\0\0WAVE", "no fmt chunk"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0\0\0data\0\0\0\0", "fmt chunk is cut short"),
        (wav(1, 16, 1, 8000, b"")[:-8], "no data chunk"),
        (wav(3, 32, 1, 8000, b"\0" * 8), "format is 3 with 32 bits"),
        (wav(1, 16, 6, 8000, b"\0" * 12), "6 channels"),
        (wav(1, 16, 1, 0, b"\0" * 12), "0 Hz"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(content: bytes, why: str, tmp_path: Path) -> None:
    """It names the file and what is wrong with it."""
    path = tmp_path / "caller.wav"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"caller\.wav cannot be played: .*{why}"):
        mix.read_wav(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """The same for a file that is not there."""
    with pytest.raises(ConfigError, match=r"nobody\.wav: No such file"):
        mix.read_wav(tmp_path / "nobody.wav")


def test_another_rate_without_numpy_names_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra; 8000 Hz works without it."""
    real_import = builtins.__import__

    def without_numpy(name: str, *args: object) -> object:
        if name.split(".", 1)[0] == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return real_import(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_numpy)
    monkeypatch.delitem(sys.modules, "smartflo_bridge.core.resampling", raising=False)
    (tmp_path / "wide.wav").write_bytes(FILES["16 kHz"])
    (tmp_path / "narrow.wav").write_bytes(FILES["16 bits"])
    with pytest.raises(ConfigError, match=r"16000 Hz.*pip install 'smartflo-bridge\[resample\]'"):
        mix.read_wav(tmp_path / "wide.wav")
    assert mix.read_wav(tmp_path / "narrow.wav")


def test_the_mix_has_the_caller_left_and_the_bridge_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample for sample, in blocks; the shorter side ends in silence."""
    monkeypatch.setattr(mix, "_BLOCK_BYTES", 1000)
    caller = audioop.lin2ulaw(tone(8000), 2)
    bridge = caller[100:2600]
    mix.write_wav(tmp_path / "call.wav", caller=caller, bridge=bridge)
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        stereo = file.readframes(file.getnframes())
    assert audioop.tomono(stereo, 2, 1, 0) == audioop.ulaw2lin(caller, 2)
    assert audioop.tomono(stereo, 2, 0, 1) == audioop.ulaw2lin(bridge, 2) + bytes(2 * (len(caller) - len(bridge)))


def test_speech_is_counted_in_frames_and_silence_is_none() -> None:
    """A second of tone in two seconds of silence; a line's noise is silence too."""
    voice = audioop.lin2ulaw(tone(8000, 1.0), 2)
    hiss = audioop.lin2ulaw(struct.pack("<hh", 60, -60) * 4000, 2)
    assert speech_seconds(b"\xff" * 8000 + voice + hiss) == pytest.approx(1.0)
    assert level(b"") == 0


def test_the_built_in_voice_speaks() -> None:
    """Some seconds of it, and mostly speech."""
    voice = mix.built_in_voice()
    assert 2 < len(voice) / 8000 < 60
    assert speech_seconds(voice) > len(voice) / 8000 / 4


def test_a_package_without_its_voice_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody repackaged it badly."""
    monkeypatch.setattr(mix, "_SAMPLE", "nobody.ulaw")
    with pytest.raises(ConfigError, match=r"nobody\.ulaw is not installed"):
        mix.built_in_voice()
