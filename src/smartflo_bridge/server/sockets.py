"""Listening sockets: made here, or inherited from systemd; and the options that every call's socket inherits from them.

The kernel's defaults hide a stalled reader for minutes: it takes 4 MiB, 255 s of speech, before a write blocks
(reliability, F6). So the send buffer is small, and unacknowledged bytes end a connection (F1).
"""

import errno
import os
import select
import socket
from contextlib import suppress

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.wire.sockets import bound

SEND_BUFFER_BYTES = 64 * 1024
"""Reliability, section 8: `so_sndbuf`."""

KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

BACKLOG = 1024
"""A burst of 600 upgrades during a stall of half a second waits here; reliability, 3d."""

FIRST_INHERITED_FD = 3
"""sd_listen_fds(3)."""


def listening_socket(prefix: str, host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Bind and listen. A shared port may be listened on by more processes of the same user, as long as all share it.

    Raises:
        ConfigError: the address does not exist, is taken, or is not ours to take. It names the key to be mended: `host`
            or `port`, behind the prefix.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=is_shared)
    except OSError as error:
        is_about_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        key = f"{prefix}{'host' if is_about_host else 'port'}"
        msg = f"{key}: cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigError(msg) from None
    harden(sock)
    return sock


def inherited_socket(name: str) -> socket.socket | None:
    """Return the socket that systemd hands over under this name (FileDescriptorName=), or None.

    A single unnamed socket, which systemd calls after its unit, counts as `calls`.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for index in range(count):
        own_name = names[index] if index < len(names) else ""
        if own_name == name or (name == "calls" and count == 1 and own_name != "health"):
            sock = socket.socket(fileno=FIRST_INHERITED_FD + index)
            sock.settimeout(0)
            harden(sock)
            return sock
    return None


def somebody_waits(sock: socket.socket) -> bool:
    """True if there are connections that the kernel has accepted at a listening socket, and nobody has taken yet."""
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def harden(sock: socket.socket) -> None:
    """Set what accepted sockets inherit. A socket that is not TCP has none of it."""
    with suppress(OSError):
        bound(sock, SEND_BUFFER_BYTES)
        # uvloop sets it on every connection, asyncio not where the listener was made without naming TCP: then the second
        # packet of an utterance waits up to 40 ms for the acknowledgement of the first.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
