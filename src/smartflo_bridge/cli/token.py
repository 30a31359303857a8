"""`smartflo-bridge token`: makes static tokens and secrets, signs a token for a call, and says what is wrong with one."""

import os
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from smartflo_bridge.config import DEFAULT_FILE, Config, load_config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.access import token_in
from smartflo_bridge.server.doors import read_signers, read_static_tokens
from smartflo_bridge.server.resolver import stream_url_of
from smartflo_bridge.server.tokens import NONCE_BYTES, CallToken, Flaw, check_token, sign_token
from smartflo_bridge.server.used_tokens import used_token_dir, was_used

SECRET_BYTES = 32
"""As many as the hash has that secrets are for; RFC 2104, section 3. A static token gets as many."""


@click.command()
@click.option("--sign", is_flag=True, help="Sign a token for one call, with the newest secret in token-secret-file.")
@click.option("--call-id", metavar="ID", help="With --sign: of the only call that it is for.")
@click.option(
    "--seconds", type=click.FloatRange(min=1, max=86400), help="With --sign: valid for; default token-seconds."
)
@click.option("--check", "text", metavar="TOKEN", help="A token or a URL with one; - reads it from standard input.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Default: smartflo.toml, if it is there.")
def command(file: Path | None, text: str | None, call_id: str | None, seconds: float | None, *, sign: bool) -> None:
    """Make a static token, or a secret that signs tokens: without options. Or sign, or check, a token for one call.

    A checked token is not used up. The exit code is 1 if the daemon would not let it in.
    """
    if sign and text is not None:
        msg = "--sign and --check do not go together"
        raise ConfigError(msg)
    if not sign and (call_id is not None or seconds is not None):
        msg = "--call-id and --seconds go with --sign"
        raise ConfigError(msg)
    if not sign and text is None:
        click.echo(secrets.token_urlsafe(SECRET_BYTES))
        return
    config, config_dir = load_config(file), (file or DEFAULT_FILE).resolve().parent
    if sign:
        click.echo(_signed(config, config_dir, call_id, seconds))
        return
    is_valid, words = _judged(sys.stdin.read().strip() if text == "-" else text or "", config, config_dir)
    click.echo(f"{'valid' if is_valid else 'not valid'}: {words}")
    sys.exit(not is_valid)


def _signed(config: Config, config_dir: Path, call_id: str | None, seconds: float | None) -> str:
    """Return a URL with a fresh token, or without public-url the path with one."""
    signers = read_signers(config, config_dir)
    if not signers:
        msg = "token-secret-file: is needed to sign a token"
        raise ConfigError(msg)
    stream = stream_url_of(config) if config.public_url else config.path.rstrip("/")
    token = CallToken(round(time.time() + (seconds or config.token_seconds)), os.urandom(NONCE_BYTES), call_id)
    try:
        return f"{stream}/{sign_token(token, signers[0].encode())}"
    except ValueError as error:
        msg = f"--call-id: {error}"
        raise ConfigError(msg) from None


def _judged(text: str, config: Config, config_dir: Path) -> tuple[bool, str]:
    """Return whether the daemon would let a token in, and why in words, which do not repeat it."""
    offered = _token_of(text, config.path)
    static = read_static_tokens(config, config_dir)
    if offered in static:
        return True, f"a static token, number {static.index(offered) + 1} of {len(static)} in token-file"
    signers = read_signers(config, config_dir)
    if not static and not signers:
        return (
            False,
            "the configuration has neither token-file nor token-secret-file, so there is nothing to check it by",
        )
    now, leeway_seconds = time.time(), config.token_leeway_seconds
    token = check_token(offered, [secret.encode() for secret in signers], now, leeway_seconds)
    match token:
        case Flaw.EXPIRED:
            late = check_token(offered, [secret.encode() for secret in signers], 0.0)
            assert isinstance(late, CallToken)
            return False, f"{token.value}, {_when(late, now)}"
        case Flaw.MALFORMED if static:
            return False, f"it is not in token-file, and {token.value}"
        case Flaw():
            return False, token.value
    directory = used_token_dir(config)
    try:
        if directory is not None and was_used(token, directory):
            return False, f"it was used before; {_described(token, now)}"
    except OSError:  # it is the daemon's alone
        directory = None
    use = "whether it was used before cannot be seen from here" if directory is None else "not used yet on this machine"
    return True, f"{_described(token, now)}; {use}"


def _token_of(text: str, path: str) -> str:
    """Return the token in a URL or a target, or the text if it is neither."""
    if "://" in text:
        url = urlsplit(text)
        text = f"{url.path}?{url.query}"
    if not text.startswith("/"):
        return text
    offered = token_in(text, path)
    # A proxy in front may have another path than ours: then the token is the last part of it.
    return text.partition("?")[0].rstrip("/").rpartition("/")[2] if offered is None else offered


def _described(token: CallToken, now: float) -> str:
    whose = "for any call" if token.call_id is None else f"for the call {token.call_id!r} alone"
    return f"{whose}, {_when(token, now)}"


def _when(token: CallToken, now: float) -> str:
    seconds = round(token.expires_at - now)
    at = datetime.fromtimestamp(token.expires_at, UTC)
    return f"valid until {at:%Y-%m-%d %H:%M:%S} UTC, {f'{seconds} s from now' if seconds > 0 else f'{-seconds} s ago'}"
