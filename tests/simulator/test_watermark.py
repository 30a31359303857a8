"""The watermark: found wherever it was put, inaudible, and never where it was not."""

import audioop
import itertools

from hypothesis import given
from hypothesis import strategies as st

from simulator.support import SILENT, noise, speech
from smartflo_bridge.simulator.watermark import WatermarkReader, stamp


def read(ulaw: bytes, *cuts: int) -> list[int]:
    """Read audio that comes in pieces."""
    reader = WatermarkReader()
    edges = [0, *sorted(cuts), len(ulaw)]
    return [number for start, end in itertools.pairwise(edges) for number in reader.read(ulaw[start:end])]


@given(st.integers(0, 255), st.integers(1, 6), st.integers(0, 500), st.lists(st.integers(0, 1400), max_size=6))
def test_every_whole_frame_tells_its_utterance_however_it_is_cut(
    number: int, frames: int, lead: int, cuts: list[int]
) -> None:
    """Wherever frames begin, and in pieces of any length."""
    assert read(SILENT * lead + stamp(noise(frames), number), *cuts) == [number] * frames


def test_it_survives_the_way_through_pcm() -> None:
    """Mu-law to PCM16 and back, at 8000 Hz."""
    stamped = stamp(speech(2.0), 9)
    assert read(audioop.lin2ulaw(audioop.ulaw2lin(stamped, 2), 2)) == [9] * 100


def test_numbers_count_on_across_the_wrap() -> None:
    """Only eight bits travel."""
    assert read(b"".join(stamp(noise(1), number) for number in (254, 255, 256, 257))) == [254, 255, 256, 257]
    assert read(stamp(noise(1), 300)) == [44]


def test_it_is_inaudible() -> None:
    """No byte changes by more than one step of mu-law: some 38 dB below the sound."""
    voice = speech(2.0)
    stamped = stamp(voice, 5)
    assert all(before ^ after in (0, 1) for before, after in zip(voice, stamped, strict=True))
    difference = audioop.add(audioop.ulaw2lin(stamped, 2), audioop.mul(audioop.ulaw2lin(voice, 2), 2, -1), 2)
    assert audioop.rms(difference, 2) < audioop.rms(audioop.ulaw2lin(voice, 2), 2) / 40


def test_nothing_is_found_where_there_is_none() -> None:
    """In speech, noise and silence."""
    assert read(speech(20.0) + noise(500) + SILENT * 8000) == []
