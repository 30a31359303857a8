"""What the daemon tells of itself: `GET /health` on the call port, and a bare TCP port for probes.

The probe port *is* the readiness: it opens when calls are accepted and closes first when the daemon drains, so that a
load balancer sends new calls elsewhere while the call port still takes those on their way.
"""

import asyncio
import socket

import msgspec

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.server.admission import Admission
from smartflo_bridge.server.loop_lag import LoopLag
from smartflo_bridge.version import __version__

HEALTH_PATH = "/health"


class Status(msgspec.Struct):
    """The daemon's state, as far as outsiders may know it."""

    registry: Registry
    lag: LoopLag
    admission: Admission
    is_draining: bool = False

    def report(self) -> bytes:
        """Return the body of `GET /health`: a small JSON object."""
        return msgspec.json.encode(
            {
                "status": "draining" if self.is_draining else "ok",
                "calls": len(self.registry),
                "max_calls": self.registry.max_calls,
                "calls_served": self.registry.calls_served,
                "refused": self.admission.refused.total(),
                "loop_lag_p99_ms": round(self.lag.p99_seconds() * 1000),
                "version": __version__,
            }
        )


async def open_probe_port(sock: socket.socket) -> asyncio.Server:
    """Accept and close: what a TCP probe needs. Nothing is read, and nothing logged."""
    return await asyncio.get_running_loop().create_server(_Probe, sock=sock)


class _Probe(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
