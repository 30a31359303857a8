"""A captured bridge answers new callers: what it said is said again, at its times, whatever the caller does.

For a caller, or a platform, that is to be tested against the very same answer each time, and to listen to a call again.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from smartflo_bridge.calls.call import MAX_MARK_NAME, Call
from smartflo_bridge.calls.home import Handler
from smartflo_bridge.captures.format import CaptureError, Record
from smartflo_bridge.captures.said import Said, said_in
from smartflo_bridge.captures.script import started_in
from smartflo_bridge.core.effects import Termination

FAREWELL = "goodbye"
"""The session's own last mark. It places it anew when the handler hangs up."""


class Saying(msgspec.Struct, frozen=True):
    """What is said, and how long after the start."""

    at_seconds: float
    said: Said


class Part(msgspec.Struct, frozen=True):
    """The bridge's part of a call. `hangs_up`: it ended the call; if not, it stays until the caller has gone."""

    sayings: tuple[Saying, ...]
    hangs_up: bool


def part_of(records: Iterable[Record]) -> Part:
    """Return what the bridge did in a capture.

    Raises:
        CaptureError: there was no `start`, so there is nothing that could be answered.
    """
    started_ns: int | None = None
    sayings: list[Saying] = []
    hangs_up = False
    for record in records:
        if started_ns is None and started_in(record) is not None:
            started_ns = record.t
        text = record.wire if record.dir == "out" else None
        if text is not None and started_ns is not None:
            sayings.append(Saying((record.t - started_ns) / 1e9, said_in(text)))
        hangs_up = hangs_up or record.termination == Termination.HUNG_UP
    if started_ns is None:
        msg = "the capture holds no start of a stream"
        raise CaptureError(msg)
    if hangs_up and sayings and sayings[-1].said.mark.startswith(FAREWELL):
        sayings.pop()
    return Part(tuple(sayings), hangs_up)


def answer_with(part: Part) -> Handler:
    """Return a handler that plays the part to every caller."""

    async def answer(call: Call) -> None:
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(_play(call, part))
            async for _ in call:
                pass
            playing.cancel()

    return answer


async def _play(call: Call, part: Part) -> None:
    clock = asyncio.get_running_loop().time
    began_at = clock()
    for saying in part.sayings:
        await asyncio.sleep(began_at + saying.at_seconds - clock())
        match saying.said:
            case Said(event="media", ulaw=ulaw):
                await call.play(ulaw, encoding="ulaw")
            case Said(event="mark", mark=name):
                call.mark(name[:MAX_MARK_NAME] or None)
            case Said(event="clear"):
                call.interrupt()
            case _:
                pass  # `connected` and `end` are the session's
    if part.hangs_up:
        await call.hang_up()
