"""Faults 21 and 28: an agent whose certificate is not its own, or whose name cannot be looked up.

For the latter the daemon has a list of name servers of its own, in a mount namespace, and on it one that is played here:
so its resolver is the real one, in the C library's threads. Needs root and `unshare`.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from faults.agent import APOLOGY, AgentCall, FaultyAgent, check_end, lost_call, told_call, whisper, with_faulty_agent
from faults.support import SLACK_SECONDS
from integration.daemon import Daemon

FALLBACK_SECONDS = 5.0
SLOW_SECONDS = 10.0
MANY = 6  # more than the threads that look names up
VOICE = whisper("agent", 1.0)
NAME = "agent.example"
NAME_SERVER = "127.77.0.53"

NAME_QUERY_BYTES = 12 + len(NAME) + 2
NOERROR, NXDOMAIN = 0x8180, 0x8183
A_RECORD = 1
LOOPBACK = bytes.fromhex("c00c 0001 0001 00000000 0004 7f000001")
"""An answer: the name of the query, A, IN, not to be kept, 127.0.0.1."""


async def greet(call: AgentCall) -> None:
    """Say something, and listen."""
    await call.speak(VOICE)
    await call.listen()


async def served_call(daemon: Daemon, folder: Path) -> None:
    """Fail unless a call is served."""
    async with told_call(daemon, "greet") as (told, closed):
        await told.until_heard(VOICE)
        await told.platform.stop()
        assert await closed == 1000
    await check_end(daemon, folder, told, "completed")


# --- Certificates


class Authority:
    """One that the daemon trusts, and what it vouches for: made with openssl."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = self._self_signed("authority")

    def context(self, name: str, host: str, days: int = 2) -> ssl.SSLContext:
        """Return a server's context, for a host and so many days."""
        key, request, crt = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        extension = self._folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n{_STRICT}")
        _openssl("req", *_NEW_KEY, "-subj", f"/CN={host}", "-keyout", key, "-out", request)
        signed_by = ("-CA", self.file, "-CAkey", self.file.with_suffix(".key"), "-set_serial", len(name))
        _openssl("x509", "-req", "-in", request, *signed_by, "-days", days, "-extfile", extension, "-out", crt)
        return _context(crt)

    def self_signed(self, name: str) -> ssl.SSLContext:
        """Return the context of a server that vouches for itself."""
        return _context(self._self_signed(name))

    def _self_signed(self, name: str) -> Path:
        crt = self._folder / f"{name}.crt"
        for_host = ("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-addext", _MAY_SIGN)
        _openssl("req", "-x509", *_NEW_KEY, *for_host, "-days", 2, "-keyout", crt.with_suffix(".key"), "-out", crt)
        return crt


_NEW_KEY = ("-newkey", "rsa:2048", "-nodes")
_STRICT = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
_MAY_SIGN = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"  # as Python 3.13 wants both by default


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _context(crt: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, crt.with_suffix(".key"))
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_21_a_service_whose_certificate_is_not_valid(tmp_path: Path) -> None:
    """Expired, of another name, vouched for by itself: refused in words, once, before anything is said to it."""
    authority = Authority(tmp_path)
    shown = authority.context("good", "localhost")
    wrong = {
        "certificate has expired": authority.context("expired", "localhost", days=-1),
        "Hostname mismatch": authority.context("other", "elsewhere.example"),
        "self-signed certificate": authority.self_signed("localhost"),
    }
    greeted: list[ssl.SSLContext] = []
    now = [shown]

    def show(connection: Any, *_: object) -> None:
        connection.context = now[0]
        greeted.append(now[0])

    shown.sni_callback = show

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        await served_call(daemon, tmp_path)
        agent.asked_at.clear()
        async with asyncio.TaskGroup() as calls:
            lost = []
            for now[0] in wrong.values():
                lost.append(calls.create_task(lost_call(daemon, tmp_path)))
                await daemon.log.seen(" leg ended ", 1 + len(lost))
        assert not agent.asked_at
        for words, context in wrong.items():
            assert daemon.log.find(f"agent lost .* its certificate is not valid: {words}"), words
            assert greeted.count(context) == 1
        assert all(call.result().first_at(APOLOGY) < SLACK_SECONDS for call in lost)
        now[0] = shown
        await served_call(daemon, tmp_path)

    trusting = {"environment": {"SSL_CERT_FILE": str(authority.file)}}
    with_faulty_agent(tmp_path, main, {"greet": greet}, tls=shown, host="localhost", daemon=trusting)


# --- Names


class NameServer:
    """One that knows one name, and can fail, or take its time. It is unrealistic in that it looks at nothing else.

    Attributes:
        knows: it has the name; else it says that nobody has.
        delay_seconds: before each answer.
        queries: how many it was asked.
    """

    def __init__(self) -> None:
        self.knows = True
        self.delay_seconds = 0.0
        self.queries = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((NAME_SERVER, 53))
        self._sock.settimeout(0.1)
        self._is_over = False

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve, in a thread, where the daemon looks for names."""
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            self._is_over = True
            thread.join()
            self._sock.close()

    def _serve(self) -> None:
        due: deque[tuple[float, bytes, tuple[str, int]]] = deque()
        while not self._is_over:
            with suppress(TimeoutError):
                query, asker = self._sock.recvfrom(512)
                due.append((time.monotonic() + self.delay_seconds, self._answer(query), asker))
            while due and due[0][0] <= time.monotonic():
                _, answer, asker = due.popleft()
                self._sock.sendto(answer, asker)

    def _answer(self, query: bytes) -> bytes:
        """Return the answer to a query; an IPv6 address there is none."""
        self.queries += 1
        question = query[12 : NAME_QUERY_BYTES + 4]
        answers = int(self.knows and question[-4:-2] == A_RECORD.to_bytes(2, "big"))
        head = query[:2] + (NOERROR if self.knows else NXDOMAIN).to_bytes(2, "big")
        return head + bytes((0, 1, 0, answers, 0, 0, 0, 0)) + question + LOOPBACK * answers


def with_name_servers(file: Path) -> list[str]:
    """Return a command that starts a daemon whose list of name servers is this file."""
    script = (
        f"mount --make-rprivate / && mount --bind {file} /etc/resolv.conf && exec {{program}} serve --config {{file}}"
    )
    return ["unshare", "--mount", "sh", "-c", script]


def missing() -> str | None:
    """Say what this machine lacks for it; None if it has everything."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "only root may make mount namespaces, with util-linux's `unshare`"
    tried = subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/resolv.conf"], check=False)
    return None if tried.returncode == 0 else "`unshare --mount` failed"


MISSING = missing()


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_28_a_name_that_cannot_be_looked_up(tmp_path: Path) -> None:
    """Not found: tried four times. Found in ten seconds: given up after five, for six calls at once.

    Neither is felt by anybody else, and when names are found again calls are served again.
    """
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {NAME_SERVER}\noptions timeout:{SLOW_SECONDS + 5:.0f} attempts:1\n")

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        names.knows = False
        told = await lost_call(daemon, tmp_path)
        assert told.first_at(APOLOGY) < FALLBACK_SECONDS
        assert (await check_end(daemon, tmp_path, told, "agent_lost"))["dials"] == "4"
        assert daemon.log.find("agent lost .* its name was not found")
        names.knows = True
        await served_call(daemon, tmp_path)
        names.delay_seconds = SLOW_SECONDS
        queries = names.queries
        lost = await asyncio.gather(*(lost_call(daemon, tmp_path) for _ in range(MANY)))
        for told in lost:
            assert FALLBACK_SECONDS - SLACK_SECONDS < told.first_at(APOLOGY) < FALLBACK_SECONDS + SLACK_SECONDS
        assert names.queries > queries
        assert max(call.worst_seconds for call in agent.neighbours) < SLACK_SECONDS
        names.delay_seconds = 0.0
        await served_call(daemon, tmp_path)

    names = NameServer()
    with names.serving():
        asked = {"command": with_name_servers(resolv)}
        with_faulty_agent(tmp_path, main, {"greet": greet}, host=NAME, daemon=asked)
