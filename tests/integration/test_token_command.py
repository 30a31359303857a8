"""`smartflo-bridge token`: makes static tokens and secrets, signs tokens, and says what is wrong with one."""

import asyncio
import re
from pathlib import Path

import pytest

from integration.daemon import run_program, write_config, write_secret
from integration.test_gate import ask, talk
from integration.test_resolver import OLD_SECRET, PUBLIC, SECRET, resolving


def token(folder: Path, *arguments: object, given: str | None = None) -> tuple[int, str]:
    """Run `smartflo-bridge token` beside a daemon's files; return its exit code and the one line that it says."""
    file = write_config(
        folder,
        token_secret_file="token.secret",
        token_file="stream.token",
        public_url=PUBLIC,
        used_token_dir=str(folder / "used"),
        token_leeway_seconds=0,
    )
    run = run_program("token", "--config", file, *arguments, given=given)
    assert (run.stdout + run.stderr).count("\n") == 1
    return run.returncode, (run.stdout or run.stderr).strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a static token and secrets."""
    write_secret(tmp_path / "stream.token", "static-static-static\nanother-another/%\n")
    write_secret(tmp_path / "token.secret", f"{SECRET}\n{OLD_SECRET}\n")
    return tmp_path


def test_a_made_token_is_long_enough_for_both_uses(folder: Path) -> None:
    """It can stand in a token-file and in a token-secret-file; the next one is another."""
    made = {token(folder) for _ in range(3)}
    assert len(made) == 3
    for code, text in made:
        assert code == 0
        assert re.fullmatch(r"[\w-]{43}", text)


def test_a_signed_token_opens_the_stream_and_is_checked(tmp_path: Path) -> None:
    """Before and after its use, as a URL, as a target, and by itself; checking does not use it up."""
    with resolving(tmp_path) as daemon:
        write_secret(tmp_path / "stream.token", "static-static-static\n")
        code, url = token(tmp_path, "--sign", "--seconds", 60)
        assert code == 0
        rest = url.removeprefix(f"{PUBLIC}/vendor-stream")
        for text in (
            url,
            f"/vendor-stream{rest}",
            rest[1:],
            f"wss://x/other{rest}",
            f"/vendor-stream?token={rest[1:]}",
        ):
            code, said = token(tmp_path, "--check", text)
            assert (code, said[:32]) == (0, "valid: for any call, valid until"), said
            assert said.endswith("; not used yet on this machine")
        asyncio.run(talk(daemon, rest))
        assert token(tmp_path, "--check", "-", given=f"{url}\n")[1].startswith(
            "not valid: it was used before; for any "
        )
        assert ask(daemon.port, f"/vendor-stream{rest}")[0] == 401


def test_what_is_wrong_with_a_token(folder: Path) -> None:
    """In words, without the token, and with exit code 1."""
    _, url = token(folder, "--sign", "--call-id", "c 1", "--seconds", 1)
    for text, words in (
        ("static-static-static", "valid: a static token, number 1 of 2 in token-file"),
        (f"{PUBLIC}/vendor-stream/another-another/%25", "valid: a static token, number 2 of 2 in token-file"),
        (
            "nonsense",
            "not valid: it is not in token-file, and it does not have the form of a token that this version signs",
        ),
        ("", "not valid: it is not in token-file, and it does not have the form of a token that this version signs"),
        (f"{url[:-9]}{'x' if url[-9] != 'x' else 'y'}{url[-8:]}", "not valid: none of the secrets signed it"),
    ):
        code, said = token(folder, "--check", text)
        assert said.startswith(words)
        assert code == (0 if words.startswith("valid") else 1)
        assert "nonsense" not in said
    while (said := token(folder, "--check", url)[1]).startswith("valid: "):
        assert said.startswith("valid: for the call 'c 1' alone, valid until 20")
    assert re.fullmatch(r"not valid: it has expired, valid until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d+ s ago", said)
    write_secret(folder / "token.secret", "n" * 40)
    assert token(folder, "--check", url) == (1, "not valid: none of the secrets signed it")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sign", "--check", "x"], "--sign and --check do not go together"),
        (["--call-id", "x"], "--call-id and --seconds go with --sign"),
        (["--check", "x", "--seconds", "5"], "--call-id and --seconds go with --sign"),
        (["--sign", "--call-id", ""], "--call-id: a call's id has 1 to 128 bytes"),
        (["--sign", "--call-id", "x" * 129], "--call-id: a call's id has 1 to 128 bytes"),
    ],
)
def test_options_that_do_not_go_together(folder: Path, arguments: list[str], words: str) -> None:
    """One line, and exit code 2."""
    code, said = token(folder, *arguments)
    assert code == 2
    assert said.startswith(f"smartflo-bridge: {words}")
