"""What the kernel is told about a connection, be it a caller's or a leg's: to hold little, and to give up early."""

import socket

USER_TIMEOUT_SECONDS = 10.0
"""So long what was sent may go unacknowledged; the kernel's own patience is a quarter of an hour. Reliability, section 7."""


def bound(sock: socket.socket, send_buffer_bytes: int) -> None:
    """Bound what may wait in the kernel, by size and by time. Sockets that one accepts inherit it.

    Raises:
        OSError: it is no TCP socket.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(USER_TIMEOUT_SECONDS * 1000))
