"""Turn latency, by whole sessions with numbers for time; then 1,000 turns of recorded speech whose ends are known.

A conversation below is a caller's audio, cut into chunks as the platform cuts it, and what the handler does when.
"""

import functools
import itertools
import math
from array import array
from collections.abc import Callable

import pytest

from recorded_speech import PROMPTS, line_noise, np, prompts, to_ulaw
from smartflo_bridge.core.audio import SILENCE, pcm_to_ulaw
from smartflo_bridge.core.commands import Interrupt, Play
from smartflo_bridge.core.incoming import DTMF, DTMFEvent, Media, MediaEvent, StartEvent, StopEvent
from smartflo_bridge.core.ledger import MAX_TURNS, Ledger, Turn
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import HandlerDone, Opened, Tick
from smartflo_bridge.log import end_of_call

needs_recordings = pytest.mark.skipif(
    not PROMPTS.is_dir(), reason="recordings are not installed (Debian: asterisk-core-sounds-en-wav)"
)
Act = tuple[float, Input]


@functools.cache
def tone(seconds: float, level: int = 6000) -> bytes:
    """Return something as loud as speech: 300 Hz. A thousand turns ask for the same."""
    samples = (round(level * math.sin(2 * math.pi * 300 * n / 8000)) for n in range(round(seconds * 8000)))
    return pcm_to_ulaw(array("h", samples).tobytes())


def hush(seconds: float) -> bytes:
    """Return digital silence."""
    return SILENCE * round(seconds * 8000)


def chunks(caller: bytes, size: int = 800, delay: Callable[[int], float] = lambda number: 0.001) -> list[Act]:
    """Cut the caller's audio; each chunk comes when it has been spoken, and a delay later, never out of order."""
    acts: list[Act] = []
    for number, at in enumerate(range(0, len(caller), size)):
        ulaw = caller[at : at + size]
        spoken = (at + len(ulaw)) / 8000
        event = MediaEvent(media=Media(ulaw, number + 1, str(round(spoken * 1000))))
        acts.append((max(spoken + delay(number), acts[-1][0] if acts else 0.0), event))
    return acts


def say(at: float, ulaw: bytes, epoch: int = 0) -> Act:
    """Have the handler play something."""
    return (at, Play(ulaw, epoch))


def converse(heard: list[Act], *acts: Act) -> Session:
    """Carry out a conversation."""
    session = Session(SessionSettings(max_call_seconds=80_000, queue_seconds=3600))
    session.handle(Opened(), 0.0)
    session.handle(StartEvent(stream_sid="MZ1"), 0.0)
    for at, given in sorted([*heard, *acts], key=lambda act: act[0]):
        while (deadline := session.deadline) is not None and deadline < at:
            session.handle(Tick(), deadline)
        session.handle(given, at)
    return session


def turns_ms(session: Session) -> list[tuple[int, int]]:
    """Return each turn's beginning and end, in ms."""
    return [(round(turn.fell_silent_at * 1000), round(turn.answered_at * 1000)) for turn in session.ledger.turns]


def one_turn(session: Session, fell_silent_ms: int, answered_ms: int) -> bool:
    """Tell whether there was one turn, and whether both ends are within 10 ms of what they should be."""
    found = turns_ms(session)
    return len(found) == 1 and all(
        abs(is_ - should) <= 10 for is_, should in zip(found[0], (fell_silent_ms, answered_ms), strict=True)
    )


CALLER = hush(1) + tone(1) + hush(4)
"""Speaks from 1 s to 2 s."""


@pytest.mark.parametrize("size", [160, 800, 4000])
def test_a_turn_is_from_the_callers_silence_to_our_first_sound(size: int) -> None:
    """However long the chunks are in which the caller's audio comes."""
    assert one_turn(converse(chunks(CALLER, size), say(2.7, tone(1))), 2000, 2700)


def test_silence_that_we_send_is_no_answer() -> None:
    """It begins to count with the first sound in it, and when that plays: what is sent ahead has not been heard."""
    assert one_turn(converse(chunks(CALLER), say(2.3, hush(0.5) + tone(1))), 2000, 2800)


def test_an_answer_is_counted_though_the_call_ends_at_once() -> None:
    """No more of the caller's audio comes to show that they stayed silent; but if they are speaking, it is no answer."""
    heard = chunks(hush(1) + tone(1) + hush(1))
    answered = converse(heard, say(3.0015, tone(0.1)), (3.002, StopEvent(stream_sid="MZ1")))
    assert one_turn(answered, 2000, 3001)
    spoken_to = converse(chunks(hush(1) + tone(2)), say(3.0015, tone(0.1)), (3.002, StopEvent(stream_sid="MZ1")))
    assert turns_ms(spoken_to) == []


def test_the_noise_of_a_synthesiser_is_silence() -> None:
    """Below -48 dBFS nobody hears an answer begin."""
    assert one_turn(converse(chunks(CALLER), say(2.3, tone(0.4, level=100) + tone(1))), 2000, 2700)


def test_a_greeting_is_no_turn() -> None:
    """Nobody has said anything yet."""
    assert turns_ms(converse(chunks(CALLER), say(0.2, tone(0.5)))) == []


def test_an_answer_has_one_turn() -> None:
    """Its pauses and its second sentence begin no further one."""
    answer = tone(0.5) + hush(0.3) + tone(0.5)
    assert one_turn(converse(chunks(CALLER), say(2.5, answer), say(4.8, tone(0.3))), 2000, 2500)


def test_a_pause_of_the_caller_is_not_the_end() -> None:
    """What counts is the last silence before our answer."""
    caller = hush(1) + tone(0.5) + hush(0.8) + tone(0.5) + hush(3)
    assert one_turn(converse(chunks(caller), say(3.3, tone(0.5))), 2800, 3300)


def test_an_answer_into_a_pause_is_a_turn() -> None:
    """We took the pause for the end: that was fast, and the caller, who goes on, is answered again later."""
    caller = hush(1) + tone(0.5) + hush(0.8) + tone(1) + hush(4)
    session = converse(chunks(caller), say(1.8, tone(0.2)), say(4.0, tone(0.5)))
    assert len(turns_ms(session)) == 2


def test_an_answer_at_once_is_known_in_hindsight() -> None:
    """Long before the silence is long enough to be one."""
    assert one_turn(converse(chunks(CALLER), say(2.05, tone(0.5))), 2000, 2050)


def test_speaking_while_the_caller_speaks_is_no_turn() -> None:
    """We began before the caller had ended; nothing was answered."""
    assert turns_ms(converse(chunks(CALLER), say(1.5, tone(1)))) == []


def test_talk_over_our_speech_is_no_turn() -> None:
    """The caller says "aha"; we go on, and what we say after a while is no answer to it."""
    assert turns_ms(converse(chunks(CALLER), say(0.5, tone(2)), say(4.0, tone(0.5)))) == []


@pytest.mark.parametrize("pause", [0.3, 0.45])
def test_talk_over_that_ends_in_a_pause_of_ours_is_no_turn(pause: float) -> None:
    """We are silent just then, but only between two words."""
    ours = tone(1.7 - pause / 2) + hush(pause) + tone(1)
    assert turns_ms(converse(chunks(CALLER), say(0.3, ours))) == []


def test_talk_over_the_last_of_our_words_is_no_turn() -> None:
    """The caller ended before us, so nobody knows what the wait was for."""
    assert turns_ms(converse(chunks(CALLER), say(0.5, tone(1.7)), say(3.0, tone(0.5)))) == []


def test_speaking_twice_while_the_caller_speaks_is_no_turn() -> None:
    """Nor is it one for what the caller had said before that, which nobody answered."""
    caller = hush(1) + tone(1) + hush(1) + tone(3) + hush(2)
    assert turns_ms(converse(chunks(caller), say(4.0, tone(0.1)), say(5.0, tone(0.1)))) == []


def test_what_happens_within_one_chunk_is_told_apart() -> None:
    """The caller, with chunks of half a second, speaks again 0.1 s after we began to answer."""
    caller = hush(1) + tone(1) + hush(0.8) + tone(1) + hush(1)
    assert one_turn(converse(chunks(caller, 4000), say(2.7, tone(0.3))), 2000, 2700)


def test_the_first_of_two_answers_within_one_chunk_counts() -> None:
    """We began, broke off, and began again, before the caller's next audio came."""
    acts = [say(2.55, tone(0.3)), (2.7, Interrupt(1)), say(2.8, tone(0.5), epoch=1)]
    assert one_turn(converse(chunks(CALLER, 4000), *acts), 2000, 2550)


def test_a_caller_who_had_just_begun_again_was_not_silent() -> None:
    """By 10 ms: when we began, nobody could know."""
    caller = hush(1) + tone(1) + hush(0.87) + tone(1) + hush(1)
    assert turns_ms(converse(chunks(caller), say(2.885, tone(0.3)))) == []


def test_barge_in_counts_from_the_callers_words() -> None:
    """The interrupt comes after them, as recognisers are; the wait began when the caller fell silent."""
    session = converse(chunks(CALLER), say(0.5, tone(4)), (2.4, Interrupt(1)), say(2.9, tone(0.5), epoch=1))
    assert one_turn(session, 2000, 2900)


def test_barge_in_during_the_callers_words_is_an_ordinary_turn() -> None:
    """We have been silent for a while when the caller is."""
    session = converse(chunks(CALLER), say(0.5, tone(4)), (1.4, Interrupt(1)), say(2.6, tone(0.5), epoch=1))
    assert one_turn(session, 2000, 2600)


def test_an_interrupt_long_after_the_callers_words_is_not_theirs() -> None:
    """Something else made us stop."""
    session = converse(chunks(CALLER + hush(4)), say(0.5, tone(6)), (5.5, Interrupt(1)), say(5.8, tone(0.5), epoch=1))
    assert turns_ms(session) == []


def test_what_follows_a_key_answers_the_key() -> None:
    """Not the words before it."""
    key = DTMFEvent(dtmf=DTMF("4"))
    assert turns_ms(converse(chunks(CALLER), (3.5, key), say(3.8, tone(0.5)))) == []


def test_an_answer_right_after_our_last_words_ended_is_a_turn() -> None:
    """The caller began to speak over their end, and ended after it."""
    assert one_turn(converse(chunks(CALLER), say(0.2, tone(1.2)), say(2.5, tone(0.5))), 2000, 2500)


def test_a_delayed_chunk_moves_nothing() -> None:
    """The network holds everything up for 0.6 s just when the caller falls silent."""

    def stall(number: int) -> float:
        return 0.001 + max(0.0, 0.6 - 0.1 * (number - 18)) * (number >= 18)

    assert one_turn(converse(chunks(CALLER, delay=stall), say(3.0, tone(0.5))), 2000, 3000)


def test_a_gap_in_the_callers_audio_is_silence() -> None:
    """The platform sends nothing for 3 s, from inside the silence on, and says so in its timestamps."""
    acts = chunks(CALLER + tone(1) + hush(3))
    before = [act for act in acts if act[0] < 2.25]
    behind = [(at + 3, event) for at, event in acts if at > 2.25]
    shifted = [
        (at, MediaEvent(media=Media(event.media.payload, event.media.chunk, int(event.media.timestamp) + 3000)))
        for at, event in behind
        if isinstance(event, MediaEvent)
    ]
    session = converse([*before, *shifted], say(4.5, tone(0.5)), say(10.9, tone(0.5)))
    assert [tuple(round(ms, -2) for ms in turn) for turn in turns_ms(session)] == [(2000, 4500), (10000, 10900)]


def test_a_turn_after_the_handlers_end_counts() -> None:
    """What was queued is still to be heard; the caller's audio is looked at whoever takes it."""
    assert one_turn(converse(chunks(CALLER), say(2.5, tone(1)), (2.5, HandlerDone())), 2000, 2500)


def test_the_line_that_ends_a_call_says_how_long_its_caller_waited() -> None:
    """How many turns, and what half of them and nearly all of them did not exceed; nothing without one."""
    caller = hush(1) + tone(1) + hush(3) + tone(1) + hush(3)
    session = converse(chunks(caller), say(2.5, tone(1)), say(7.2, tone(1)))
    short, long = (round(turn.seconds * 1000) for turn in session.ledger.turns)
    assert f" turns=2 turn_p50_ms={short} turn_p95_ms={long}" in end_of_call(session, 9.0)
    assert "turn" not in end_of_call(converse(chunks(caller)), 9.0)


def test_the_ledger_ranks_turns() -> None:
    """By nearest rank; beyond its limit they are only counted."""
    ledger = Ledger()
    assert ledger.turn_seconds(50) is None
    for number in range(1, MAX_TURNS + 11):
        ledger.note_turn(Turn(0.0, float(number)))
    assert (ledger.turn_count, len(ledger.turns)) == (MAX_TURNS + 10, MAX_TURNS)
    assert (ledger.turn_seconds(50), ledger.turn_seconds(95)) == (512.0, 973.0)


@needs_recordings
@pytest.mark.parametrize(
    ("dbfs", "colour", "within_20_ms", "p50_ms"),
    [(None, "none", 1.0, 4), (-60, "white", 1.0, 4), (-50, "pink", 0.95, 5), (-40, "white", 0.82, 9)],
)
def test_a_thousand_turns_of_recorded_speech(
    dbfs: float | None, colour: str, within_20_ms: float, p50_ms: float
) -> None:
    """Each is found, no other is, and its length is right; with 60 ms of jitter, and a caller who waits 0.6 s or more."""
    rng = np.random.default_rng(11)
    voices = list(itertools.islice(itertools.cycle(prompts().values()), 1000))
    rng.shuffle(voices)  # type: ignore[arg-type]
    errors = []
    for first in range(0, 1000, 50):
        track, acts, truths, at = [], [], [], 0
        for voice in voices[first : first + 50]:
            before, wait = int(rng.uniform(0.6, 1.5) * 8000), rng.uniform(0.25, 1.5)
            ends = at + before + len(voice)
            truths.append((ends / 8000, ends / 8000 + wait))
            acts.append(say(ends / 8000 + wait, tone(0.5)))
            behind = int((wait + 0.5) * 8000)
            track += [np.zeros(before), voice, np.zeros(behind)]
            at = ends + behind
        samples = np.concatenate([*track, np.zeros(8000)])
        ulaw = to_ulaw(samples + line_noise(len(samples), dbfs, colour, rng))
        jitter = rng.exponential(0.02, len(ulaw) // 800 + 1).clip(0, 0.06)
        session = converse(chunks(ulaw, delay=lambda number, jitter=jitter: float(jitter[number])), *acts)
        assert session.ledger.turn_count == len(truths)
        for turn, (silent, answered) in zip(session.ledger.turns, truths, strict=True):
            assert turn.answered_at == pytest.approx(answered, abs=0.001)
            errors.append(abs(turn.fell_silent_at - silent) * 1000)
    assert sum(error <= 20 for error in errors) / len(errors) >= within_20_ms
    assert np.median(errors) <= p50_ms
