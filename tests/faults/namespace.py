"""A network of its own for a caller, with a wire to ours that can be cut: what no proxy on loopback can imitate.

Behind a cut wire nothing is acknowledged and nothing is refused: TCP itself hears nothing more. Needs root and `ip`.
"""

import asyncio
import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANGE = "198.18.{}.{}"
"""RFC 2544 keeps it for tests of networks. One wire takes four addresses of it, chosen at random."""

CLONE_NEWNET = 0x40000000


def missing() -> str | None:
    """Say what this machine lacks for a network namespace; None if it has everything."""
    if shutil.which("ip") is None:
        return "`ip` is not installed (Debian's iproute2)"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    name = f"smartflo-try-{secrets.token_hex(4)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"`ip netns add` failed: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


class Namespace:
    """A network that has one wire to ours."""

    def __init__(self, name: str, our_address: str, their_address: str) -> None:
        self._name = name
        self._our_address = our_address
        self._their_address = their_address

    async def connect(self, port: int) -> socket.socket:
        """Return a socket of that network, connected to a port of ours."""
        sock = await asyncio.to_thread(self._socket)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self._our_address, port))
        return sock

    def listen(self) -> tuple[socket.socket, str]:
        """Return a socket of that network that listens, and where it can be reached from ours: `address:port`."""
        sock = self._socket()
        sock.bind((self._their_address, 0))
        sock.listen()
        sock.setblocking(False)
        return sock, f"{self._their_address}:{sock.getsockname()[1]}"

    def cut(self) -> None:
        """Cut the wire. Neither end is told."""
        _ip("netns", "exec", self._name, "ip", "link", "set", "theirs", "down")

    def _socket(self) -> socket.socket:
        """Make a socket there. Only a thread of its own may go there, for it cannot come back."""
        made: list[socket.socket] = []

        def make() -> None:
            with Path(f"/run/netns/{self._name}").open() as file:
                libc = ctypes.CDLL(None, use_errno=True)  # os.setns is Python's since 3.12
                if libc.setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make a network for the context, and a wire to it."""
    name = f"smartflo-{secrets.token_hex(4)}"
    wire = f"sf{secrets.token_hex(4)}"
    net, host = secrets.randbelow(256), 4 * secrets.randbelow(64)
    ours, theirs = RANGE.format(net, host + 1), RANGE.format(net, host + 2)
    _ip("netns", "add", name)
    try:
        _ip("link", "add", wire, "type", "veth", "peer", "name", "theirs", "netns", name)
        _ip("addr", "add", f"{ours}/30", "dev", wire)
        _ip("link", "set", wire, "up")
        _ip("netns", "exec", name, "ip", "addr", "add", f"{theirs}/30", "dev", "theirs")
        _ip("netns", "exec", name, "ip", "link", "set", "theirs", "up")
        yield Namespace(name, ours, theirs)
    finally:
        _ip("netns", "del", name)  # its end of the wire goes with it, and so does ours


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
