"""TLS in the process: the certificate and its key, read at the start and again when their files have changed.

Each connection gets the newest certificate when its handshake begins; connections that are open keep theirs. A pair that
cannot be used is named in the log, and the one in use stays in use.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.credentials import find_file, open_secret
from smartflo_bridge.log import line

WATCH_SECONDS = 60.0
"""Between two looks at the files: whoever renews a certificate does so days before it expires."""

_log = logging.getLogger(__name__)


class Certificate:
    """The certificate that new connections are shown.

    Args:
        cert_file: its chain, the leaf first, as PEM.
        key_file: its private key, as PEM without a password.

    Attributes:
        context: for the listener; it always shows the newest certificate.

    Raises:
        ConfigError: the files cannot be read, or do not belong together.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._stamp = self._changed_at()
        self._newest = load(cert_file, key_file)
        # Not the same as `_newest`: the key types of all certificates that a context ever had stay in it.
        self.context = load(cert_file, key_file)
        self.context.sni_callback = self._show_newest

    def reload(self) -> None:
        """Take the pair that is in the files now, if it can be used."""
        self._stamp = self._changed_at()
        try:
            self._newest = load(*self._files)
        except ConfigError as error:
            _log.error(line("the certificate in use stays in use", reason=error))
        else:
            _log.info(line("certificate loaded", file=self._files[0]))

    async def watch(self) -> None:
        """Reload whenever a file has changed, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._changed_at() != self._stamp:
                self.reload()

    def _show_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002 - the library's
        connection.context = self._newest

    def _changed_at(self) -> list[tuple[int, int, int]]:
        """Return what tells one state of the files from another; a link that leads elsewhere is another state, too."""
        stamp = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                stamp.append((0, 0, 0))
            else:
                stamp.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return stamp


def load(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and newer that shows this certificate.

    Raises:
        ConfigError: a file cannot be read, has no certificate or no key, or everybody can read the key; or they are no pair.
    """
    try:
        # A context that is thrown away: whom we trust is another matter than whom we show ourselves as.
        certificates = cert_file.read_text("ascii", "ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificates)
    except (OSError, ValueError) as error:
        msg = f"tls-cert-file: {cert_file}: {_reason(error, 'no certificate in PEM')}"
        raise ConfigError(msg) from None
    open_secret("tls-key-file", key_file).close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=lambda: "")  # never ask at a terminal
    except (OSError, ValueError) as error:
        is_other = isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH"
        reason = (
            f"not the key of {cert_file}"
            if is_other
            else _reason(error, "no private key in PEM, or one with a password")
        )
        msg = f"tls-key-file: {key_file}: {reason}"
        raise ConfigError(msg) from None
    return context


def open_certificate(config: Config, config_dir: Path) -> Certificate | None:
    """Return the certificate that the configuration names, or None without one.

    Raises:
        ConfigError: only one of its two files is named, or they cannot be used.
    """
    names = {"tls-cert-file": config.tls_cert_file, "tls-key-file": config.tls_key_file}
    if not any(names.values()):
        return None
    for key, name in names.items():
        if not name:
            msg = f"{key}: is needed too: a certificate has a key, and a key a certificate"
            raise ConfigError(msg)
    return Certificate(find_file(config.tls_cert_file, config_dir), find_file(config.tls_key_file, config_dir))


def _reason(error: OSError | ValueError, otherwise: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
        return error.strerror
    return otherwise
