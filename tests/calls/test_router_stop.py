"""A router tells the stop once, however the call ended and whatever its functions were doing."""

import asyncio

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.calls.router import Router
from smartflo_bridge.core.effects import Termination
from virtual_clock import virtual


async def says_stop(dialled):
    """The platform says stop, as documented."""
    dialled.platform.stop("bye")


async def says_stop_and_closes(dialled):
    """It closes as well."""
    dialled.platform.stop("bye")
    dialled.peer.lose(1000)


async def just_closes(dialled):
    """It closes without a stop."""
    dialled.peer.lose(1000)


async def vanishes(dialled):
    """The connection dies."""
    dialled.peer.lose()


async def is_drained(dialled):
    """The bridge ends the call."""
    dialled.registry.drain()


@pytest.mark.parametrize("end", [says_stop, says_stop_and_closes, just_closes, vanishes, is_drained])
@virtual
async def test_the_stop_is_told_once_however_a_call_ends(end):
    """With the platform's reason where it gave one."""
    router, told = Router(), []

    @router.on_stop
    async def stopped(call, event):
        told.append((event.stream_sid, event.reason, call.termination is not None))

    dialled = Dialled(router)
    await dialled.begun()
    await end(dialled)
    await dialled.over()
    reason = "bye" if end in (says_stop, says_stop_and_closes) else None
    assert told == [("MZ0a1", reason, True)]


@pytest.mark.parametrize("end", [says_stop, just_closes, vanishes, is_drained])
@virtual
async def test_the_stop_is_told_when_a_function_was_busy_talking(end):
    """A function that learns from `play` that the call is over does not keep the stop from those who wait for it."""
    router, told = Router(), []

    @router.on_media
    async def echo(call, event):
        await call.play(event.ulaw, encoding="ulaw")

    @router.on_stop
    async def stopped(call, event):
        told.append(event.reason)

    dialled = Dialled(router)
    await dialled.begun()
    for number in range(3):
        dialled.platform.speak(speech(0.1, number))
    await end(dialled)
    await dialled.over()
    assert told == ["bye" if end is says_stop else None]


@virtual
async def test_the_stop_is_told_when_a_group_of_tasks_was_busy_talking():
    """The same where the function's CallEnded comes out of a group of tasks."""
    router, told = Router(), []

    @router.on_dtmf
    async def talk(call, event):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.play(speech(60.0), encoding="ulaw"))
            tasks.create_task(call.play(speech(60.0), encoding="ulaw"))

    @router.on_stop
    async def stopped(call, event):
        told.append(event.reason)

    dialled = Dialled(router, settings={"queue_seconds": 5.0})
    dialled.platform.press("1")
    await asyncio.sleep(1)
    await dialled.hung_up_on()
    assert told == ["caller ended the call"]


@virtual
async def test_the_stop_is_told_when_we_hang_up():
    """A function may hang up; what comes behind is the stop, and the router is done."""
    router, told = Router(), []

    @router.on_dtmf
    async def leave(call, event):
        await call.hang_up()

    @router.on_stop
    async def stopped(call, event):
        told.append(call.termination)

    dialled = Dialled(router)
    dialled.platform.press("1")
    session = await dialled.over()
    assert told == [Termination.HUNG_UP]
    assert session.termination is Termination.HUNG_UP
