"""TLS towards services, over a WebSocket or HTTP."""

import functools
import ssl


@functools.cache
def client_tls() -> ssl.SSLContext:
    """Return what checks a service's certificate. Made once: reading the system's authorities takes a loop some 35 ms."""
    return ssl.create_default_context()
