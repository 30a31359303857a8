"""The dynamic endpoint and its tokens, over real sockets: the platform asks, connects where it is told, once."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from integration.daemon import WAIT_SECONDS, Daemon, until, write_secret
from integration.handlers.answers import speech
from integration.test_gate import UPGRADE, ask, exchange, talk
from integration.wire import dialled

ASKING, SECRET, OLD_SECRET = "asking-is-allowed-7d1f", "s" * 40, "o" * 40
PUBLIC = "wss://voice.example.com"
FORM = "application/x-www-form-urlencoded"


def resolving(folder: Path, **keys: object) -> Daemon:
    """Return a daemon with a dynamic endpoint, which may say all that it has to say but secrets."""
    write_secret(folder / "asking.token", ASKING)
    write_secret(folder / "token.secret", f"{SECRET}\n{OLD_SECRET}\n")
    settings = {
        "resolver_path": "/resolve",
        "resolver_token_file": "asking.token",
        "token_secret_file": "token.secret",
        "used_token_dir": str(folder / "used"),
        "public_url": PUBLIC,
        "secrets": [ASKING, SECRET, OLD_SECRET, "voice.example.com", "919900112233"],
    }
    return Daemon(folder, handler="answers:answer", **(settings | keys))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a dynamic endpoint."""
    with resolving(tmp_path_factory.mktemp("resolver")) as running:
        yield running


def resolve(daemon: Daemon, method: str = "GET", query: str = "", content_type: str = "", body: str = "") -> str:
    """Ask, and return what is behind the path of the stream in the URL that comes back."""
    headers = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n" if body else ""
    status, answer = ask(daemon.port, f"/resolve/{ASKING}{query}", headers, method, body)
    assert status == 200
    head, _, json_text = answer.partition("\r\n\r\n")
    assert "\r\nContent-Type: application/json\r\n" in f"{head}\r\n"
    assert f"\r\nContent-Length: {len(json_text)}\r\n" in f"{head}\r\n"
    members = json.loads(json_text)
    assert list(members) == ["success", "wss_url"]
    assert members["success"] is True
    stem = f"{PUBLIC}/vendor-stream"
    assert members["wss_url"].startswith(f"{stem}/")
    return str(members["wss_url"]).removeprefix(stem)


@pytest.mark.parametrize(
    ("method", "query", "content_type", "body"),
    [
        ("GET", "", "", ""),
        ("GET", "?callId=1&fromNumber=919900112233&status=answered", "", ""),
        ("POST", "", "", ""),
        ("POST", "?callId=1", "", ""),
        ("POST", "", "application/json", '{"callId":"1","fromNumber":"919900112233"}'),
        ("POST", "", FORM, "callId=1&fromNumber=919900112233"),
        ("GET", "", "application/json", '{"callId":"1"}'),
    ],
)
def test_a_call_is_resolved_and_answered(daemon: Daemon, method: str, query: str, content_type: str, body: str) -> None:
    """In each form in which the platform may ask; the token opens the stream once."""
    rest = resolve(daemon, method, query, content_type, body)
    asyncio.run(talk(daemon, rest))
    assert ask(daemon.port, f"/vendor-stream{rest}")[0] == 401


def test_the_host_is_never_that_of_the_request(daemon: Daemon) -> None:
    """Whatever headers say, the URL is the configured one."""
    headers = "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nOrigin: https://evil.example\r\n"
    request = f"GET /resolve/{ASKING} HTTP/1.1\r\nHost: evil.example\r\n{headers}\r\n"
    answer = exchange(daemon.port, request.encode()).decode()
    assert f'"wss_url":"{PUBLIC}/vendor-stream/' in answer
    assert "evil" not in answer


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/resolve", "", 401),
        ("POST", "/resolve/", "", 401),
        ("POST", "/resolve/wrong-wrong-wrong-wrong", "", 401),
        ("POST", f"/resolve?token={ASKING}x", "", 401),
        ("PUT", f"/resolve/{ASKING}", "", 405),
        ("DELETE", f"/resolve/{ASKING}", "", 405),
        ("POST", "/vendor-stream", "", 405),
        ("POST", f"/resolve/{ASKING}", "Content-Length: 9000\r\n", 413),
        ("POST", f"/resolve/{ASKING}", "Transfer-Encoding: chunked\r\n", 411),
        ("POST", f"/resolve/{ASKING}", "Content-Length: x\r\n", 400),
        ("POST", f"/resolve/{ASKING}", "X: y\r\n" * 2000, 431),
        ("GET", f"/vendor-stream/{ASKING}", UPGRADE, 401),
    ],
)
def test_who_is_not_answered(daemon: Daemon, method: str, target: str, headers: str, status: int) -> None:
    """Strangers, other methods, what is too large or no request; and the one secret does not open the other door."""
    answered, answer = ask(daemon.port, target, headers, method)
    assert answered == status
    assert "wss" not in answer.partition("\r\n\r\n")[2]
    assert ASKING not in answer
    if status == 405:
        assert f"\r\nAllow: {'GET, POST' if ASKING in target else 'GET'}\r\n" in answer


def test_a_request_in_single_bytes(daemon: Daemon) -> None:
    """TCP cuts where it likes."""

    async def main() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        body = '{"callId":"1"}'
        for byte in f"POST /resolve/{ASKING} HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{body}".encode():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    asyncio.run(main())


def test_a_request_that_never_ends_is_cut(tmp_path: Path) -> None:
    """Within the time for a handshake, with nothing in the log; meanwhile others are answered."""
    with resolving(tmp_path, open_seconds=0.5) as daemon:
        before = len(daemon.log.all())
        for said in (b"PO", f"POST /resolve/{ASKING} HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc".encode()):
            began = time.monotonic()
            assert exchange(daemon.port, said) == b""
            assert time.monotonic() - began < 5
        resolve(daemon)
        assert len(daemon.log.all()) == before


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--get", "--data", "callId=1"],
        ["--data", "callId=1"],
        ["--header", "Content-Type: application/json", "--data", '{"callId":"1"}'],
        ["--header", "Expect: 100-continue", "--data", "callId=1"],
        ["--request", "POST"],
        ["--http1.0", "--data", "callId=1"],
    ],
)
def test_another_client_is_answered(daemon: Daemon, arguments: list[str]) -> None:
    """One that shares no code with ours, in the time that the platform has."""
    url = f"http://127.0.0.1:{daemon.port}/resolve/{ASKING}"
    run = subprocess.run(
        ["curl", "-fsS", "--max-time", "2", *arguments, url], capture_output=True, text=True, timeout=10, check=False
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(rf'{{"success":true,"wss_url":"{PUBLIC}/vendor-stream/[\w-]{{46}}"}}', run.stdout)


# --- Used once, signed by either secret, of one call


@pytest.mark.parametrize("mismatch", ["refuse", "warn"])
def test_a_token_of_another_call(tmp_path: Path, mismatch: str) -> None:
    """The stream whose `start` has another id is closed with 1008, or only told of; the one that was asked for is served."""

    async def main(daemon: Daemon) -> None:
        for number, call_id in enumerate(("c1", "c2")):
            async with dialled(daemon.url + resolve(daemon, query=f"?callId={call_id}")) as platform:
                await platform.start()  # as c1
                if number and mismatch == "refuse":
                    assert await platform.closed() == (1008, "not the call of its token")
                else:
                    await daemon.log.seen("call started ", number + 1)
                    await platform.stop()
                    assert await platform.closed() == (1000, "")
            await until(lambda: daemon.sockets() == 4)
        await daemon.log.seen("not the call of its token")
        assert len(daemon.log.find("not the call of its token")) == 1

    expects = ["^not the call of its token .* call_sid=c1$"]
    with resolving(tmp_path, resolver_call_id="callId", call_id_mismatch=mismatch, expects=expects) as daemon:
        asyncio.run(main(daemon))


def test_secrets_change_without_a_restart(tmp_path: Path) -> None:
    """After SIGHUP the files count as they are: for static tokens, for who asks, and for who signs. A live call hears nothing of it."""
    new_token, new_asking, new_secret = "new-static-new-static", "new-asking-new-asking", "n" * 40

    def file(name: str, *secrets: str) -> None:
        write_secret(tmp_path / name, "".join(f"{secret}\n" for secret in secrets))

    async def renewed(daemon: Daemon) -> None:
        before = len(daemon.log.find("secrets loaded "))
        daemon.signal(signal.SIGHUP)
        await daemon.log.seen("secrets loaded ", before + 1)

    async def main(daemon: Daemon) -> None:
        async with dialled(f"{daemon.url}/static-static-static") as live:
            await live.start(role="speak", seed="live", seconds="1")
            of_old = [await asyncio.to_thread(resolve, daemon) for _ in range(3)]
            file("stream.token", new_token, "static-static-static")
            file("asking.token", new_asking, ASKING)
            file("token.secret", new_secret, SECRET)
            await renewed(daemon)
            for rest in (f"/{new_token}", "/static-static-static", of_old[0], await asyncio.to_thread(resolve, daemon)):
                await talk(daemon, rest)
            file("token.secret", new_secret)
            file("stream.token", new_token)
            file("asking.token", new_asking)
            await renewed(daemon)
            for target in ("/vendor-stream/static-static-static", f"/vendor-stream{of_old[1]}", f"/resolve/{ASKING}"):
                assert (await asyncio.to_thread(ask, daemon.port, target))[0] == 401
            await talk(daemon, f"/{new_token}")
            file("asking.token", "short")
            file("stream.token", ASKING)
            daemon.signal(signal.SIGHUP)
            await daemon.log.seen("the secrets in use stay in use ")
            await talk(daemon, f"/{new_token}")
            assert (await asyncio.to_thread(ask, daemon.port, f"/vendor-stream/{ASKING}"))[0] == 401
            assert await live.audio(8000) == speech("live", 1)
            await live.stop()
            assert await live.closed() == (1000, "")

    file("stream.token", "static-static-static")
    said = '^the secrets in use stay in use reason="resolver-token-file: .* holds one token a line, each of at least 16 characters"$'
    with resolving(tmp_path, token_file="stream.token", expects=[said]) as daemon:
        asyncio.run(main(daemon))


def test_a_token_is_used_once_across_bridges(tmp_path: Path) -> None:
    """Two bridges of one machine: whichever is first has the call, also when both are asked at once, and after a restart."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    shared = {"used_token_dir": str(tmp_path / "used")}
    with resolving(folders[0], **shared) as one, resolving(folders[1], **shared) as two:
        for _ in range(10):
            rest = resolve(one)

            async def opens(daemon: Daemon, rest: str = rest) -> bool:
                with suppress(InvalidStatus):
                    async with dialled(daemon.url + rest) as platform:
                        await platform.start()
                        await daemon.log.seen(f"call started stream_sid={platform.sid} ")
                        return True
                return False

            async def race(opens=opens) -> list[bool]:
                return await asyncio.gather(opens(one), opens(two), opens(one), opens(two))

            assert sum(asyncio.run(race())) == 1
        spent = rest
    with resolving(folders[1], **shared) as again:
        assert ask(again.port, f"/vendor-stream{spent}")[0] == 401


def test_a_request_that_is_refused_for_want_of_a_place_can_come_again(tmp_path: Path) -> None:
    """Its token is used only once it is let in."""

    async def main(daemon: Daemon) -> None:
        rest = resolve(daemon)
        async with dialled(daemon.url + resolve(daemon)) as platform:
            await platform.start()
            assert (await asyncio.to_thread(ask, daemon.port, f"/vendor-stream{rest}"))[0] == 503
        await until(lambda: daemon.sockets() == 4)
        await talk(daemon, rest)

    with resolving(tmp_path, max_calls=1) as daemon:
        asyncio.run(main(daemon))


@pytest.mark.parametrize(
    ("headers", "status"),
    [("", 426), (f"{UPGRADE}Origin: https://a.example\r\n", 403), ("Upgrade: websocket\r\n", 426)],
)
def test_a_request_that_is_no_upgrade_can_come_again(daemon: Daemon, headers: str, status: int) -> None:
    """A proxy that does not pass the upgrade on, somebody with curl: the token is still the call's."""
    rest = resolve(daemon)
    assert ask(daemon.port, f"/vendor-stream{rest}", headers)[0] == status
    asyncio.run(talk(daemon, rest))


def test_a_directory_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    """503 for each, one line in the log; static tokens go on as ever."""
    write_secret(tmp_path / "stream.token", "static-static-static")
    expects = [
        '^used tokens cannot be kept: .* reason="No such file or directory"$',
        # The first sweep, on a thread, may find it gone too.
        '^used tokens could not be swept reason="No such file or directory"$',
    ]
    with resolving(tmp_path, expects=expects, token_file="stream.token") as daemon:
        (tmp_path / "used").rmdir()
        for _ in range(3):
            assert ask(daemon.port, f"/vendor-stream{resolve(daemon)}")[0] == 503
        assert len(daemon.log.find("used tokens cannot be kept")) == 1
        asyncio.run(talk(daemon, "/static-static-static"))
        (tmp_path / "used").mkdir(mode=0o700)
        asyncio.run(talk(daemon, resolve(daemon)))
