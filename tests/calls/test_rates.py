"""Other sample rates than 8 kHz: through the resampler where numpy is, with a sentence that helps where it is not."""

import math
import struct
import subprocess
import sys

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.calls.rates import SameRate, rate_converter
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.errors import HandlerError
from virtual_clock import virtual

MAX_DELAY_SECONDS = 0.003


def tone(hertz, seconds, rate_hz, amplitude=8000):
    """Return PCM16 of a sine."""
    count = round(seconds * rate_hz)
    return struct.pack(
        f"<{count}h", *(round(amplitude * math.sin(2 * math.pi * hertz * at / rate_hz)) for at in range(count))
    )


def level(pcm):
    """Return the RMS of PCM16."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / max(len(samples), 1))


@pytest.fixture
def without_numpy(monkeypatch):
    """Let numpy be not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == "numpy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "smartflo_bridge.core.resampling", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100, 48_000])
@virtual
async def test_other_rates_are_heard_at_8000(rate_hz):
    """A second of a tone is a second of that tone, as loud as it was, in whole frames, cut anywhere."""
    pcm = tone(440, 1.0, rate_hz)

    async def speak(call):
        for at in range(0, len(pcm), 777):
            assert await call.play(pcm[at : at + 777], rate_hz)

    dialled = Dialled(speak)
    session = await dialled.over()
    seconds = (session.ledger.sent_bytes - session.ledger.padding_bytes) / 8000
    assert 1.0 <= seconds < 1.0 + MAX_DELAY_SECONDS + 2 / 8000
    heard = ulaw_to_pcm(dialled.peer.audio)
    assert level(heard[800:15_000]) == pytest.approx(8000 / math.sqrt(2), rel=0.02)
    assert session.ledger.padding_bytes < 160


@virtual
async def test_what_8_khz_cannot_carry_is_filtered_out():
    """A tone of 5 kHz at 16 kHz does not come back as one of 3 kHz."""
    pcm = tone(5000, 1.0, 16_000)

    async def speak(call):
        await call.play(pcm, 16_000)

    dialled = Dialled(speak)
    await dialled.over()
    assert level(ulaw_to_pcm(dialled.peer.audio)[800:15_000]) < 8


@virtual
async def test_the_end_of_an_utterance_is_not_cut_off():
    """What the filter still holds is played: before a mark, before another rate, and when the handler returns."""

    async def speak(call):
        await call.play(tone(440, 0.2, 16_000), 16_000)
        await call.mark("one")
        await call.play(tone(440, 0.2, 16_000), 16_000)
        await call.play(tone(440, 0.2, 24_000), 24_000)

    dialled = Dialled(speak)
    session = await dialled.over()
    delays = 3 * math.ceil(MAX_DELAY_SECONDS * 8000)
    assert session.ledger.accepted_bytes == 3 * 1600 + delays


@virtual
async def test_an_utterance_keeps_its_own_filter():
    """Two utterances fed in turns do not disturb each other's samples."""

    async def speak(call):
        one, two = call.utterance(16_000), call.utterance(16_000)
        for at in range(0, 6400, 640):
            await one.play(tone(440, 0.2, 16_000)[at : at + 640])
            await two.play(bytes(640))
        one.end()
        two.end()
        one.end()

    dialled = Dialled(speak)
    session = await dialled.over()
    assert session.ledger.accepted_bytes == 2 * (1600 + math.ceil(MAX_DELAY_SECONDS * 8000))


@virtual
async def test_without_numpy_8000_hz_works(without_numpy):
    """The extra is needed for other rates, and for nothing else."""

    async def speak(call):
        assert await call.play(ulaw_to_pcm(speech(0.1)))

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.audio == speech(0.1)


@virtual
async def test_without_numpy_another_rate_is_a_sentence(without_numpy):
    """It says what is missing and how to install it, and the call goes on."""
    said = []

    async def speak(call):
        for attempt in (lambda: call.play(b"\0\0", 16_000), lambda: call.play(b"\0\0", 24_000)):
            with pytest.raises(HandlerError) as error:
                await attempt()
            said.append(str(error.value))
        with pytest.raises(HandlerError, match="needs numpy"):
            call.utterance(16_000)
        await call.play(speech(0.1), encoding="ulaw")

    dialled = Dialled(speak)
    await dialled.over()
    assert said[0] == "audio at 16000 Hz needs numpy for 8000 Hz: pip install 'smartflo-bridge[resample]'"
    assert "24000" in said[1]
    assert dialled.peer.audio == speech(0.1)


def test_the_same_rate_is_no_conversion():
    """Bytes pass; half a sample waits for its other half, or is dropped at the end."""
    same = rate_converter(8000)
    assert isinstance(same, SameRate)
    assert [same.convert(piece) for piece in (b"\1\2\3", b"\4", b"", b"\5")] == [b"\1\2", b"\3\4", b"", b""]
    assert same.flush() == b""
    assert same.convert(b"\6\7") == b"\6\7"


def test_numpy_is_not_loaded_unless_it_is_needed():
    """Importing the package, and every module of the shell, costs nobody numpy."""
    code = "import sys, smartflo_bridge, smartflo_bridge.calls.actor; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "False\n"
