"""From `[agent]` to a handler: what can be found wrong at the start is, in one sentence that has no secret in it."""

import asyncio
import builtins
import ssl
import threading
import tomllib

import msgspec
import pytest

from secret_files import write_secret
from smartflo_bridge.agents.connection import dial
from smartflo_bridge.agents.dialect import Endpoint, HttpRequest
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.http import ask
from smartflo_bridge.agents.kinds import KINDS, agent_settings
from smartflo_bridge.agents.lookup import Agent
from smartflo_bridge.agents.tls import client_tls
from smartflo_bridge.cli.main import main
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.tables import ConfigKeyError

KEY = "sk-very-secret-0123456789"
RAW = {"kind": "raw", "url": "ws://localhost:9/"}


def mistake(tmp_path, **table: object) -> str:
    """Return the sentence about an agent that cannot work."""
    with pytest.raises(ConfigError) as error:
        Agent(agent_settings(table), tmp_path)
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_each_kind_has_defaults_that_work(tmp_path):
    """With no more than what it cannot do without."""
    write_secret(tmp_path / "key", f"# of the test\n{KEY}\n")
    for name, kind in KINDS.items():
        required = [field.name for field in msgspec.structs.fields(kind.settings) if field.required]
        needed = {field.replace("_", "-"): "wss://example.org/" for field in required}
        if "answer" in needed:
            needed["answer"] = "agents.answers:repeat"
        if kind.settings.needs_key:
            needed["key-file"] = "key"
        assert Agent(agent_settings({"kind": name, **needed}), tmp_path).kind == name


def test_a_key_that_is_not_there(tmp_path):
    """Not named, not found, empty, two of them, or one with a blank in it."""
    assert mistake(tmp_path, kind="openai") == 'agent.key-file: kind = "openai" needs one'
    openai = {"kind": "openai", "key-file": "key"}
    assert mistake(tmp_path, **openai) == f"agent.key-file: {tmp_path}/key: No such file or directory"
    for text in ("", "# nothing\n", f"{KEY}\n{KEY}\n", f"Bearer {KEY}\n"):
        write_secret(tmp_path / "key", text)
        assert mistake(tmp_path, **openai) == f"agent.key-file: {tmp_path}/key holds one line, the key"


def test_a_key_comes_from_systemd_first(tmp_path, monkeypatch):
    """As tokens do."""
    (tmp_path / "credentials").mkdir()
    write_secret(tmp_path / "credentials" / "key", KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    Agent(agent_settings({"kind": "openai", "key-file": "key"}), tmp_path)


def test_a_key_does_not_go_over_an_open_line(tmp_path):
    """Encrypted, or to this machine."""
    write_secret(tmp_path / "key", KEY)
    table = {"kind": "raw", "key-file": "key"}
    words = "agent.url: a key is sent over wss:// only, or to this machine"
    assert mistake(tmp_path, url="ws://bot.example/", **table) == words
    for url in ("wss://bot.example/", "ws://127.0.0.1:9/", "ws://localhost/", "ws://[::1]:9/"):
        Agent(agent_settings({"url": url, **table}), tmp_path)


def test_tools_that_are_none(tmp_path, monkeypatch):
    """A module that is not there, a thing that is no dictionary, one without functions."""
    write_secret(tmp_path / "key", KEY)
    (tmp_path / "mytools.py").write_text("tools = {'a': 5}\nlisted = []\nasync def f(): ...\ngood = {'f': f}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    openai = {"kind": "openai", "key-file": "key"}
    assert "there is no module 'nowhere'" in mistake(tmp_path, tools="nowhere:tools", **openai)
    assert mistake(tmp_path, tools="mytools", **openai) == "agent.tools is \"module:name\", not 'mytools'"
    words = "agent.tools = 'mytools:listed' is not a dictionary from names to functions"
    assert mistake(tmp_path, tools="mytools:listed", **openai) == words
    assert mistake(tmp_path, tools="mytools:tools", **openai) == "tools: 'a' is not an `async def`"
    agent = Agent(agent_settings({"tools": "mytools:good", **openai}), tmp_path)

    async def opened() -> None:
        assert agent.open() == agent.answer
        assert agent.close(1.0)

    asyncio.run(opened())


def test_a_fallback_agent_is_checked_too(tmp_path):
    """It is there if it is named, is named if it is there, and has what it needs."""
    words = 'agent.fallback: "agent" needs the table [agent.fallback-agent], and the other way round'
    assert mistake(tmp_path, **RAW, fallback="agent") == words
    assert mistake(tmp_path, **RAW, **{"fallback-agent": RAW}) == words
    both = {**RAW, "fallback": "agent"}
    assert "needs one" in mistake(tmp_path, **both, **{"fallback-agent": {"kind": "openai"}})
    assert Agent(agent_settings({**both, "fallback-agent": RAW}), tmp_path).fallback is not None


def test_numpy_is_asked_for_where_it_is_needed(tmp_path, monkeypatch):
    """A format at another rate without the extra is a sentence at the start, not a call that fails."""
    real = builtins.__import__

    def without_numpy(name: str, *rest: object) -> object:
        if name == "numpy" or name.startswith("smartflo_bridge.core.resampling"):
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("importlib.import_module", without_numpy)
    words = mistake(tmp_path, **RAW, format="pcm16;16000")
    assert words == "agent: audio at 8000 Hz needs numpy for 16000 Hz: pip install 'smartflo-bridge[resample]'"
    Agent(agent_settings({**RAW, "format": "pcm16;8000"}), tmp_path)


def test_check_config_shows_the_agent_without_its_key(tmp_path, capsys):
    """Each key of the kind, the name of the file, and nothing of what is in it."""
    write_secret(tmp_path / "key", KEY)
    file = tmp_path / "smartflo.toml"
    file.write_text(
        '[agent]\nkind = "openai"\nkey-file = "key"\nfallback = "agent"\n'
        'transfer-to = { sales = "1001", support = 1002 }\nsmartflo-token-file = "key"\n'
        '[agent.fallback-agent]\nkind = "raw"\nurl = "ws://localhost:9/"\n'
    )
    with pytest.raises(SystemExit) as end:
        main(["check-config", "--config", str(file)])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert '[agent]\nkind = "openai"\n' in said
    assert 'key-file = "key"\n' in said
    assert tomllib.loads(said)["agent"]["transfer-to"] == {"sales": "1001", "support": 1002}
    assert '[agent.fallback-agent]\nkind = "raw"\n' in said
    assert "handler =" not in said
    assert KEY not in said


def test_a_function_that_cannot_answer(tmp_path):
    """Not named as one, not there, or not one."""
    write_secret(tmp_path / "key", KEY)
    table = {"kind": "sarvam", "key-file": "key"}
    with pytest.raises(ConfigKeyError, match="answer"):
        agent_settings({**table, "answer": "repeat"})
    missing = mistake(tmp_path, **table, answer="agents.answers:nobody")
    assert missing == "agent.answer = 'agents.answers:nobody': agents.answers has no 'nobody'"
    assert mistake(tmp_path, **table, answer="agents.answers:HANG_UP").startswith("agent.answer names an `async def`")


def test_a_function_that_answers_has_a_thread(tmp_path):
    """Which ends with the agent."""
    write_secret(tmp_path / "key", KEY)

    async def main() -> None:
        before = threading.active_count()
        agent = Agent(
            agent_settings({"kind": "sarvam", "key-file": "key", "answer": "agents.answers:repeat"}), tmp_path
        )
        agent.open()
        assert threading.active_count() == before + 1
        assert agent.close(1.0)
        assert threading.active_count() == before

    asyncio.run(main())


def test_certificates_are_read_when_the_bridge_starts_and_never_for_a_call(tmp_path, monkeypatch):
    """Reading the system's authorities takes tens of milliseconds, in which nobody is served: once, before the first call."""
    read = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *args, **kwargs: read.append(1) or make(*args, **kwargs))
    client_tls.cache_clear()
    agent = Agent(agent_settings({"kind": "raw", "url": "wss://127.0.0.1:1/"}), tmp_path)

    async def dial_thrice():
        agent.open()
        assert read == [1]
        for _ in range(2):
            with pytest.raises(DialError):
                await dial(Endpoint("wss://127.0.0.1:1/"), 1.0)
        with pytest.raises(DialError):
            await ask(HttpRequest("https://127.0.0.1:1/"), 1.0)

    asyncio.run(dial_thrice())
    assert read == [1]
