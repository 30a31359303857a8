"""From the configuration's `handler` to a handler: what is found, and the sentence for each way in which it is not."""

import sys

import pytest

from smartflo_bridge.calls.router import Router
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.handlers.echo import echo
from smartflo_bridge.handlers.ivr import ivr
from smartflo_bridge.handlers.lookup import BUILT_IN, find_handler
from smartflo_bridge.handlers.silence import silence

SOURCE = """
import smartflo_bridge

router = smartflo_bridge.Router()

async def answer(call): ...

def not_async(call): ...

class Bots:
    @staticmethod
    async def sales(call): ...

class Kind:
    async def __call__(self, call): ...

instance = Kind()
number = 5
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Put a user's module where the daemon is started; return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "a_users_handlers"
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / f"{name}.py").write_text(SOURCE)
    yield name
    sys.modules.pop(name, None)


def sentence(name):
    """Return what is said about a name that is none."""
    with pytest.raises(ConfigError) as error:
        find_handler(name)
    return str(error.value)


def test_built_in_handlers_have_names():
    """These three, and the default of the configuration is one of them."""
    assert {"ivr": ivr, "echo": echo, "silence": silence} == BUILT_IN
    for name, handler in BUILT_IN.items():
        assert find_handler(name) is handler


def test_a_user_s_module_is_found_where_the_daemon_is_started(module):
    """A function, a router, something inside a class, and an object that can be called."""
    assert find_handler(f"{module}:answer").__name__ == "answer"
    assert isinstance(find_handler(f"{module}:router"), Router)
    assert find_handler(f"{module}:Bots.sales").__name__ == "sales"
    assert callable(find_handler(f"{module}:instance"))


@pytest.mark.parametrize("name", ["", "ivrr", "a.module", ":answer", "a.module:", ":"])
def test_a_name_that_is_none(name):
    """It says what a name looks like."""
    assert sentence(name) == f'handler is one of ivr, echo, silence, or "module:function"; not {name!r}'


def test_no_such_module(module, tmp_path):
    """It says which module, and where it was looked for."""
    assert sentence("nowhere:answer") == (
        f"handler = 'nowhere:answer': there is no module 'nowhere' in {tmp_path} or among the installed packages"
    )


def test_a_module_that_lacks_a_module(module, tmp_path):
    """The missing one is named, not the one that asked for it."""
    (tmp_path / "a_users_other.py").write_text("import not_installed_here")
    assert "there is no module 'not_installed_here'" in sentence("a_users_other:answer")


def test_no_such_function(module):
    """It says which, and where."""
    assert sentence(f"{module}:answr") == f"handler = '{module}:answr': {module} has no 'answr'"
    assert sentence(f"{module}:Bots.service").endswith(f"{module} has no 'Bots.service'")


@pytest.mark.parametrize("attribute", ["not_async", "number", "Kind", "Bots", "smartflo_bridge"])
def test_what_cannot_serve_a_call(module, attribute):
    """A plain function, a class, a value: each is said to be no handler before a call comes."""
    assert sentence(f"{module}:{attribute}") == (
        f"handler = '{module}:{attribute}' is not an `async def` that takes a call, nor a Router"
    )


@pytest.mark.parametrize("code", ["def (", "from os import nothing_of_this_name"])
def test_a_module_that_cannot_be_imported(module, tmp_path, code):
    """A slip in the user's module is said in one sentence that names it, as a missing module is."""
    (tmp_path / "a_users_broken.py").write_text(code)
    assert "a_users_broken" in sentence("a_users_broken:answer")


def test_a_module_that_fails_says_where(module, tmp_path):
    """What a user's module raises while it is imported is its own: the traceback shows the line."""
    (tmp_path / "a_users_failing.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        find_handler("a_users_failing:answer")
