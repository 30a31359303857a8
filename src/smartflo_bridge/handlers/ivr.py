"""The default handler: a small menu that shows what a call can do, without an account and without a network.

It greets, then offers by keys: the time, an echo, a recording played back, and a goodbye. A key interrupts whatever is
being said. The prompts are mu-law files beside this module, made by `scripts/make-prompts`.
"""

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib import resources

from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import DTMFEvent, MediaEvent
from smartflo_bridge.handlers.echo import Echo

KEY_TIMEOUT_SECONDS = 6.0
"""How long the caller may think after the menu has been read."""

MAX_TRIES = 3
"""How often a silent caller is asked before we say goodbye."""

MAX_RECORDING_SECONDS = 30


@functools.cache
def prompt(name: str) -> bytes:
    """Return a prompt's mu-law."""
    return resources.files(__package__).joinpath("prompts", f"{name}.ulaw").read_bytes()


async def say(call: Call, *names: str) -> None:
    """Queue prompts, one behind the other."""
    for name in names:
        await call.play(prompt(name), encoding="ulaw")


async def ivr(call: Call) -> None:
    """Greet, and offer the menu until the caller leaves."""
    await say(call, "greeting")
    tries = 0
    while tries < MAX_TRIES:
        await say(call, "menu")
        key = await call.digits(1, KEY_TIMEOUT_SECONDS, terminator="")
        if key == "9":
            break
        if key in MENU:
            tries = 0
            await MENU[key](call)
        else:
            tries += 1
            await say(call, "invalid" if key else "still-there")
    await say(call, "goodbye")


async def tell_time(call: Call) -> None:
    """Say the time where this runs."""
    await say(call, "time", *time_prompts(datetime.now().astimezone()))


def time_prompts(now: datetime) -> list[str]:
    """Return the prompts that say a time: "three oh five P M"."""
    minutes = [f"number-{now.minute}"] if now.minute else ["o-clock"]
    if 0 < now.minute < 10:
        minutes.insert(0, "oh")
    return [f"number-{now.hour % 12 or 12}", *minutes, "a-m" if now.hour < 12 else "p-m"]


async def echo_back(call: Call) -> None:
    """Let the caller hear themselves until they press a key."""
    await say(call, "echo")
    announced = call.mark("echo")
    playback = Echo(call)
    async for event in call:
        if isinstance(event, DTMFEvent):
            call.interrupt()
            return
        if isinstance(event, MediaEvent) and announced.done():
            await playback.play(event)


async def record(call: Call) -> None:
    """Record what the caller says until they press a key, and play it back."""
    await say(call, "record", "tone")
    announced = call.mark("record")
    recording = bytearray()
    async for event in call:
        if isinstance(event, MediaEvent) and announced.done():
            recording += event.ulaw
        if isinstance(event, DTMFEvent) or len(recording) >= MAX_RECORDING_SECONDS * SAMPLE_RATE_HZ:
            break
    if not announced.done():
        call.interrupt()
    if recording:
        await say(call, "playback")
        await call.play(bytes(recording), encoding="ulaw")
    else:
        await say(call, "nothing")


MENU: dict[str, Callable[[Call], Awaitable[None]]] = {"1": tell_time, "2": echo_back, "3": record}
