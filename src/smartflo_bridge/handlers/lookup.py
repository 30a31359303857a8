"""From the configuration's `handler` to something that serves a call."""

import importlib
import inspect
import sys
from pathlib import Path

from smartflo_bridge.calls.home import Handler
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.handlers.echo import echo
from smartflo_bridge.handlers.ivr import ivr
from smartflo_bridge.handlers.silence import silence

BUILT_IN: dict[str, Handler] = {"ivr": ivr, "echo": echo, "silence": silence}


def find_handler(name: str) -> Handler:
    """Return a built-in handler by its name, or import `module:function`.

    Raises:
        ConfigError: there is no such handler, or it is nothing that can serve a call.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not all(name.partition(":")):
        msg = f'handler is one of {", ".join(BUILT_IN)}, or "module:function"; not {name!r}'
        raise ConfigError(msg)
    found = find_object("handler", name)
    if not _serves(found):
        msg = f"handler = {name!r} is not an `async def` that takes a call, nor a Router"
        raise ConfigError(msg)
    return found  # type: ignore[return-value]  # checked by _serves


def find_object(key: str, name: str) -> object:
    """Import what a key of the configuration names as `module:name`. Modules are also looked for where we run.

    Raises:
        ConfigError: there is no such thing.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        msg = f'{key} is "module:name", not {name!r}'
        raise ConfigError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        msg = f"{key} = {name!r}: there is no module {error.name!r} in {here} or among the installed packages"
        raise ConfigError(msg) from None
    except (ImportError, SyntaxError) as error:
        msg = f"{key} = {name!r}: {module_name} cannot be imported: {error}"
        raise ConfigError(msg) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            msg = f"{key} = {name!r}: {module_name} has no {attribute!r}"
            raise ConfigError(msg)
        found = getattr(found, part)
    return found


def _serves(found: object) -> bool:
    if inspect.isclass(found) or not callable(found):
        return False
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__)
