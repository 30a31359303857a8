"""Telling systemd how we are: sd_notify(3), a datagram to the socket that it names. Without one, nothing happens."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def notify(state: str) -> None:
    """Send a state, such as `READY=1`. A supervisor that does not listen is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), address)


@contextmanager
def fed_watchdog() -> Iterator[None]:
    """Say that the loop still turns, twice in the time that systemd allows, inside the context; if it asks for it."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        yield
        return
    feeding = asyncio.get_running_loop().create_task(_feed(int(microseconds) / 2e6))
    try:
        yield
    finally:
        feeding.cancel()


async def _feed(interval_seconds: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_seconds)
