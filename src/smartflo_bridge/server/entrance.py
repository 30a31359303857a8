"""All that stands between the network and a call, made of the configuration: who may come in, how many, and how.

The service opens it at its start; the listener asks its gate.
"""

import logging
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.config import Config
from smartflo_bridge.server.admission import Admission
from smartflo_bridge.server.doors import Doors, open_doors
from smartflo_bridge.server.listener import Gate
from smartflo_bridge.server.loop_lag import LoopLag
from smartflo_bridge.server.proxies import TrustedProxies
from smartflo_bridge.server.status import Status
from smartflo_bridge.server.tls import Certificate, open_certificate
from smartflo_bridge.server.used_tokens import UsedTokens, open_used_tokens

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entrance:
    """What was opened.

    Attributes:
        doors: what secrets open.
        status: what the daemon tells of itself.
        gate: that decides on each request.
        certificate: that is shown, if the daemon speaks TLS.
        lag: the loop's.
        used_tokens: remembers the tokens of calls, if any are signed.
    """

    doors: Doors
    status: Status
    gate: Gate
    certificate: Certificate | None
    lag: LoopLag
    used_tokens: UsedTokens | None

    def chores(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what has to run, without an end, for as long as the daemon serves."""
        yield self.lag.watch()
        if self.used_tokens is not None:
            yield self.used_tokens.keep_small()
        if self.certificate is not None:
            yield self.certificate.watch()

    def renew(self, config: Config, config_dir: Path) -> None:
        """Take the secrets and the certificate that are in their files now; what cannot be used is an ERROR in the log."""
        if self.doors.access.is_open and self.certificate is None:
            _log.info("SIGHUP ignored: a new configuration needs a restart")
        self.doors.change_locks(config, config_dir)
        if self.certificate is not None:
            self.certificate.reload()


def open_entrance(config: Config, config_dir: Path, registry: Registry) -> Entrance:
    """Read the files that the configuration names, and return the entrance that it describes.

    Raises:
        ConfigError: something in it cannot work here.
    """
    lag = LoopLag(config.shed_lag_seconds)
    admission = Admission(
        registry,
        lag,
        TrustedProxies(config.trusted_proxies),
        max_new_calls_per_second=config.max_new_calls_per_second,
        shed_seconds=config.shed_lag_seconds,
    )
    used_tokens = open_used_tokens(config)
    doors = open_doors(config, config_dir, used_tokens)
    status = Status(registry, lag, admission)
    gate = Gate(doors.access, admission, status, doors.resolver, refuses_after_upgrade=config.refuse_with == "1008")
    return Entrance(doors, status, gate, open_certificate(config, config_dir), lag, used_tokens)
