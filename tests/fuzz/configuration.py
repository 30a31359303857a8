"""Fuzz target: a configuration file, from its bytes to the `Config`, or to the one sentence that says what is wrong."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from corpus.case import Mistake, Wrapped, load, text_of
from smartflo_bridge.agents.kinds import KINDS
from smartflo_bridge.config import Config, load_config
from smartflo_bridge.core.errors import ConfigError

MAX_BYTES = 2048
SHIPPED = Path(__file__).parents[2] / "smartflo.toml"
KEYS = [
    name.replace("_", "-")
    for struct in (Config, *(kind.settings for kind in KINDS.values()))
    for name in struct.__struct_fields__
]
WORDS = [
    *(f"{key} = " for key in sorted({*KEYS, "kind"})),
    *(f'kind = "{kind}"\n' for kind in KINDS),
    *("[agent]\n", "[agent.fallback-agent]\n", "[[agent]]", "true", "false", "1979-05-27", "nan", "-inf", "0x7f"),
    *('"""', "'''", "\\u0000", "\\n", "{ a = 1 }", '["10.0.0.0/8"]', "1e400", "99999999999999999999"),
]

FILE = "smartflo.toml"
_PLACE = re.compile(r"(?::(\d+))?: (.*)", re.DOTALL)


def seeds() -> Iterator[bytes]:
    """Yield the shipped file line by line, an agent of each kind, and the corpus' mistakes."""
    lines = [line for line in SHIPPED.read_text().splitlines() if line and not line.startswith("#")]
    yield from (line.encode() for line in lines)
    for kind in KINDS:
        yield f'max-calls = 5\n[agent]\nkind = "{kind}"\nurl = "ws://127.0.0.1:9000"\nanswer = "a:b"\n'.encode()
        yield f'[agent]\nkind = "raw"\nurl = "ws://x"\n[agent.fallback-agent]\nkind = "{kind}"\n'.encode()
    mistakes: list[Mistake] = load("J", Mistake)
    for mistake in mistakes:
        message = mistake.text
        if not isinstance(message, Wrapped):
            yield text_of(message).encode()
        else:
            yield text_of(message.binary or message.latin or message.raw or "").encode("latin-1")


class Written:
    """A file that is only in memory: opening one takes longer than all the rest."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __str__(self) -> str:
        return FILE

    def read_bytes(self) -> bytes:
        return self._content


def check(data: bytes) -> None:
    """Load it. Accepted: all is in its struct as it was written. Refused: one line, with the place of the mistake."""
    try:
        config = load_config(cast("Path", Written(data)))
    except ConfigError as error:
        _check_sentence(str(error), data)
    else:
        _check_values(config, tomllib.loads(data.decode()))


def _check_sentence(sentence: str, data: bytes) -> None:
    assert sentence.startswith(FILE), sentence
    assert len(sentence.splitlines()) == 1, repr(sentence)
    place = _PLACE.fullmatch(sentence.removeprefix(FILE))
    assert place is not None, sentence
    line, said = place.groups()
    assert said, sentence
    if line is not None:
        name = said.split(": ")[0]
        key = name.rpartition(".")[2]
        assert name.endswith(("'", '"')) or key in data.decode().splitlines()[int(line) - 1], sentence


def _check_values(config: Config, table: dict[str, object]) -> None:
    for key, value in table.items():
        if key != "agent":
            assert getattr(config, key.replace("-", "_")) == value, key
    config.session_settings()
