"""Who may open a stream: every form in which a token can come, and every way in which it can be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.access import Access, Verdict, refuse_exposure
from smartflo_bridge.server.doors import MIN_TOKEN_CHARACTERS, open_doors

TOKEN = "0123456789abcdef"
OTHER = "fedcba9876543210"
ACCESS = Access("/vendor-stream", [TOKEN, OTHER])
OPEN = Access("/vendor-stream", [])

ADMITTED, UNAUTHORISED, NOT_FOUND = Verdict.ADMITTED, Verdict.UNAUTHORISED, Verdict.NOT_FOUND


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (f"/vendor-stream/{TOKEN}", ADMITTED),
        (f"/vendor-stream/{OTHER}", ADMITTED),
        (f"/vendor-stream?token={TOKEN}", ADMITTED),
        (f"/vendor-stream/?token={TOKEN}", ADMITTED),
        (f"/vendor-stream?x=1&token={TOKEN}&y=2", ADMITTED),
        (f"/vendor-stream/{TOKEN}?x=1", ADMITTED),
        (f"/vendor-stream/{TOKEN.replace('0', '%30')}", ADMITTED),
        (f"/vendor-stream?token={TOKEN.replace('0', '%30')}", ADMITTED),
        ("/vendor-stream", UNAUTHORISED),
        ("/vendor-stream/", UNAUTHORISED),
        ("/vendor-stream//", UNAUTHORISED),
        ("/vendor-stream?", UNAUTHORISED),
        ("/vendor-stream?token", UNAUTHORISED),
        ("/vendor-stream?token=", UNAUTHORISED),
        (f"/vendor-stream?Token={TOKEN}", UNAUTHORISED),
        (f"/vendor-stream?x={TOKEN}", UNAUTHORISED),
        (f"/vendor-stream?token=no&token={TOKEN}", UNAUTHORISED),
        (f"/vendor-stream/{TOKEN[:-1]}", UNAUTHORISED),
        (f"/vendor-stream/{TOKEN}x", UNAUTHORISED),
        (f"/vendor-stream/{TOKEN.upper()}", UNAUTHORISED),
        (f"/vendor-stream/{TOKEN}{OTHER}", UNAUTHORISED),
        (f"/vendor-stream//{TOKEN}", UNAUTHORISED),
        (f"/vendor-stream/x/{TOKEN}", UNAUTHORISED),
        (f"/vendor-stream/{TOKEN}%00", UNAUTHORISED),
        (f"/vendor-stream/%20{TOKEN}", UNAUTHORISED),
        (f"/vendor-stream?token=+{TOKEN}", UNAUTHORISED),
        ("/vendor-stream/" + "x" * 100_000, UNAUTHORISED),
        ("/vendor-stream?token=" + "x" * 100_000, UNAUTHORISED),
        ("/vendor-stream/%ff%fe", UNAUTHORISED),
        ("/vendor-stream?token=%ff%fe", UNAUTHORISED),
        ("/vendor-stream/t%C3%B6ken", UNAUTHORISED),
        ("/vendor-stream/%ed%a0%80", UNAUTHORISED),
        ("/vendor-stream/%", UNAUTHORISED),
        (f"/vendor-streams/{TOKEN}", NOT_FOUND),
        (f"//vendor-stream/{TOKEN}", NOT_FOUND),
        (f"/Vendor-Stream/{TOKEN}", NOT_FOUND),
        (f"/{TOKEN}", NOT_FOUND),
        (f"/vendor-stream;{TOKEN}", NOT_FOUND),
        (f"/other?token={TOKEN}", NOT_FOUND),
        (f"/vendor-stream/../{TOKEN}/..", UNAUTHORISED),
        (f"http://host/vendor-stream/{TOKEN}", NOT_FOUND),
        ("/", NOT_FOUND),
        ("", NOT_FOUND),
        ("*", NOT_FOUND),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, str) else value.name,
)
def test_a_request_is_judged(target, verdict):
    """By its path, and by a token in the path or the query: whole, in its place, and exactly."""
    assert ACCESS.judge(target) is verdict


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("/vendor-stream", ADMITTED),
        ("/vendor-stream/", ADMITTED),
        ("/vendor-stream?x=1", ADMITTED),
        ("/vendor-stream?token=whatever", ADMITTED),
        (f"/vendor-stream/{TOKEN}", NOT_FOUND),
        ("/vendor-streams", NOT_FOUND),
        ("/", NOT_FOUND),
    ],
)
def test_without_tokens_the_path_is_enough(target, verdict):
    """And there is nothing below it."""
    assert OPEN.is_open
    assert OPEN.judge(target) is verdict


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/b/"])
def test_any_path_can_be_the_stream_s(path):
    """The root and deeper ones work like the usual one, with and without a slash at the end."""
    access = Access(path, [TOKEN])
    stem = path.rstrip("/")
    assert access.judge(f"{stem}/{TOKEN}") is ADMITTED
    assert access.judge(f"{stem}/?token={TOKEN}") is ADMITTED
    assert access.judge(f"{stem}/") is UNAUTHORISED


@pytest.mark.parametrize(
    "token", ["abc+def/ghi=jklmnop", "tökentökentökentöken", "with a space inside", "percent%41percent"]
)
def test_any_token_can_be_used(token):
    """Of any characters, percent-encoded in the path and in the query."""
    access = Access("/vendor-stream", [token])
    encoded = "".join(f"%{byte:02x}" for byte in token.encode())
    assert access.judge(f"/vendor-stream/{encoded}") is ADMITTED
    assert access.judge(f"/vendor-stream?token={encoded}") is ADMITTED


def test_a_token_of_base64_needs_no_encoding():
    """`openssl rand -base64` makes tokens with + and /: they work as they are, in the path and in the query."""
    access = Access("/vendor-stream", ["abc+def/ghi=jklmnop"])
    assert access.judge("/vendor-stream/abc+def/ghi=jklmnop") is ADMITTED
    assert access.judge("/vendor-stream?token=abc+def/ghi=jklmnop") is ADMITTED


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
def test_no_target_is_an_error_or_admitted(target):
    """Whatever a stranger asks for, the answer is a verdict, and not the one that opens."""
    assert ACCESS.judge(target) is not ADMITTED
    assert ACCESS.judge(f"/vendor-stream/{target}") is UNAUTHORISED or target.startswith("?")
    assert ACCESS.judge(f"/vendor-stream?token={target}") is UNAUTHORISED


# --- The token file


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    """Let there be no systemd."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def opened(directory, content, name="tokens", encoding="utf-8"):
    """Write a token file, and open the access that it gives."""
    (directory / name).write_bytes(content.encode(encoding))
    (directory / name).chmod(0o600)
    return open_doors(Config(token_file=name), directory).access


def admits(access, token):
    """Say whether a token opens a stream."""
    return access.judge(f"/vendor-stream/{token}") is ADMITTED


def test_a_file_has_one_token_a_line(tmp_path):
    """Several are valid at once; comments, blanks and the ends of lines of other systems are no part of them."""
    access = opened(tmp_path, f"# ours\n\n{TOKEN}\n  {OTHER}  \r\n   # {'x' * 20}\n\n")
    assert not access.is_open
    assert admits(access, TOKEN)
    assert admits(access, OTHER)
    assert not admits(access, "x" * 20)
    assert not admits(access, "")


def test_a_byte_order_mark_is_no_part_of_a_token(tmp_path):
    """Some editors write one."""
    assert admits(opened(tmp_path, TOKEN, encoding="utf-8-sig"), TOKEN)


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "x" * (MIN_TOKEN_CHARACTERS - 1), f"{TOKEN}\nshort\n"])
def test_a_file_without_a_usable_token(tmp_path, content):
    """It is said what the file has to hold, and not what it holds."""
    with pytest.raises(ConfigError) as error:
        opened(tmp_path, content)
    assert str(error.value) == (
        f"token-file: {tmp_path / 'tokens'} holds one token a line, each of at least 16 characters"
    )


def test_a_token_may_be_as_short_as_allowed(tmp_path):
    """Sixteen characters are enough."""
    assert admits(opened(tmp_path, "x" * MIN_TOKEN_CHARACTERS), "x" * MIN_TOKEN_CHARACTERS)


def test_a_file_that_cannot_be_read(tmp_path):
    """The sentence names the key, the file and the reason."""
    with pytest.raises(ConfigError, match=r"^token-file: .*nowhere: No such file or directory$"):
        open_doors(Config(token_file="nowhere"), tmp_path)
    with pytest.raises(ConfigError, match=r"^token-file: .*: Is a directory$"):
        open_doors(Config(token_file="."), tmp_path)
    (tmp_path / "tokens").write_bytes(b"\xff" * 20)
    (tmp_path / "tokens").chmod(0o600)
    with pytest.raises(ConfigError, match=r"^token-file: .*tokens: not UTF-8$"):
        open_doors(Config(token_file="tokens"), tmp_path)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666])
def test_a_file_that_everybody_can_read_is_refused(tmp_path, mode):
    """Or change: it says what to do, and not what it holds. A group is the operator's to choose."""
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(ConfigError) as error:
        open_doors(Config(token_file="tokens"), tmp_path)
    assert str(error.value) == (
        f"token-file: {file}: every user of this machine may read or change it (mode {mode:o}): chmod 600"
    )
    file.chmod(0o640)
    assert admits(open_doors(Config(token_file="tokens"), tmp_path).access, TOKEN)


def test_credentials_come_first(tmp_path, monkeypatch):
    """A name is looked for among systemd's credentials, then beside the configuration; an absolute one is itself."""
    credentials, beside = tmp_path / "credentials", tmp_path / "etc"
    for directory, token in ((credentials, TOKEN), (beside, OTHER)):
        directory.mkdir()
        (directory / "tokens").write_text(token)
        (directory / "tokens").chmod(0o400)
    (beside / "only-here").write_text(OTHER)
    (beside / "only-here").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert admits(open_doors(Config(token_file="tokens"), beside).access, TOKEN)
    assert not admits(open_doors(Config(token_file="tokens"), beside).access, OTHER)
    assert admits(open_doors(Config(token_file="only-here"), beside).access, OTHER)
    assert admits(open_doors(Config(token_file=str(beside / "tokens")), beside).access, OTHER)


# --- Being reachable


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_at_home_no_token_is_needed(host):
    """Only this machine can reach the daemon."""
    refuse_exposure(OPEN, Config(host=host), host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.5", "192.168.1.1", "example.com", "LOCALHOST.example", "[::1]"]
)
def test_a_public_host_needs_a_token_or_a_word(host):
    """Without either the daemon does not start, and says what would make it."""
    config = Config(host=host)
    with pytest.raises(ConfigError) as error:
        refuse_exposure(OPEN, config, host)
    for part in (f"host: {host} ", "token-file", "allow-unauthenticated = true"):
        assert part in str(error.value)
    refuse_exposure(ACCESS, config, host)
    refuse_exposure(OPEN, Config(host=host, allow_unauthenticated=True), host)
