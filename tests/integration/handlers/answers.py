"""Handlers of a user, for the daemons under test: found in their working directory, run on a thread of their own.

`answer` does what the call's custom parameter `role` says. It shares no code with the tests but `speech`.
"""

import asyncio
import random
import sys
import time

from smartflo_bridge import Call, MediaEvent

FRAME_BYTES = 160
SPOKEN = bytes(0x11 if byte in (0x00, 0x7F, 0x80, 0xFF) else byte for byte in range(256))
"""What `speech` is made of: neither silence nor full-scale clicks, so that each of those is from elsewhere."""


def speech(seed: str, seconds: float) -> bytes:
    """Return mu-law that is like no other: whatever is lost of it, repeated or put elsewhere shows."""
    return random.Random(seed).randbytes(round(seconds * 50) * FRAME_BYTES).translate(SPOKEN)


async def answer(call: Call) -> None:
    """Do what the caller's custom parameter `role` says."""
    await ROLES[call.custom_parameters.get("role", "listen")](call)


async def listen(call: Call) -> None:
    """Say nothing until the call ends."""
    async for _ in call:
        pass


async def speak(call: Call) -> None:
    """Say `seconds` of speech, a mark behind each of them; listen until the call ends."""
    seconds = float(call.custom_parameters.get("seconds", "60"))
    said = speech(call.custom_parameters["seed"], seconds)
    for at in range(0, len(said), 8000):
        await call.play(said[at : at + 8000], encoding="ulaw")
        call.mark()
    await listen(call)


async def echo(call: Call) -> None:
    """Play back what comes, byte for byte."""
    async for event in call:
        if isinstance(event, MediaEvent):
            await call.play(event.ulaw, encoding="ulaw")


async def fail(call: Call) -> None:
    """Raise, once the caller presses a key."""
    await _key(call)
    raise RuntimeError("this handler fails on purpose")


async def fail_at(call: Call) -> None:
    """Raise at the first event of the kind that the parameter `event` names."""
    async for event in call:
        if type(event).__name__.lower() == f"{call.custom_parameters['event']}event":
            raise RuntimeError("this handler fails on purpose")


async def leave(call: Call) -> None:
    """Call sys.exit, as a script would, once the caller presses a key."""
    await _key(call)
    sys.exit(3)


async def block(call: Call) -> None:
    """Block the handlers' thread for two seconds, once the caller presses a key."""
    await _key(call)
    time.sleep(2)  # noqa: ASYNC251 - that is what is tested
    await call.play(speech("awake", 0.2), encoding="ulaw")
    await listen(call)


async def block_for_good(call: Call) -> None:
    """Block the handlers' thread, once the caller presses a key."""
    await _key(call)
    time.sleep(3600)  # noqa: ASYNC251 - that is what is tested


async def wait_in_a_thread(call: Call) -> None:
    """Await what blocks a thread of the loop's own pool, once the caller presses a key: the polite way to block."""
    await _key(call)
    await asyncio.to_thread(time.sleep, 3600)


async def never_end(call: Call) -> None:
    """Go on after the call, until it is cancelled."""
    await asyncio.Event().wait()


async def ignore_cancelling(call: Call) -> None:
    """Go on after the call, and after being cancelled too."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def hang_up(call: Call) -> None:
    """Say `seconds` of speech, and hang up."""
    await call.play(speech(call.custom_parameters["seed"], float(call.custom_parameters["seconds"])), encoding="ulaw")
    await call.hang_up()


async def flood(call: Call) -> None:
    """Send a frame and a `clear`, as often as `times` says, as fast as can be."""
    frame = speech("flood", 0.02)
    for number in range(int(call.custom_parameters["times"])):
        await call.play(frame, encoding="ulaw")
        interrupted = call.interrupt()
        if number % 100 == 99:  # as many may be unanswered
            await interrupted
    await listen(call)


async def speak_without_end(call: Call) -> None:
    """Play an hour of speech, as fast as it is taken."""
    second = speech("endless", 1.0)
    for _ in range(3600):
        await call.play(second, encoding="ulaw")


async def mark_without_waiting(call: Call) -> None:
    """Place marks in a loop that never awaits anything."""
    while True:
        call.mark()


async def sleep_over(call: Call) -> None:
    """Take no event for as long as the parameter `seconds` says, without blocking anything; then echo."""
    await asyncio.sleep(float(call.custom_parameters["seconds"]))
    await echo(call)


async def _key(call: Call) -> None:
    await call.digits(1, 3600)


ROLES = {
    "listen": listen,
    "speak": speak,
    "echo": echo,
    "fail_at": fail_at,
    "speak_without_end": speak_without_end,
    "mark_without_waiting": mark_without_waiting,
    "sleep_over": sleep_over,
    "fail": fail,
    "leave": leave,
    "block": block,
    "block_for_good": block_for_good,
    "wait_in_a_thread": wait_in_a_thread,
    "never_end": never_end,
    "ignore_cancelling": ignore_cancelling,
    "hang_up": hang_up,
    "flood": flood,
}
