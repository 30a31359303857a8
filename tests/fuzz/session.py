"""Fuzz target: the session, in a call that bytes write. Each byte is something that happens, or for how long nothing does.

What is checked is what Hypothesis' machine checks after every step (`core.test_session_properties`): that model of a call sees
only what goes in and what comes out, and knows what must hold. Here it is the coverage that leads, and not chance.
"""

import random
from collections.abc import Iterator

from core.support import OTHER_SID, SID, media, speech
from core.test_session_properties import ENDS, SAID_BY_THE_PLATFORM, AnyCall
from fuzz.choices import Choices
from smartflo_bridge.core.signals import HandlerDone, Tick

MAX_BYTES = 100
"""Some forty steps: what needs more is for Hypothesis' machine, and for the soak."""

WORDS: list[str] = []

NAMES = [None, "a", "a.2", "a.3", "a.4", "m3", "goodbye"]
SIZES = [0, 1, 159, 160, 161, 800, 1_600, 4_001, 20_000]
SECONDS = [0.001, 0.02, 0.05, 0.1, 0.199, 0.2, 0.35, 1.0, 2.5, 11.0, 61.0]
LEADS = [(0.2, 0.1), (0.2, 0.02), (0.04, 0.02), (0.5, 0.16)]


def seeds() -> Iterator[bytes]:
    """Yield calls of any kind; and one of each step, often repeated."""
    yield b""
    for step in range(len(STEPS)):
        yield bytes(8) + bytes([step, 3]) * 20
    chance = random.Random(5)
    for length in range(10, MAX_BYTES, 2):
        yield chance.randbytes(length)


def check(data: bytes) -> None:
    """Play the call; the machine's assertions say what does not hold."""
    choices = Choices(data)
    call = AnyCall()
    call.open(
        way=choices.one_of(["close", "end"]),
        greets=choices.one_of(["auto", "always", "never"]),
        lead=choices.one_of(LEADS),
        queue=choices.one_of([60.0, 1.0, 0.2]),
        slack=choices.one_of([2.0, 0.1]),
        longest=choices.one_of([14_400.0, 20.0]),
        budget=choices.one_of([20, 2]),
        starts=choices.below(4) < 3,
        patience=0,
    )
    call.nothing_is_late_or_lost()
    while choices.are_left:
        choices.one_of(STEPS)(call, choices)
        call.nothing_is_late_or_lost()
        _check_limits(call)
    call.teardown()


def _check_limits(call: AnyCall) -> None:
    """Two that the model does not keep: how long a call may last, and how much in it may be malformed."""
    session, settings = call.session, call.settings
    malformed = session.ledger.anomalies["malformed"]
    assert malformed <= settings.bad_message_budget + session.is_over, "too much malformed"
    is_told = isinstance(call.record[-1][0], Tick) and call.record[-1][1] >= settings.max_call_seconds
    assert session.is_over or not is_told, "too long"


# --- Steps


def _hear(call: AnyCall, choices: Choices) -> None:
    call.hear(event=choices.one_of(SAID_BY_THE_PLATFORM))


def _listen(call: AnyCall, choices: Choices) -> None:
    sid = choices.one_of([SID, None, OTHER_SID])
    call.hear(event=media(speech(choices.below(2_000)), sid))


def _play(call: AnyCall, choices: Choices) -> None:
    call.play(size=choices.below(2_000), is_stale=choices.below(4) == 3)


def _recite(call: AnyCall, choices: Choices) -> None:
    call.recite(sizes=[choices.one_of(SIZES) for _ in range(1 + choices.below(3))])


def _place(call: AnyCall, choices: Choices) -> None:
    call.place(name=choices.one_of(NAMES))


def _ask(call: AnyCall, choices: Choices) -> None:
    call.ask(interrupts=choices.below(3) == 2)


def _hang_up(call: AnyCall, choices: Choices) -> None:
    if choices.below(4) == 3:
        call.hang_up()


def _end(call: AnyCall, choices: Choices) -> None:
    end = choices.one_of(ENDS)
    if choices.below(4) == 3 or isinstance(end, HandlerDone):
        call.end(end=end)


def _echo(call: AnyCall, choices: Choices) -> None:
    call.echo(number=choices.below(6), is_repeated=choices.below(4) == 3)


def _tick(call: AnyCall, choices: Choices) -> None:
    call.tick_for_nothing()


def _wait(call: AnyCall, choices: Choices) -> None:
    call.wait(seconds=choices.one_of(SECONDS))


def _wait_ms(call: AnyCall, choices: Choices) -> None:
    call.wait(seconds=(1 + choices.below(4_000)) / 10_000)


def _oversleep(call: AnyCall, choices: Choices) -> None:
    call.oversleep(seconds=choices.one_of(SECONDS), has_tick=choices.below(2) == 1)


STEPS = [_hear, _listen, _play, _recite, _place, _ask, _hang_up, _end, _echo, _tick, _wait, _wait_ms, _oversleep]
