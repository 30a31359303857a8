"""TLS in the process: calls over it, a new certificate without a restart, and pairs of files that cannot be used."""

import asyncio
import re
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from integration.daemon import WAIT_SECONDS, Daemon, run_program, until, write_config
from integration.handlers.answers import speech
from integration.test_gate import exchange
from integration.wire import dialled
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server import tls
from smartflo_bridge.server.tls import Certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def make_certificate(folder: Path, name: str, algorithm: str = "rsa:2048") -> tuple[Path, Path]:
    """Make a key and a certificate of its own for localhost; return the certificate's file and the key's."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    kind = (
        ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{algorithm[3:]}"]
        if algorithm[:3] == "ec:"
        else ["-newkey", algorithm]
    )
    command = [
        "openssl",
        "req",
        "-x509",
        *kind,
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Certificates with their keys: two of one kind, and one of another."""
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "first": make_certificate(folder, "first"),
        "second": make_certificate(folder, "second"),
        "elliptic": make_certificate(folder, "elliptic", "ec:prime256v1"),
    }


def install(pair: tuple[Path, Path], folder: Path) -> None:
    """Put a pair where a daemon looks for it, as a renewal does: each file replaced at once."""
    for source, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
        shutil.copy(source, folder / f"{name}.new")
        (folder / f"{name}.new").chmod(0o600)
        (folder / f"{name}.new").rename(folder / name)


def encrypted(folder: Path, **keys: object) -> Daemon:
    """Return a daemon that speaks TLS."""
    return Daemon(folder, handler="answers:answer", tls_cert_file="tls.crt", tls_key_file="tls.key", **keys)


def client(*trusted: tuple[Path, Path]) -> ssl.SSLContext:
    """Return a context that trusts these certificates alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for cert, _ in trusted:
        context.load_verify_locations(cert)
    return context


def shown(port: int, name: str | None = "localhost", **limits: ssl.TLSVersion) -> tuple[str, str]:
    """Connect, and return the name in the certificate that is shown, and the version of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # the client would speak what is old; the daemon is to refuse
    for limit, version in limits.items():
        setattr(context, limit, version)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as sock,
        context.wrap_socket(sock, server_hostname=name) as wrapped,
    ):
        der = wrapped.getpeercert(binary_form=True)
        version = wrapped.version()
    assert der is not None
    assert version is not None
    (found,) = re.findall(rb"first|second|elliptic", der[: len(der) // 2])[:1]
    return found.decode(), version


def test_a_live_call_across_a_new_certificate(tmp_path: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    """The call loses nothing; who connects after SIGHUP is shown the new one, of another kind of key too, with SNI and without."""

    async def main(daemon: Daemon) -> None:
        url = f"wss://localhost:{daemon.port}/vendor-stream"
        async with dialled(url, ssl=client(pairs["first"])) as platform:
            await platform.start(role="speak", seed="tls", seconds="3")
            heard = await platform.audio(4000)
            assert (await asyncio.to_thread(shown, daemon.port))[0] == "first"
            for count, name in enumerate(("second", "elliptic", "first", "elliptic"), 1):
                install(pairs[name], tmp_path)
                daemon.signal(signal.SIGHUP)
                await daemon.log.seen("certificate loaded", count)
                for sni in ("localhost", "elsewhere.example", None):
                    assert (await asyncio.to_thread(shown, daemon.port, sni))[0] == name
            with pytest.raises(ssl.SSLCertVerificationError):
                async with dialled(url, ssl=client(pairs["first"])):
                    pass
            async with dialled(url, ssl=client(pairs["elliptic"])) as other:
                await other.start(role="speak", seed="other", seconds="0.2")
                assert (await other.audio(1600)) == speech("other", 0.2)
                await other.stop()
                assert await other.closed() == (1000, "")
            while len(heard) < 3 * 8000:
                heard += await platform.audio(1)
            assert heard == speech("tls", 3)
            await platform.stop()
            assert await platform.closed() == (1000, "")
        await daemon.log.seen(" call ended ", 2)

    install(pairs["first"], tmp_path)
    with encrypted(tmp_path) as daemon:
        assert " tls=yes " in daemon.log.find("listening ")[0][1]
        asyncio.run(main(daemon))
        assert {end["termination"] for end in daemon.ended(2)} == {"completed"}


def test_a_pair_that_cannot_be_used_changes_nothing(tmp_path: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    """The log says which file and why, and the certificate in use stays."""
    install(pairs["first"], tmp_path)
    with encrypted(tmp_path, expects=["^the certificate in use stays in use "]) as daemon:
        for count, (file, text, words) in enumerate(
            (
                ("tls.crt", pairs["second"][0].read_text(), "not the key of"),
                ("tls.crt", "", "no certificate in PEM"),
                ("tls.crt", None, "No such file or directory"),
            ),
            1,
        ):
            (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
            daemon.signal(signal.SIGHUP)
            said = daemon.log.wait_for("the certificate in use stays in use ", count)[-1]
            assert words in said
            assert shown(daemon.port)[0] == "first"
        install(pairs["second"], tmp_path)
        daemon.signal(signal.SIGHUP)
        daemon.log.wait_for("certificate loaded")
        assert shown(daemon.port)[0] == "second"


def test_tls_1_2_is_the_oldest(tmp_path: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    """It and 1.3 are spoken; 1.1 and plain text are refused without a line in the log."""
    install(pairs["first"], tmp_path)
    with encrypted(tmp_path, open_seconds=0.5) as daemon:
        assert shown(daemon.port)[1] == "TLSv1.3"
        assert shown(daemon.port, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
        before = len(daemon.log.all())
        with (
            pytest.warns(DeprecationWarning, match="TLSv1_1"),
            pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"),
        ):
            shown(daemon.port, minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1)
        assert b"HTTP" not in exchange(daemon.port, b"GET /vendor-stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert exchange(daemon.port, b"") == b""  # cut, as a handshake that does not go on
        assert len(daemon.log.all()) == before
        asyncio.run(until(lambda: daemon.sockets() == 4))


@pytest.mark.parametrize(
    ("keys", "files", "words"),
    [
        ({"tls_key_file": ""}, {}, "tls-key-file: is needed too"),
        ({"tls_cert_file": ""}, {}, "tls-cert-file: is needed too"),
        ({"tls_key_file": "nowhere"}, {}, "tls-key-file: {folder}/nowhere: No such file or directory"),
        ({"tls_cert_file": "nowhere"}, {}, "tls-cert-file: {folder}/nowhere: No such file or directory"),
        ({"tls_cert_file": "."}, {}, "tls-cert-file: {folder}: Is a directory"),
        ({}, {"tls.key": "second"}, "tls-key-file: {folder}/tls.key: not the key of {folder}/tls.crt"),
        ({}, {"tls.key": "junk"}, "tls-key-file: {folder}/tls.key: no private key in PEM, or one with a password"),
        ({}, {"tls.key": ""}, "tls-key-file: {folder}/tls.key: no private key in PEM, or one with a password"),
        ({}, {"tls.crt": "junk"}, "tls-cert-file: {folder}/tls.crt: no certificate in PEM"),
        ({}, {"tls.crt": ""}, "tls-cert-file: {folder}/tls.crt: no certificate in PEM"),
    ],
)
def test_a_pair_that_cannot_be_used_at_the_start(
    tmp_path: Path, pairs: dict[str, tuple[Path, Path]], keys: dict[str, str], files: dict[str, str], words: str
) -> None:
    """One line names the key, the file and the reason; `check-config` says the same."""
    install(pairs["first"], tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(pairs[text][1].read_text() if text in pairs else text)
    file = write_config(
        tmp_path, **({"port": 0, "health_port": 0, "tls_cert_file": "tls.crt", "tls_key_file": "tls.key"} | keys)
    )
    for command in ("serve", "check-config"):
        run = run_program(command, "--config", file)
        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr.startswith(f"smartflo-bridge: {words.format(folder=tmp_path)}")
        assert run.stderr.count("\n") == 1


def test_a_key_with_a_password_or_for_everybody(tmp_path: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    """Nobody is asked for the one, and the other is refused."""
    cert, key = pairs["first"]
    locked = tmp_path / "locked.key"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match=r"locked\.key: no private key in PEM, or one with a password$"):
        Certificate(cert, locked)
    shutil.copy(key, tmp_path / "open.key")
    (tmp_path / "open.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"open\.key: every user of this machine may read or change it \(mode 644\)"):
        Certificate(cert, tmp_path / "open.key")


def test_new_files_are_found_without_a_signal(
    tmp_path: Path,
    pairs: dict[str, tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whenever they have changed, and never when they have not; also where a link leads elsewhere."""
    monkeypatch.setattr(tls, "WATCH_SECONDS", 0.01)
    caplog.set_level("INFO")

    async def main() -> None:
        certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
        watching = asyncio.create_task(certificate.watch())
        await asyncio.sleep(0.1)
        assert not caplog.records
        install(pairs["second"], tmp_path)
        await until(lambda: "certificate loaded" in caplog.text)
        caplog.clear()
        for name, target in zip(("tls.crt", "tls.key"), pairs["elliptic"], strict=True):
            (tmp_path / f"{name}.new").symlink_to(target)
            (tmp_path / f"{name}.new").rename(tmp_path / name)
        await until(lambda: "certificate loaded" in caplog.text)
        watching.cancel()

    install(pairs["first"], tmp_path)
    asyncio.run(main())
