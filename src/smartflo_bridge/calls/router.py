"""A router: decorated functions, one for each kind of event, and middleware around them, as one handler.

    router = Router()

    @router.on_dtmf("1")
    async def sales(call, event):
        await call.play(...)

Events are handled one at a time, in the order in which they came. `play` returns when audio is queued, so a key pressed
during a prompt is handled during the prompt; a function that awaits a mark holds up the events behind it.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.effects import HandlerEvent
from smartflo_bridge.core.errors import CallEnded
from smartflo_bridge.core.incoming import DTMFEvent, MarkEvent, MediaEvent, StartEvent, StopEvent

EventFunction = Callable[[Call, HandlerEvent], Awaitable[None]]
Middleware = Callable[[Call, HandlerEvent, EventFunction], Awaitable[None]]

F = TypeVar("F", bound=Callable[..., Awaitable[None]])
M = TypeVar("M", bound=Callable[..., Awaitable[None]])


class Router:
    """A handler made of functions `async def f(call, event)`. Configure it as `handler = "module:router"`."""

    def __init__(self) -> None:
        self._functions: list[tuple[type, str | None, EventFunction]] = []
        self._middleware: list[Middleware] = []

    def on_start(self, function: F) -> F:
        """Call the function when the stream has started."""
        return self._add(StartEvent, None, function)

    def on_media(self, function: F) -> F:
        """Call the function for each piece of the caller's audio: `event.ulaw`, `event.pcm`."""
        return self._add(MediaEvent, None, function)

    def on_stop(self, function: F) -> F:
        """Call the function once when the call is over, however it ended: where the platform sent no stop, one is made."""
        return self._add(StopEvent, None, function)

    @overload
    def on_dtmf(self, digit: F) -> F: ...
    @overload
    def on_dtmf(self, digit: str | None = None) -> Callable[[F], F]: ...
    def on_dtmf(self, digit: F | str | None = None) -> F | Callable[[F], F]:
        """Call the function when the caller presses this key, or, without one, any key that has no function of its own."""
        return self._keyed(DTMFEvent, digit)

    @overload
    def on_mark(self, name: F) -> F: ...
    @overload
    def on_mark(self, name: str | None = None) -> Callable[[F], F]: ...
    def on_mark(self, name: F | str | None = None) -> F | Callable[[F], F]:
        """Call the function when this mark has been played, or, without one, any that has no function of its own."""
        return self._keyed(MarkEvent, name)

    def middleware(self, function: M) -> M:
        """Wrap all functions in `async def f(call, event, proceed)`, which awaits `proceed(call, event)`, or does not.

        The first one added is the outermost. It sees every event, also those without a function.
        """
        self._middleware.append(function)
        return function

    async def __call__(self, call: Call) -> None:
        """Serve one call: this makes a router a handler."""
        dispatch: EventFunction = self._dispatch
        for middleware in reversed(self._middleware):
            dispatch = _wrapped(middleware, dispatch)
        has_stopped = False
        async for event in call:
            has_stopped = has_stopped or isinstance(event, StopEvent)
            try:
                await dispatch(call, event)
            except* CallEnded:
                pass  # a function was still talking; the stop is to be told all the same
        if not has_stopped:
            await dispatch(call, StopEvent(stream_sid=call.stream_sid))

    async def _dispatch(self, call: Call, event: HandlerEvent) -> None:
        functions = [(wanted, function) for kind, wanted, function in self._functions if type(event) is kind]
        own = next((found for key in _keys(event) if (found := [f for wanted, f in functions if wanted == key])), [])
        for function in own or [function for wanted, function in functions if wanted is None]:
            await function(call, event)

    def _keyed(self, kind: type, key: F | str | None) -> F | Callable[[F], F]:
        """Serve both forms of a decorator: bare, and with a key in brackets."""
        if key is None or isinstance(key, str):
            return lambda function: self._add(kind, key, function)
        return self._add(kind, None, key)

    def _add(self, kind: type, key: str | None, function: F) -> F:
        self._functions.append((kind, key, function))
        return function


def _keys(event: HandlerEvent) -> tuple[str, ...]:
    """Return what a function may have asked for: a mark whose name was in use has a number behind it."""
    match event:
        case DTMFEvent():
            return (event.digit,)
        case MarkEvent():
            return event.name, re.sub(r"\.\d+$", "", event.name)
        case _:
            return ()


def _wrapped(middleware: Middleware, proceed: EventFunction) -> EventFunction:
    async def wrapped(call: Call, event: HandlerEvent) -> None:
        await middleware(call, event, proceed)

    return wrapped
