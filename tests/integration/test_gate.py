"""Who gets in, and what the others are told: HTTP answers, tokens, limits, refusals to start, probes and rubbish."""

import asyncio
import errno
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.daemon import WAIT_SECONDS, Daemon, Supervisor, run_program, until, write_config, write_secret
from integration.handlers.answers import speech
from integration.wire import check_speech, dialled, plan, sid_of
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.admission import MAX_PENDING_PER_ADDRESS
from smartflo_bridge.server.listener import MAX_STRANGERS
from smartflo_bridge.server.sockets import listening_socket
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.plan import CallPlan, HangUp
from smartflo_bridge.version import __version__

OLD_TOKEN, NEW_TOKEN = "zaq12wsx-cde34rfv", "mju76yhn-bgt54rfv/%+"
TOKENS = f"# the new one, and the one that it replaces\n{NEW_TOKEN}\n\n{OLD_TOKEN}\n"
OPEN_SECONDS = 1.0
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{KEY}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon without a token, that may say all that it has to say."""
    with Daemon(tmp_path_factory.mktemp("daemon"), handler="answers:answer", open_seconds=OPEN_SECONDS) as running:
        yield running


def guarded(folder: Path, **keys: object) -> Daemon:
    """Return a daemon that wants one of two tokens, and may say all that it has to say but them."""
    write_secret(folder / "stream.token", TOKENS)
    kept = [OLD_TOKEN, NEW_TOKEN, "wrong-wrong-wrong", "%2F"]
    return Daemon(folder, handler="answers:answer", token_file="stream.token", secrets=kept, **keys)


@pytest.fixture(scope="module")
def wants_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Start a daemon that wants a token."""
    with guarded(tmp_path_factory.mktemp("guarded")) as running:
        yield running


def exchange(port: int, request: bytes, seconds: float = WAIT_SECONDS) -> bytes:
    """Send bytes, and return all that comes back until the other end closes; b"" if it resets."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        answer = b""
        try:
            sock.sendall(request)
            while part := sock.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


def ask(port: int, target: str, headers: str = UPGRADE, method: str = "GET", body: str = "") -> tuple[int, str]:
    """Send a request for which no upgrade is expected; return the status, and all of the answer."""
    request = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n{body}"
    answer = exchange(port, request.encode()).decode()
    assert answer.startswith("HTTP/1.1 "), answer
    return int(answer.split()[1]), answer


async def talk(daemon: Daemon, rest: str = "") -> None:
    """Have a short call, complete, with a daemon; `rest` is added to the URL."""
    report = await place_call(daemon.url + rest, plan(HangUp(0.5), role="speak", seed="gate", seconds="0.2"))
    check_speech(report, speech("gate", 0.2))
    assert report.close_code == 1000
    end = await asyncio.to_thread(daemon.end_of, sid_of(report))
    assert end["termination"] == "completed"


# --- HTTP


@pytest.mark.parametrize(
    "target", ["/", "/vendor-stream2", "/vendor-stream/x", "/VENDOR-STREAM", "/healthz", "//", "*"]
)
def test_another_path_is_404(daemon: Daemon, target: str) -> None:
    """Also one below the stream's, where there is no token that it could be."""
    assert ask(daemon.port, target)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("body", ["", "callId=1&status=answered"], ids=["no body", "body"])
def test_another_method_is_405(daemon: Daemon, method: str, body: str) -> None:
    """With what is allowed, also for a webhook that somebody pointed here."""
    headers = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n" if body else ""
    status, answer = ask(daemon.port, "/vendor-stream", headers, method, body)
    assert status == 405
    assert "\r\nAllow: GET\r\n" in answer


def test_a_large_body_is_405_too(daemon: Daemon) -> None:
    """The answer arrives although more of the body was on its way."""
    body = "x" * 500_000
    assert ask(daemon.port, "/vendor-stream", f"Content-Length: {len(body)}\r\n", "POST", body)[0] == 405


def test_a_plain_get_is_426(daemon: Daemon) -> None:
    """No upgrade was asked for, and this is nothing else than a stream."""
    status, answer = ask(daemon.port, "/vendor-stream", "")
    assert status == 426
    assert "\r\nUpgrade: websocket\r\n" in answer


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_browsers_are_403(daemon: Daemon, origin: str) -> None:
    """Whatever says where it comes from is a page in somebody's browser."""
    assert ask(daemon.port, "/vendor-stream", f"{UPGRADE}Origin: {origin}\r\n")[0] == 403


def test_the_path_may_end_with_a_slash_and_have_a_query(daemon: Daemon) -> None:
    """Portals add both."""
    for target in ("/", "?a=b", "/?token=whatever"):
        asyncio.run(talk(daemon, target))


# --- Health


def test_health_is_a_small_json_without_a_line_in_the_log(daemon: Daemon) -> None:
    """It knows how many calls there are now, have been, and may be."""

    async def main() -> None:
        before = len(daemon.log.all())
        for target in ("/health", "/health?probe=1"):
            status, answer = await asyncio.to_thread(ask, daemon.port, target, "")
            assert status == 200
            assert "\r\nContent-Type: application/json\r\n" in answer
        assert len(daemon.log.all()) == before
        idle = json.loads(answer.partition("\r\n\r\n")[2])
        assert idle | {"calls_served": 0, "loop_lag_p99_ms": 0} == {
            "status": "ok",
            "calls": 0,
            "max_calls": 300,
            "calls_served": 0,
            "refused": 0,
            "loop_lag_p99_ms": 0,
            "version": __version__,
        }
        async with dialled(daemon.url) as platform:
            await platform.start()
            await daemon.log.seen(f"call started stream_sid={platform.sid} ")
            busy = json.loads((await asyncio.to_thread(ask, daemon.port, "/health", ""))[1].partition("\r\n\r\n")[2])
            assert (busy["calls"], busy["calls_served"]) == (1, idle["calls_served"] + 1)
        await asyncio.to_thread(daemon.end_of, platform.sid)

    asyncio.run(main())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reads_the_health(daemon: Daemon) -> None:
    """As a person would look."""
    url = f"http://127.0.0.1:{daemon.port}/health"
    run = subprocess.run(["curl", "-fsS", url], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["status"] == "ok"


# --- Tokens


@pytest.mark.parametrize("token", [OLD_TOKEN, NEW_TOKEN], ids=["old", "new"])
@pytest.mark.parametrize("form", ["/{}", "?token={}", "/?x=y&token={}", "/{}?x=y"])
def test_either_token_opens_the_stream(wants_token: Daemon, token: str, form: str) -> None:
    """In the path or the query, as long as it is quoted where it must be."""
    quoted = token.replace("%", "%25").replace("+", "%2B")
    asyncio.run(talk(wants_token, form.format(quoted)))


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/wrong-wrong-wrong-wrong",
        "?token=wrong-wrong-wrong-wrong",
        "?token=",
        f"?TOKEN={OLD_TOKEN}",
        f"?token={OLD_TOKEN}x",
        f"?token={OLD_TOKEN[:-1]}",
        f"/{OLD_TOKEN}/",
        f"/{OLD_TOKEN[:8]}/{OLD_TOKEN[8:]}",
        f"/x?token={OLD_TOKEN}",
        f"?token=wrong-wrong-wrong&token={OLD_TOKEN}",
        "/%00%ff%fe",
        "/%E0%A4%A",
        f"?token={'x' * 3000}",
        "?token=%23%20the%20new%20one%2C%20and%20the%20one%20that%20it%20replaces",
    ],
)
def test_anything_else_is_401(wants_token: Daemon, rest: str) -> None:
    """None, a wrong one, half of one, one in the wrong place; before the upgrade, and the answer does not repeat it."""
    status, answer = ask(wants_token.port, f"/vendor-stream{rest}")
    assert status == 401
    assert "wrong-wrong" not in answer
    assert OLD_TOKEN not in answer


def test_bytes_that_are_no_ascii_are_refused(wants_token: Daemon) -> None:
    """Raw ones in the request line too."""
    request = f"GET /vendor-stream/\xff\xfe{OLD_TOKEN} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode("latin-1")
    assert exchange(wants_token.port, request)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"")


def test_health_needs_no_token(wants_token: Daemon) -> None:
    """It tells no secret."""
    assert ask(wants_token.port, "/health", "")[0] == 200


def test_refusing_after_the_upgrade(tmp_path: Path) -> None:
    """By setting, a wrong token gets close code 1008, and no call comes of it; a right one gets a call."""

    async def main(daemon: Daemon) -> None:
        async with dialled(f"{daemon.url}/wrong-wrong-wrong-wrong") as platform:
            assert await platform.closed() == (1008, "no valid token")
        await talk(daemon, f"/{OLD_TOKEN}")
        assert len(daemon.log.find("call started")) == 1

    with guarded(tmp_path, refuse_with="1008") as daemon:
        assert ask(daemon.port, "/elsewhere")[0] == 404
        asyncio.run(main(daemon))


def test_strangers_that_are_told_a_close_code_take_no_call_s_place(tmp_path: Path) -> None:
    """However many come, and stay: those beyond a few are answered 401, and who has a token is served."""
    with guarded(tmp_path, refuse_with="1008", max_calls=1, max_new_calls_per_second=1) as daemon, ExitStack() as stack:
        request = f"GET /vendor-stream/wrong-wrong-wrong-wrong HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode()

        def come(number: int) -> Counter[str]:
            # Plain sockets, which answer no close: libraries take so long to dial so many that the first are cut meanwhile.
            # No more at once than one address may have in the handshake, however slowly the daemon gets to them.
            assert number <= MAX_PENDING_PER_ADDRESS
            address = ("127.0.0.1", daemon.port)
            strangers = [stack.enter_context(socket.create_connection(address, WAIT_SECONDS)) for _ in range(number)]
            for stranger in strangers:
                stranger.sendall(request)
            return Counter(stranger.recv(12).decode() for stranger in strangers)

        assert come(MAX_STRANGERS) == {"HTTP/1.1 101": MAX_STRANGERS}
        assert come(20) == {"HTTP/1.1 401": 20}
        asyncio.run(talk(daemon, f"/{OLD_TOKEN}"))


# --- How many


def test_one_call_too_many_is_503(tmp_path: Path) -> None:
    """It may try again, and does not disturb the others; a place is free again when its connection is gone."""

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as first:
            await first.start(role="speak", seed="first", seconds="5")
            async with dialled(daemon.url):  # a connection takes a place, also before its stream begins
                status, answer = await asyncio.to_thread(ask, daemon.port, "/vendor-stream")
                assert status == 503
                assert "\r\nRetry-After: 1\r\n" in answer
                with pytest.raises(CallFailed, match="takes no more calls"):
                    await place_call(daemon.url, CallPlan())
                assert (await asyncio.to_thread(ask, daemon.port, "/health", ""))[0] == 200
            await until(lambda: daemon.sockets() == 5)  # two ports, two loops, one call
            await talk(daemon)
            heard = await first.audio(800)
            assert heard == speech("first", 5)[: len(heard)]
            await first.stop()
            assert await first.closed() == (1000, "")
        await talk(daemon)

    with Daemon(tmp_path, handler="answers:answer", max_calls=2) as daemon:
        asyncio.run(main(daemon))


def test_a_refused_request_takes_no_place(tmp_path: Path) -> None:
    """Neither a wrong method or path, nor what fails later in the handshake, nor one that hangs in it."""
    with Daemon(tmp_path, handler="answers:answer", max_calls=1) as daemon:
        half = socket.create_connection(("127.0.0.1", daemon.port))
        half.sendall(b"GET /vendor-stream HTTP/1.1\r\n")
        for _ in range(3):
            assert ask(daemon.port, "/vendor-stream", "")[0] == 426
            assert ask(daemon.port, "/vendor-stream", f"{UPGRADE}Origin: x\r\n")[0] == 403
            assert ask(daemon.port, "/x")[0] == 404
            assert ask(daemon.port, "/vendor-stream", "", "POST")[0] == 405
        asyncio.run(talk(daemon))
        half.close()


@pytest.mark.parametrize("way", ["FIN", "RST", "garbage"])
def test_a_connection_that_is_gone_before_it_is_answered_takes_no_place(tmp_path: Path, way: str) -> None:
    """A client that gives up in the moment of its request, often: all places are free afterwards."""
    with Daemon(tmp_path, handler="answers:answer", max_calls=2) as daemon:
        for _ in range(50):
            match way:
                case "FIN":
                    _leave(daemon.port, WHOLE)
                case "RST":
                    _reset(daemon.port, WHOLE)
                case _:
                    exchange(daemon.port, WHOLE + b"\xff" * 100)
        asyncio.run(until(lambda: daemon.sockets() == 4))
        assert ask(daemon.port, "/vendor-stream", "")[0] == 426
        asyncio.run(talk(daemon))


# --- Refusing to start


def refusal(folder: Path, **keys: object) -> str:
    """Start a daemon that cannot start; return the one line that it says."""
    file = write_config(folder, **({"port": 0, "health_port": 0} | keys))
    return _one_line(file)


def _one_line(file: Path) -> str:
    run = run_program("serve", "--config", file)
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("smartflo-bridge: ")
    return run.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.localdomain.example", "192.0.2.1"])
def test_a_public_host_needs_a_token(tmp_path: Path, host: str) -> None:
    """It does not start, and says what would help."""
    said = refusal(tmp_path, host=host)
    for word in ("host: ", host, "token-file", "allow-unauthenticated"):
        assert word in said


def test_a_public_host_may_be_allowed_or_guarded(tmp_path: Path) -> None:
    """Something in front may keep strangers out; or a token does."""
    with Daemon(tmp_path, handler="answers:answer", host="0.0.0.0", allow_unauthenticated=True) as daemon:
        asyncio.run(talk(daemon))
    with guarded(tmp_path, host="0.0.0.0") as daemon:
        asyncio.run(talk(daemon, f"/{OLD_TOKEN}"))


@pytest.mark.parametrize("key", ["port", "health_port"])
def test_a_port_that_is_taken(tmp_path: Path, key: str) -> None:
    """The line names the key and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(tmp_path, **{key: port})
    assert f" {key.replace('_', '-')}: " in said
    assert f"127.0.0.1:{port}" in said
    assert "in use" in said


@pytest.mark.parametrize("key", ["host", "health_host"])
@pytest.mark.parametrize("address", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_ours(tmp_path: Path, key: str, address: str) -> None:
    """One of another machine, or none at all: the line names the key and the address."""
    said = refusal(tmp_path, **{key: address, "allow_unauthenticated": True})
    assert f" {key.replace('_', '-')}: cannot listen on {address}:0: " in said


def test_a_port_that_needs_a_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """One below 1024, without the capability: who may listen where is the machine's, so the kernel's refusal is made here."""

    def refuse(*_: object, **__: object) -> socket.socket:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError) as error:
        listening_socket("", "127.0.0.1", 80)
    assert str(error.value) == "port: cannot listen on 127.0.0.1:80: Permission denied"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# mine\n\nprot = 1\nport = 0\n", [":3: prot: ", "did you mean port?"]),
        ("port = 0\nzzz = 1\n", [":2: zzz: ", "no such key", "health-port"]),
        ("port = 'x'\n", [":1: port: ", "whole number", "65535", "'x'"]),
        ("port = 65536\n", [":1: port: ", "65535"]),
        ("idle-seconds = 0\n", [":1: idle-seconds: ", "above 0"]),
        ("idle-seconds = nan\n", [":1: idle-seconds: "]),
        ("idle-seconds = inf\n", [":1: idle-seconds: "]),
        ('send-connected = "sometimes"\n', [":1: send-connected: ", '"auto"', '"never"', "sometimes"]),
        ("[server]\nport = 1\n", [":1: server: ", "no such key"]),
        ("packet-seconds = 0.2\n", [":1: packet-seconds", "half of lead-seconds"]),
        ('handler = "answers:nobody"\nport = 0\n', ["handler", "answers", "nobody"]),
        ('handler = "nowhere:answer"\nport = 0\n', ["handler", "nowhere"]),
        ('token-file = "missing.token"\nport = 0\n', ["token-file", "missing.token", "No such file"]),
        ('host = "not an address"\nport = 0\nallow-unauthenticated = true\n', ["host", "not an address"]),
        ("port = \n", ["not TOML", "line 1"]),
        ("\xff\xfe", ["not TOML"]),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, words: list[str]) -> None:
    """One line names the key, where it stands and what is allowed; `check-config` says the same."""
    file = tmp_path / "wrong.toml"
    file.write_bytes(text.encode("latin-1"))
    said = _one_line(file)
    for word in words:
        assert word in said
    checked = run_program("check-config", "--config", file)
    if "not an address" not in words:  # that one shows only when it is listened on
        assert (checked.returncode, checked.stderr) == (2, said)


@pytest.mark.parametrize("what", ["missing", "a directory", "huge"])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, what: str) -> None:
    """The line names the file."""
    file = tmp_path / "smartflo.toml"
    if what == "a directory":
        file.mkdir()
    elif what == "huge":
        file.write_bytes(b"#" * 10_000_000)
    assert str(file) in _one_line(file)


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", "long-enough-and-more\nshort\n"])
def test_a_token_file_without_a_usable_token(tmp_path: Path, text: str) -> None:
    """It says so, without the tokens."""
    write_secret(tmp_path / "stream.token", text)
    said = refusal(tmp_path, token_file="stream.token")
    assert "stream.token" in said
    assert "16 characters" in said
    assert "long-enough" not in said


def test_it_is_not_ready_if_it_does_not_start(tmp_path: Path) -> None:
    """The supervisor is told nothing."""
    supervisor = Supervisor(f"@smartflo-test-{secrets.token_hex(8)}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = write_config(tmp_path, port=taken.getsockname()[1], health_port=0)
        assert run_program("serve", "--config", file, NOTIFY_SOCKET=supervisor.address).returncode == 2
    supervisor.close()
    assert supervisor.told.all() == []


# --- Probes and rubbish


def _hold(port: int) -> None:
    """Connect and say nothing, until we are cut."""
    assert exchange(port, b"") == b""


def _reset(port: int, said: bytes = b"") -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(said)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _leave(port: int, said: bytes = b"") -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(said)


HEAD = b"GET /vendor-stream HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + UPGRADE.encode() + b"\r\n"
MASKED = b"\0\0\0\0"
RUBBISH = {
    "garbage": b"\x00\x01\x02\xff" * 200,
    "TLS hello": bytes.fromhex("16030100a5010000a10303") + b"\x5a" * 160,
    "PROXY line": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + WHOLE,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SIP": b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\n\r\n",
    "HTTP/0.9": b"GET /vendor-stream\r\n",
    "HTTP/1.0": b"GET /vendor-stream HTTP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST with a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    "GET with a body": HEAD + b"Content-Length: 3\r\n\r\nabc",
    "chunked": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "9 kB line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    "9 kB header": HEAD + b"X: " + b"a" * 9000 + b"\r\n\r\n",
    "200 headers": HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
    "header without a colon": HEAD + b"nonsense\r\n\r\n",
    "bare LF": b"GET /vendor-stream HTTP/1.1\nHost: x\n\n",
    "NUL": b"GET /vendor-stream\0 HTTP/1.1\r\n\r\n",
    "no key": HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "short key": HEAD + UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "x").encode() + b"\r\n",
    "old version": HEAD + UPGRADE.replace("13", "8").encode() + b"\r\n",
    "upgrade, then garbage": WHOLE + b"\xff" * 100,
    "upgrade, then no mask": WHOLE + b"\x81\x02{}",
    "upgrade, then a reserved bit": WHOLE + b"\xc1\x82" + MASKED + b"{}",
    "upgrade, then 2^62 bytes": WHOLE + b"\x81\xff" + (1 << 62).to_bytes(8, "big") + MASKED,
    "upgrade, then a close of one byte": WHOLE + b"\x88\x81" + MASKED + b"x",
    "upgrade, then a bad close code": WHOLE + b"\x88\x82" + MASKED + (999).to_bytes(2, "big"),
}


@pytest.mark.parametrize("port", ["port", "health_port"])
def test_probes_and_rubbish_leave_no_trace(daemon: Daemon, port: str) -> None:
    """Nothing is logged for them, a traceback least of all; a call afterwards is served.

    Each kind is there four times at once: answered, closed halfway, reset halfway, and left alone.
    """
    number: int = getattr(daemon, port)
    before = len(daemon.log.all())
    with ThreadPoolExecutor(4 * len(RUBBISH)) as pool:
        tries = [pool.submit(probe, number) for probe in (_hold, _leave, _reset)]
        for said in RUBBISH.values():
            tries += [pool.submit(exchange, number, said), pool.submit(_reset, number, said)]
            tries += [pool.submit(leave, number, said[: len(said) // 2]) for leave in (_leave, _reset)]
    for one in tries:
        one.result()
    asyncio.run(until(lambda: daemon.sockets() == 4))
    assert daemon.log.all()[before:] == []
    asyncio.run(talk(daemon))


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("9 kB line", {414}),
        ("9 kB header", {431}),
        ("200 headers", {431}),
        ("HTTP/1.0", {505}),
        ("no key", {400}),
        ("short key", {400}),
        ("old version", {400, 426}),
        ("POST with a body", {405}),
        ("chunked", {405}),
    ],
)
def test_those_that_speak_http_get_an_answer(daemon: Daemon, kind: str, statuses: set[int]) -> None:
    """The one that HTTP has for their mistake."""
    answer = exchange(daemon.port, RUBBISH[kind])
    assert answer.startswith(b"HTTP/1.1 ")
    assert int(answer.split()[1]) in statuses


def test_dripping_requests_are_cut(daemon: Daemon) -> None:
    """Whoever sends a request byte by byte has as long for it as everybody; a call meanwhile is served."""

    async def drip() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        began_at = asyncio.get_running_loop().time()
        try:
            for byte in WHOLE:
                writer.write(bytes([byte]))
                await writer.drain()
                if await _has_ended(reader, 0.1):
                    break
        except ConnectionError:
            pass
        writer.transport.abort()
        return asyncio.get_running_loop().time() - began_at

    async def main() -> None:
        took, *_ = await asyncio.gather(drip(), drip(), drip(), talk(daemon))
        assert OPEN_SECONDS - 0.1 < took < OPEN_SECONDS + 1

    asyncio.run(main())


async def _has_ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return not await reader.read(1)
    except TimeoutError:
        return False
