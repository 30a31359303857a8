"""The built-in tool `transfer`: asked of a REST server of our own, and in a call with each service that has tools.

The server is made after the platform's published page; no live platform has seen these requests.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from agents.played_calls import PLAYED, dial_kind
from calls.support import until
from secret_files import write_secret
from smartflo_bridge.agents import transfer as module
from smartflo_bridge.agents.dialect import CallFacts, HttpRequest
from smartflo_bridge.agents.events import ToolCall
from smartflo_bridge.agents.http import ask
from smartflo_bridge.agents.kinds import agent_settings
from smartflo_bridge.agents.lookup import Agent
from smartflo_bridge.agents.transfer import Transfer
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

TOKEN = "tok-very-secret-0123456789"
NUMBER = "0602987654321"
TARGETS: dict[str, str | int] = {"sales": NUMBER, "support": 1002}
FACTS = CallFacts("MZ1", "1758782566.8131")
VOICE = prompt("menu")
DONE = b'{"success":true,"message":"Call transferred"}'


def silent() -> bool:
    """Say that the caller hears nothing of the agent."""
    return False


def wish(arguments: str = '{"to":"sales"}') -> ToolCall:
    """Return what an agent asks for."""
    return ToolCall("c1", "transfer", arguments)


class Rest:
    """The platform's REST interface in memory, which takes its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.requests: list[HttpRequest] = []
        self.asked_at: list[float] = []
        self._seconds = seconds

    async def ask(self, request: HttpRequest, timeout_seconds: float) -> bytes:
        """Answer as the platform does."""
        del timeout_seconds
        self.requests.append(request)
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        return DONE

    def transfer(self, seconds: float = 10.0) -> Transfer:
        """Return the tool."""
        return Transfer(TARGETS, "https://rest.example/v1/call/options", TOKEN, self.ask, seconds)


@asynccontextmanager
async def rest_server(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request alike, or (None) never; yield the URL and what was asked, head and body."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            asked.append(head + await reader.readexactly(length))
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    serving: set[asyncio.Task[None] | None] = set()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/call/options", asked
        # Before Python 3.12 a server does not wait for those whom it serves.
        await asyncio.wait_for(asyncio.gather(*(task for task in serving if task)), 10)


def http(status: str, body: bytes, *headers: str) -> bytes:
    """Return an answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask_server(answer: bytes | None) -> tuple[dict[str, object], list[bytes]]:
    """Have a call transferred by a real server; return what the agent is told, and what the server was asked."""

    async def main() -> tuple[dict[str, object], list[bytes]]:
        async with rest_server(answer) as (url, asked):
            told = await Transfer(TARGETS, url, TOKEN, ask, 10.0).run(wish(), FACTS, silent)
        return json.loads(told), asked

    return asyncio.run(main())


# --- The request


def test_the_request_is_the_documented_one(caplog):
    """One POST, with the token as a bearer's, the live call's id and the number of that name; nothing of it in the log."""
    caplog.set_level("DEBUG")
    told, (request,) = ask_server(http("200 OK", DONE))
    assert told == {"done": True}
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/call/options HTTP/1.1\r\n")
    assert f"authorization: bearer {TOKEN}".encode() in head.lower()
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == {"type": 4, "call_id": "1758782566.8131", "intercom": NUMBER}
    assert TOKEN not in caplog.text
    assert NUMBER not in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http("401 Unauthorized", b"{}"), "it answered with HTTP status 401, so the key is not valid"),
        (http("422 Unprocessable", NUMBER.encode()), "it answered with HTTP status 422"),
        (http("503 Busy", b""), "it answered with HTTP status 503"),
        (http("302 Found", b"", "Location: /v1/call/options"), "a redirect, which is not followed"),
        (http("200 OK", b'{"success":false,"message":"no call of ' + NUMBER.encode() + b'"}'), "has not succeeded"),
        (b"what?\r\n\r\n", "it cannot be reached over HTTP"),
        (None, "it did not answer in time"),
    ],
)
def test_a_refusal_is_told_to_the_agent_and_asked_once(answer, words, monkeypatch, caplog):
    """In a word, which neither the agent's answer nor the log completes with the token or the number."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.5)
    caplog.set_level("DEBUG")
    told, asked = ask_server(answer)
    assert list(told) == ["error"]
    assert words in str(told["error"])
    assert len(asked) == 1, "not again: nobody knows what became of the first"
    assert "a transfer failed" in caplog.text
    for text in (caplog.text, str(told)):
        assert TOKEN not in text
        assert NUMBER not in text


def test_no_proxy_of_the_environment_hears_the_token(monkeypatch):
    """Whatever the environment says."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    told, asked = ask_server(http("200 OK", DONE))
    assert told == {"done": True}
    assert len(asked) == 1


@virtual
async def test_a_server_that_never_answers_is_given_up():
    """After five seconds, or as many as the tool may take: also one that keeps its connection alive byte by byte."""
    for tool_seconds, seconds in ((10.0, 5.0), (2.0, 2.0)):
        began = asyncio.get_running_loop().time()
        told = await Rest(3600).transfer(tool_seconds).run(wish(), FACTS, silent)
        assert "it did not answer in time" in told
        assert asyncio.get_running_loop().time() - began == pytest.approx(seconds)


# --- The agent's wish


@virtual
@pytest.mark.parametrize(
    "arguments", ["", "{}", "[]", "{", '{"to":5}', '{"to":"everybody"}', f'{{"to":"{NUMBER}"}}', "[" * 60_000]
)
async def test_only_a_configured_name_is_dialled(arguments):
    """Neither a number of the agent's own, nor a configured one without its name."""
    rest = Rest()
    assert "error" in json.loads(await rest.transfer().run(wish(arguments), FACTS, silent))
    assert not rest.requests


@virtual
async def test_a_call_without_an_id_cannot_be_transferred():
    """The platform knows a call by its callSid only."""
    rest = Rest()
    assert "error" in json.loads(await rest.transfer().run(wish(), CallFacts("MZ1"), silent))
    assert not rest.requests


@virtual
async def test_one_transfer_of_a_call_at_a_time():
    """An agent that asks twice at once is told so; another call's, and a later one, are made."""
    rest = Rest(1.0)
    tool = rest.transfer()
    other = CallFacts("MZ2", "1.2")
    first, second, third = await asyncio.gather(
        tool.run(wish(), FACTS, silent),
        tool.run(wish('{"to":"support"}'), FACTS, silent),
        tool.run(wish('{"to":"support"}'), other, silent),
    )
    assert first == third == '{"done":true}'
    assert "under way" in second
    assert await tool.run(wish('{"to":"support"}'), FACTS, silent) == '{"done":true}'
    bodies = [json.loads(request.body or b"") for request in rest.requests]
    assert [(body["call_id"], body["intercom"]) for body in bodies] == [
        (FACTS.call_sid, NUMBER),
        ("1.2", "1002"),
        (FACTS.call_sid, "1002"),
    ]


@virtual
async def test_an_agent_that_talks_on_is_not_waited_for():
    """Words and request together take no longer than a tool may."""
    loop, rest = asyncio.get_running_loop(), Rest()
    began = loop.time()
    await rest.transfer(12.0).run(wish(), FACTS, lambda: True)
    assert rest.asked_at[0] - began == pytest.approx(7.0, abs=0.1)


# --- In a call


@pytest.mark.parametrize("kind", [kind for kind, played in PLAYED.items() if played.has_tools])
@virtual
async def test_the_caller_hears_the_last_words_before_the_transfer(kind):
    """To the end, though the agent asks while they play; then it is told what became of it."""
    rest = Rest()
    fake = PLAYED[kind].player()(VOICE[:24000])
    service, dialled = dial_kind(kind, [fake], {"greeting": ""}, transfer=rest.transfer())
    await asyncio.sleep(0.1)
    fake.respond()
    await asyncio.sleep(0.5)
    fake.calls = [("transfer", {"to": "sales"})]
    fake.respond()
    await until(lambda: rest.requests, step_seconds=0.02)
    assert VOICE[:24000] in dialled.platform.heard()
    await until(lambda: fake.results)
    assert [json.loads(result) for result in fake.results.values()] == [{"done": True}]
    assert dialled.call is not None
    assert dialled.call.call_sid is not None
    (request,) = rest.requests
    assert json.loads(request.body or b"")["call_id"] == dialled.call.call_sid
    await dialled.hung_up_on()
    await service.over()


# --- The configuration


@pytest.fixture
def configured(tmp_path) -> Callable[..., Agent]:
    """Return what makes an agent with a tool to transfer, and more keys or others."""
    write_secret(tmp_path / "openai.key", "sk-1\n")
    write_secret(tmp_path / "smartflo.token", f"{TOKEN}\n")

    def make(**keys: object) -> Agent:
        table: dict[str, object] = {
            "kind": "openai",
            "key-file": "openai.key",
            "transfer-to": dict(TARGETS),
            "smartflo-token-file": "smartflo.token",
        }
        return Agent(agent_settings(table | {key.replace("_", "-"): value for key, value in keys.items()}), tmp_path)

    return make


def test_the_tool_is_offered_where_it_is_configured_only(configured):
    """Its one argument is one of the names; no number is told to anybody."""
    (tool,) = [tool for tool in _offered(configured()) if tool.name == "transfer"]
    assert tool.parameters["required"] == ["to"]
    assert tool.parameters["properties"] == {
        "to": {"type": "string", "enum": ["sales", "support"], "description": "to whom"}
    }
    assert NUMBER not in repr(tool)
    for agent in (configured(transfer_to={}), configured(transfer_to={}, smartflo_token_file="")):
        assert [tool.name for tool in _offered(agent)] == ["hang_up"]


def _offered(agent: Agent):
    agent.open()
    assert agent._plan is not None
    return agent._plan.specifications


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"smartflo_token_file": ""}, "agent.smartflo-token-file: transfer-to needs one"),
        ({"smartflo_token_file": "none"}, "none: No such file"),
        ({"smartflo_url": "http://rest.example/"}, "agent.smartflo-url: a token is sent over https:// only"),
        ({"smartflo_url": "wss://rest.example/"}, "smartflo-url: takes text that matches"),
        ({"transfer_to": {"sales": "call +91 1"}}, "agent.transfer-to: 'sales' takes a number"),
        ({"transfer_to": {"sales": -5}}, "agent.transfer-to: 'sales' takes a number"),
        ({"transfer_to": {"": "1001"}}, "transfer-to: takes a table from names to numbers"),
        ({"transfer_to": "1001"}, "transfer-to: takes a table from names to numbers"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(configured, keys, words):
    """In one sentence that names the key."""
    with pytest.raises(ConfigError) as error:
        configured(**keys)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert TOKEN not in str(error.value)


def test_this_machine_is_reached_without_tls(configured):
    """For tests, or a gateway beside the bridge."""
    assert configured(smartflo_url="http://127.0.0.1:9/v1").kind == "openai"


def test_a_function_of_the_user_s_does_not_take_a_name_of_ours(configured, tmp_path, monkeypatch):
    """Services refuse two tools of one name; where ours is not configured, the name is free."""
    (tmp_path / "own.py").write_text(
        "async def f(): ...\ntransfer, both = {'transfer': f}, {'transfer': f, 'hang_up': f}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="'transfer' is the name of a tool that the agent has already"):
        configured(tools="own:transfer")
    with pytest.raises(ConfigError, match="'hang_up' is the name"):
        configured(tools="own:both", transfer_to={})
    configured(tools="own:transfer", transfer_to={})
    configured(tools="own:both", transfer_to={}, may_hang_up=False)
