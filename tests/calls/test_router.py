"""The router: which function gets which event, what middleware can do, and that the stop is told once whatever happens."""

import asyncio

from calls.support import Dialled, speech, until
from smartflo_bridge.calls.router import Router
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.incoming import StopEvent
from virtual_clock import virtual


def telling(told, name):
    """Return a function for a router that notes that it was called, and with what."""

    async def tell(call, event):
        told.append((name, type(event).__name__.removesuffix("Event")))

    return tell


@virtual
async def test_each_kind_of_event_has_its_function():
    """Start, media, dtmf, mark and stop go to theirs, in the order in which they came."""
    router, told = Router(), []
    router.on_start(telling(told, "start"))
    router.on_media(telling(told, "media"))
    router.on_dtmf()(telling(told, "dtmf"))
    router.on_mark()(telling(told, "mark"))
    router.on_stop(telling(told, "stop"))
    dialled = Dialled(router)
    call = await dialled.begun()
    dialled.platform.speak(speech(0.1))
    dialled.platform.press("1")
    await until(lambda: len(told) == 3)
    call.mark("m")
    await until(lambda: len(told) == 4)
    dialled.platform.speak(speech(0.1))
    await dialled.hung_up_on()
    kinds = ["Start", "Media", "DTMF", "Mark", "Media", "Stop"]
    assert told == [(kind.lower(), kind) for kind in kinds]


@virtual
async def test_a_decorator_returns_the_function():
    """A decorated function is still itself, and may be called and tested as such."""
    router, function = Router(), telling([], "x")
    for decorate in (
        router.on_start,
        router.on_media,
        router.on_stop,
        router.on_dtmf(),
        router.on_dtmf("1"),
        router.on_dtmf,
        router.on_mark(),
        router.on_mark("m"),
        router.on_mark,
        router.middleware,
    ):
        assert decorate(function) is function


@virtual
async def test_a_key_goes_to_its_own_function():
    """A key with a function of its own does not reach the one for any key; the others do."""
    router, told = Router(), []
    router.on_dtmf("1")(telling(told, "one"))
    router.on_dtmf()(telling(told, "any"))
    router.on_dtmf("#")(telling(told, "hash"))
    dialled = Dialled(router)
    dialled.platform.press("1", "2", "#", "1")
    await dialled.hung_up_on()
    assert [name for name, _ in told] == ["one", "any", "hash", "one"]


@virtual
async def test_a_key_without_a_function_is_passed_over():
    """Without a function for any key, the rest is simply not handled."""
    router, told = Router(), []
    router.on_dtmf("1")(telling(told, "one"))
    dialled = Dialled(router)
    dialled.platform.press("2", "1")
    await dialled.hung_up_on()
    assert [name for name, _ in told] == ["one"]


@virtual
async def test_a_decorator_without_brackets_is_for_any():
    """`@router.on_dtmf` and `@router.on_mark` mean what one thinks they mean."""
    router, told = Router(), []
    router.on_dtmf(telling(told, "key"))
    router.on_mark(telling(told, "mark"))
    dialled = Dialled(router)
    (await dialled.begun()).mark("m")
    dialled.platform.press("2")
    await until(lambda: len(told) == 2)
    await dialled.hung_up_on()
    assert {name for name, _ in told} == {"key", "mark"}


@virtual
async def test_a_mark_goes_to_its_own_function():
    """Marks are told apart by name, as keys are by digit."""
    router, told = Router(), []
    router.on_mark("greeting")(telling(told, "greeted"))
    router.on_mark()(telling(told, "any"))
    dialled = Dialled(router)
    call = await dialled.begun()
    await call.play(speech(0.1), encoding="ulaw")
    call.mark("greeting")
    call.mark("other")
    await until(lambda: len(told) == 2)
    await dialled.hung_up_on()
    assert [name for name, _ in told] == ["greeted", "any"]


@virtual
async def test_several_functions_for_one_event_are_called_in_turn():
    """In the order in which they were added."""
    router, told = Router(), []
    router.on_start(telling(told, "first"))
    router.on_start(telling(told, "second"))
    router.on_dtmf("1")(telling(told, "third"))
    router.on_dtmf("1")(telling(told, "fourth"))
    dialled = Dialled(router)
    dialled.platform.press("1")
    await dialled.hung_up_on()
    assert [name for name, _ in told] == ["first", "second", "third", "fourth"]


@virtual
async def test_events_are_handled_one_at_a_time():
    """A function that waits holds up the events behind it, and none is lost."""
    router, told = Router(), []

    @router.on_dtmf
    async def slowly(call, event):
        told.append(f"{event.digit} begins")
        await asyncio.sleep(1)
        told.append(f"{event.digit} ends")

    dialled = Dialled(router)
    dialled.platform.press("1", "2")
    await dialled.hung_up_on()
    assert told == ["1 begins", "1 ends", "2 begins", "2 ends"]


# --- Middleware


def around(told, name, *, passes=True):
    """Return middleware that notes its turn, and proceeds or does not."""

    async def wrap(call, event, proceed):
        kind = type(event).__name__.removesuffix("Event")
        told.append(f"{name} before {kind}")
        if passes:
            await proceed(call, event)
        told.append(f"{name} after {kind}")

    return wrap


@virtual
async def test_the_first_middleware_is_the_outermost():
    """Each sees every event, also one without a function, and the made-up stop."""
    router, told = Router(), []
    router.middleware(around(told, "outer"))
    router.middleware(around(told, "inner"))
    router.on_start(telling(told, "start"))
    dialled = Dialled(router)
    await dialled.begun()
    dialled.peer.lose()
    await dialled.over()
    assert told == [
        "outer before Start",
        "inner before Start",
        ("start", "Start"),
        "inner after Start",
        "outer after Start",
        "outer before Stop",
        "inner before Stop",
        "inner after Stop",
        "outer after Stop",
    ]


@virtual
async def test_middleware_may_keep_an_event_to_itself():
    """What does not proceed ends there: neither inner middleware nor a function sees the event."""
    router, told = Router(), []
    router.middleware(around(told, "outer", passes=False))
    router.middleware(around(told, "inner"))
    router.on_start(telling(told, "start"))
    dialled = Dialled(router)
    await dialled.hung_up_on()
    assert told == [
        "outer before Start",
        "outer after Start",
        "outer before Stop",
        "outer after Stop",
    ]


@virtual
async def test_middleware_may_exchange_the_event():
    """What it passes on is what the functions get."""
    router, told = Router(), []

    @router.middleware
    async def hide_reason(call, event, proceed):
        await proceed(call, StopEvent() if isinstance(event, StopEvent) else event)

    @router.on_stop
    async def stopped(call, event):
        told.append(event.reason)

    dialled = Dialled(router)
    await dialled.hung_up_on()
    assert told == [None]


@virtual
async def test_middleware_sees_what_a_function_raises():
    """So it can log it, count it, or make up for it."""
    router, told = Router(), []

    @router.middleware
    async def forgive(call, event, proceed):
        try:
            await proceed(call, event)
        except ZeroDivisionError:
            told.append("forgiven")

    @router.on_dtmf
    async def fail(call, event):
        raise ZeroDivisionError

    dialled = Dialled(router)
    dialled.platform.press("1")
    session = await dialled.hung_up_on()
    assert told == ["forgiven"]
    assert session.termination is Termination.COMPLETED


@virtual
async def test_a_function_that_raises_fails_the_call():
    """A router is a handler like any other."""
    router = Router()

    @router.on_dtmf
    async def fail(call, event):
        raise ZeroDivisionError

    dialled = Dialled(router)
    dialled.platform.press("1")
    assert (await dialled.over(fails=True)).termination is Termination.HANDLER_FAILED
    assert dialled.peer.closed == (1011, "the handler failed")


@virtual
async def test_one_router_serves_many_calls():
    """It keeps nothing of a call: two at once do not disturb each other."""
    router, told = Router(), []

    @router.on_dtmf
    async def key(call, event):
        await asyncio.sleep(1)
        told.append((call.stream_sid, event.digit))

    one, two = Dialled(router, sid="MZ1"), Dialled(router, sid="MZ2")
    one.platform.press("1")
    two.platform.press("2")
    await one.hung_up_on()
    await two.hung_up_on()
    assert sorted(told) == [("MZ1", "1"), ("MZ2", "2")]


@virtual
async def test_a_mark_with_a_number_behind_it_is_still_the_one_asked_for():
    """A name in use goes out with a number; the function asked for the name."""
    router, told = Router(), []

    @router.on_start
    async def speak(call, event):
        call.mark("menu")
        call.interrupt()
        call.mark("menu")

    @router.on_mark("menu")
    async def heard(call, event):
        told.append(event.name)

    dialled = Dialled(router)
    await until(lambda: told)
    await dialled.hung_up_on()
    assert told == ["menu.1"]
