"""Tokens are used once: by whichever thread or process comes first, and by nobody if that cannot be known."""

import asyncio
import errno
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server import used_tokens
from smartflo_bridge.server.tokens import CallToken
from smartflo_bridge.server.used_tokens import SWEEP_SECONDS, Use, UsedTokens, open_used_tokens, was_used

NOW = 1_800_000_000
TOKEN = CallToken(NOW, bytes(12), "c1")


@pytest.fixture
def used(tmp_path):
    """Tokens used so far: none."""
    return UsedTokens(tmp_path / "run" / "used", leeway_seconds=5.0)


def test_a_token_is_used_once(used, tmp_path):
    """Then it is a repetition, also for another bridge with the directory; what it says more is not in the name."""
    assert not was_used(TOKEN, tmp_path / "run" / "used")
    assert used.spend(TOKEN) is Use.FIRST
    assert used.spend(TOKEN) is Use.REPEATED
    assert UsedTokens(tmp_path / "run" / "used", 0.0).spend(TOKEN) is Use.REPEATED
    assert was_used(TOKEN, tmp_path / "run" / "used")
    assert used.spend(replace(TOKEN, nonce=b"x" * 12)) is Use.FIRST
    assert used.spend(replace(TOKEN, expires_at=NOW + 1)) is Use.FIRST


def test_nobody_else_can_look(used, tmp_path):
    """The directory and the files are ours alone, and have neither content nor the call's id."""
    used.spend(TOKEN)
    directory = tmp_path / "run" / "used"
    assert directory.stat().st_mode & 0o777 == 0o700
    (file,) = directory.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size == 0
    assert file.name == f"{NOW}-{'00' * 12}"


def test_of_many_threads_one_is_first(used):
    """Whichever it is."""
    with ThreadPoolExecutor(16) as pool:
        for number in range(50):
            token = replace(TOKEN, nonce=number.to_bytes(12, "big"))
            uses = list(pool.map(lambda _, token=token: used.spend(token), range(16)))
            assert sorted(use.value for use in uses) == ["first"] + ["repeated"] * 15


SPENDER = """
import sys
from pathlib import Path
from smartflo_bridge.server.tokens import CallToken
from smartflo_bridge.server.used_tokens import Use, UsedTokens
used = UsedTokens(Path(sys.argv[1]), 0.0)
tokens = [CallToken(int(sys.argv[2]), number.to_bytes(12, "big"), "c1") for number in range(500)]
print(sum(used.spend(token) is Use.FIRST for token in tokens))
"""


def test_of_many_bridges_one_is_first(tmp_path):
    """Four processes try to use the same 500 tokens at once: each token is used once."""
    command = [sys.executable, "-c", SPENDER, str(tmp_path / "used"), str(NOW)]
    spenders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(spender.communicate(timeout=30)[0]) for spender in spenders) == 500


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO])
def test_a_disk_that_refuses_lets_nobody_in(used, trouble, monkeypatch, caplog):
    """It is said once until it works again, with the directory and the reason."""

    def refuse(*_):
        raise OSError(trouble, os.strerror(trouble))

    with monkeypatch.context() as patched, caplog.at_level(logging.DEBUG):
        patched.setattr(used_tokens.os, "open", refuse)
        assert [used.spend(TOKEN) for _ in range(3)] == [Use.UNKNOWN] * 3
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("used tokens cannot be kept: calls with a token of their own are refused ")
    assert os.strerror(trouble) in record.getMessage()
    assert used.spend(TOKEN) is Use.FIRST


def test_a_directory_that_is_gone_lets_nobody_in(used, tmp_path, caplog):
    """It is not made again: what it knew is gone with it."""
    (tmp_path / "run" / "used").rmdir()
    assert used.spend(TOKEN) is Use.UNKNOWN
    assert "No such file or directory" in caplog.text


def test_the_sweep_takes_what_has_expired(used, tmp_path):
    """And nothing before its leeway, and a minute for a clock that is set back; nor what is no file of ours."""
    for number in range(10):
        used.spend(CallToken(NOW + number * 10, bytes(12)))
    (tmp_path / "run" / "used" / "notes.txt").touch()
    assert used.sweep(NOW + 5.0 + SWEEP_SECONDS) == 0
    assert used.sweep(NOW + 5.0 + SWEEP_SECONDS + 45) == 5
    left = {file.name.partition("-")[0] for file in (tmp_path / "run" / "used").iterdir()}
    assert left == {"notes.txt", *(str(NOW + number * 10) for number in range(5, 10))}


def test_it_is_swept_while_the_daemon_runs(used, tmp_path, monkeypatch, caplog):
    """At once and again, whatever happens in between; trouble is a line in the log."""
    monkeypatch.setattr(used_tokens, "SWEEP_SECONDS", 0.01)
    directory = tmp_path / "run" / "used"

    async def until(condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)

    async def main():
        used.spend(CallToken(1, bytes(12)))
        sweeping = asyncio.create_task(used.keep_small())
        await until(lambda: not list(directory.iterdir()))
        directory.rename(tmp_path / "away")
        await until(lambda: "used tokens could not be swept" in caplog.text)
        (tmp_path / "away").rename(directory)
        used.spend(CallToken(2, bytes(12)))
        await until(lambda: not list(directory.iterdir()))
        sweeping.cancel()

    asyncio.run(main())


# --- Where it is


def test_without_secrets_there_is_nothing_to_remember():
    """And no directory is needed."""
    assert open_used_tokens(Config()) is None


def test_systemd_s_directory_is_the_default(tmp_path, monkeypatch):
    """RuntimeDirectory= names it; the key comes first; without both it does not start."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:{tmp_path / 'second'}")
    assert open_used_tokens(Config(token_secret_file="x")).spend(TOKEN) is Use.FIRST
    assert was_used(TOKEN, tmp_path / "used-tokens")
    other = open_used_tokens(Config(token_secret_file="x", used_token_dir=str(tmp_path / "other")))
    assert other.spend(TOKEN) is Use.FIRST
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    with pytest.raises(ConfigError, match=r"^used-token-dir: is needed with token-secret-file"):
        open_used_tokens(Config(token_secret_file="x"))


def test_a_directory_that_cannot_be_trusted(tmp_path):
    """A file, one that others may write to: the sentence names the key, the place and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^used-token-dir: .*file: File exists$"):
        UsedTokens(tmp_path / "file", 0.0)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(ConfigError, match=r"^used-token-dir: .*open: others may write to it$"):
        UsedTokens(tmp_path / "open", 0.0)
