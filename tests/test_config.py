"""The configuration: smartflo.toml and `Config` say the same, and a mistake is one sentence that helps."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from smartflo_bridge.agents.raw import RawSettings
from smartflo_bridge.config import MAX_FILE_BYTES, Config, ConfigKeyError, config_from, load_config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.settings import HangUpWay, SendConnected, SessionSettings

SHIPPED = Path(__file__).parent.parent / "smartflo.toml"
KEYS = [name.replace("_", "-") for name in Config.__struct_fields__]


@pytest.fixture
def file(tmp_path):
    """Name a configuration."""
    return tmp_path / "smartflo.toml"


def mistake(file, text):
    """Return the sentence about a configuration, without the file's name."""
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(file))
    return sentence.removeprefix(str(file))


# --- The shipped file


def test_the_shipped_file_has_every_key_with_its_default():
    """Nothing can be configured that does not stand in it, and it stands there as it is if one writes nothing."""
    table = tomllib.loads(SHIPPED.read_text())
    assert sorted(table) == sorted(set(KEYS) - {"agent"})  # which is a table, with keys for each kind
    default = Config()
    for key, value in table.items():
        known = getattr(default, key.replace("-", "_"))
        assert value == known, key
        assert type(value) is (str if isinstance(known, str) else type(known)), key
    assert load_config(SHIPPED) == default


def test_every_key_of_the_shipped_file_is_explained():
    """By a comment on its line or right above it; seconds and bytes have their unit in their name."""
    lines = SHIPPED.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z-]+ = ", line) and "#" not in line:
            above = lines[number - 1]
            assert above.startswith(("#", "host", "port", "health")) or line.startswith(
                ("path", "health-host", "host")
            ), line
    for key, value in tomllib.loads(SHIPPED.read_text()).items():
        if isinstance(value, float):
            assert key.endswith(("-seconds", "-megabytes", "-days", "-per-second", "-speed")), key


def test_an_empty_file_is_all_defaults(file):
    """Every key has one."""
    file.write_text("")
    assert load_config(file) == Config()


def test_the_session_s_part():
    """It has the values of the whole, and is what a capture's header holds."""
    config = Config(lead_seconds=0.5, hang_up=HangUpWay.END, port=1)
    settings = config.session_settings()
    assert type(settings) is SessionSettings
    assert (settings.lead_seconds, settings.hang_up) == (0.5, HangUpWay.END)
    for name in SessionSettings.__struct_fields__:
        assert getattr(settings, name) == getattr(config, name)


def test_values_arrive(file):
    """Each kind of value: text, choice, whole number, number, yes or no; a whole number may stand for a number."""
    file.write_text(
        'handler = "a:b"\nsend-connected = "always"\nport = 0\nidle-seconds = 90\nlead-seconds = 0.4\n'
        'allow-unauthenticated = true\n"capture-dir" = "/var/captures"\n'
    )
    config = load_config(file)
    assert config.handler == "a:b"
    assert config.send_connected is SendConnected.ALWAYS
    assert config.port == 0
    assert config.idle_seconds == 90.0
    assert isinstance(config.idle_seconds, float)
    assert config.lead_seconds == 0.4
    assert config.allow_unauthenticated is True
    assert config.capture_dir == "/var/captures"


# --- Unknown keys


def test_an_unknown_key_is_refused_with_a_suggestion(file):
    """With the line it stands on."""
    assert mistake(file, "\n\nidle-secnds = 5\n") == ":3: idle-secnds: no such key; did you mean idle-seconds?"
    assert mistake(file, "max_calls = 5") == ":1: max_calls: no such key; did you mean max-calls?"
    assert mistake(file, '"a\\nb" = 5').startswith(": 'a\\nb': no such key; the keys are agent, ")
    assert mistake(file, "  'Port' = 5") == ":1: Port: no such key; did you mean port?"


def test_an_unknown_key_unlike_any_other_gets_the_list(file):
    """All keys are named."""
    sentence = mistake(file, "# x\nzzzzzzz = 5")
    assert sentence.startswith(":2: zzzzzzz: no such key; the keys are ")
    assert sentence.split("the keys are ")[1].split(", ") == sorted(KEYS)


@pytest.mark.parametrize("text", ["[server]\nport = 1", "server.port = 1", "[[server]]\nport = 1"])
def test_there_are_no_sections(file, text):
    """A section is an unknown key like another."""
    assert mistake(file, text).startswith(":1: server: no such key; ")


# --- Wrong values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('port = "80"', "port: takes a whole number at least 0 and at most 65535, not '80'"),
        ("port = 65536", "port: takes a whole number at least 0 and at most 65535, not 65536"),
        ("port = -1", "port: takes a whole number at least 0 and at most 65535, not -1"),
        ("port = 80.5", "port: takes a whole number at least 0 and at most 65535, not 80.5"),
        ("port = true", "port: takes a whole number at least 0 and at most 65535, not True"),
        ("port = 99999999999999999999", "port: takes a whole number at least 0 and at most 65535, not 9999999999"),
        ("health-port = 70000", "health-port: takes a whole number at least 0 and at most 65535, not 70000"),
        ("max-calls = 0", "max-calls: takes a whole number at least 1 and at most 100000, not 0"),
        ("bad-message-budget = -1", "bad-message-budget: takes a whole number at least 0, not -1"),
        ("idle-seconds = 0", "idle-seconds: takes a number above 0 and at most 86400, not 0"),
        ("idle-seconds = nan", "idle-seconds: takes a number above 0 and at most 86400, not nan"),
        ("idle-seconds = inf", "idle-seconds: takes a number above 0 and at most 86400, not inf"),
        ('idle-seconds = "5"', "idle-seconds: takes a number above 0 and at most 86400, not '5'"),
        ("lead-seconds = 0.01", "lead-seconds: takes a number at least 0.04 and at most 2, not 0.01"),
        ("packet-seconds = 0.01", "packet-seconds: takes a number at least 0.02 and at most 1, not 0.01"),
        ("queue-seconds = 0.1", "queue-seconds: takes a number at least 0.2 and at most 3600, not 0.1"),
        ("inbound-seconds = 0", "inbound-seconds: takes a number at least 0.2 and at most 60, not 0"),
        ("recent-audio-seconds = -1", "recent-audio-seconds: takes a number at least 0 and at most 60, not -1"),
        ("lame-duck-seconds = 601", "lame-duck-seconds: takes a number at least 0 and at most 600, not 601"),
        ('handler = ""', "handler: takes text that is not empty, not ''"),
        ("handler = 5", "handler: takes text that is not empty, not 5"),
        ('host = ""', "host: takes text that is not empty, not ''"),
        ("capture-dir = 1979-05-27", "capture-dir: takes text, not datetime.date(1979, 5, 27)"),
        ("trusted-proxies = '10.0.0.0/8'", 'trusted-proxies: takes a list of text: ["...", "..."], not \'10.0.0.0/8\''),
        ("trusted-proxies = [1]", 'trusted-proxies: takes a list of text: ["...", "..."], not [1]'),
        ("token-file = []", "token-file: takes text, not []"),
        ('path = "stream"', "path: takes text that matches ^/"),
        ('path = "/a b"', "path: takes text that matches ^/"),
        ('path = "/a?b"', "path: takes text that matches ^/"),
        ('path = "/a\\n"', "path: takes text that matches ^/"),
        ('allow-unauthenticated = "yes"', "allow-unauthenticated: takes true or false, not 'yes'"),
        ("allow-unauthenticated = 1", "allow-unauthenticated: takes true or false, not 1"),
        ("refuse-with = 401", 'refuse-with: takes "1008" or "401", not 401'),
        ('send-connected = "yes"', 'send-connected: takes "auto" or "always" or "never", not \'yes\''),
        ('hang-up = "END"', 'hang-up: takes "close" or "end", not \'END\''),
        ('log-level = "INFO"', 'log-level: takes "debug" or "error" or "info" or "warning", not \'INFO\''),
        ("[handler]\na = 1", "handler: takes text that is not empty, not {'a': 1}"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(file, text, sentence):
    """The key, its line, what it takes, and what it was given."""
    assert mistake(file, f"# first\n{text}").startswith(f":2: {sentence}")


def test_every_key_refuses_what_is_of_another_kind(file):
    """No key takes a list, and each says so with its own name and in words."""
    for key in KEYS:
        sentence = mistake(file, f"{key} = [1]")
        assert sentence.startswith(f":1: {key}: takes ")
        assert "another value" not in sentence
        assert sentence.endswith(", not [1]")


def test_a_long_value_is_not_repeated_whole(file):
    """The sentence stays one that can be read."""
    assert len(mistake(file, f'port = "{"x" * 5000}"')) < 200


def test_a_packet_above_half_of_the_lead(file):
    """Two keys that do not go together: both are named with their values, and a line where one of them stands."""
    for text, line in (("packet-seconds = 0.2", 1), ("lead-seconds = 0.3\npacket-seconds = 0.151", 2)):
        sentence = mistake(file, text)
        assert sentence.startswith(f":{line}: packet-seconds: ")
        assert "at most half of lead-seconds" in sentence
    assert "(0.1)" in mistake(file, "lead-seconds = 0.1")
    file.write_text("lead-seconds = 0.1\npacket-seconds = 0.04")
    assert load_config(file).packet_seconds == 0.04


def test_the_first_mistake_is_the_one_that_is_told(file):
    """One at a time, in the order of the file."""
    assert mistake(file, "port = 70000\nzzz = 1").startswith(":1: port: ")


def test_a_table_is_judged_as_the_file_is():
    """`config_from` is what the commands' options and the tests use."""
    assert config_from({"port": 5}).port == 5
    with pytest.raises(ConfigKeyError) as error:
        config_from({"prt": 5})
    assert error.value.key == "prt"
    with pytest.raises(AttributeError):
        Config().port = 5
    assert msgspec.structs.replace(Config(), port=5).port == 5


# --- What is no configuration


@pytest.mark.parametrize(
    "content",
    [
        b"port 8000",
        b"port = ",
        b"port = 8000\nport = 8000",
        b"\xff\xfe",
        b'handler = "\xe9"',
        b"x = 2021-02-30",
        b"\x00",
        b"port = " + b"9" * 5000,
        b"x = " + b"[" * 20_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_toml(file, content):
    """It is said to be none, in one sentence, whatever it is."""
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert str(error.value).startswith(f"{file}: not TOML: ")
    assert len(str(error.value)) < 400


def test_a_file_that_is_not_there(file):
    """The operating system's reason, and no traceback."""
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert str(error.value) == f"{file}: No such file or directory"


def test_a_directory(tmp_path):
    """The same."""
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert str(error.value) == f"{tmp_path}: Is a directory"


def test_a_file_that_is_too_large(file):
    """It is another file, and is not parsed."""
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert str(error.value) == f"{file}: {MAX_FILE_BYTES + 1} bytes; a configuration has at most {MAX_FILE_BYTES}"
    file.write_bytes(b"#" * MAX_FILE_BYTES)
    assert load_config(file) == Config()


# --- An agent


RAW = '[agent]\nkind = "raw"\nurl = "ws://localhost:9/"\n'


def test_an_agent_takes_the_keys_of_its_kind(file):
    """They arrive in the struct of the kind, which no other kind has."""
    file.write_text(f'port = 5\n{RAW}format = "pcm16;16000"\nparameters = ["order"]\nreconnect-seconds = 3')
    agent = load_config(file).agent
    assert isinstance(agent, RawSettings)
    assert (agent.format, agent.parameters, agent.reconnect_seconds) == ("pcm16;16000", ["order"], 3.0)
    assert load_config(file).port == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("agent = 5", ":1: agent: takes a table, [agent], not 5"),
        (
            "[agent]",
            ": agent.kind: is one of twilio, raw, openai, gemini, elevenlabs, deepgram, pipecat, ultravox, sarvam, not None",
        ),
        (
            '[agent]\nkind = "alexa"',
            ":2: agent.kind: is one of twilio, raw, openai, gemini, elevenlabs, deepgram, pipecat, ultravox, sarvam, not 'alexa'",
        ),
        ('[agent]\nkind = "raw"', ": agent.url: is missing; the keys are "),
        (RAW + "urll = 5", ":4: agent.urll: no such key; did you mean url?"),
        (RAW + 'voice = "marin"', ":4: agent.voice: no such key; the keys are "),
        (RAW + "parameters = 5", ":4: agent.parameters: takes a list of text: "),
        (RAW + 'fallback = "music"', ':4: agent.fallback: takes "agent" or "apology" or "echo" or "ivr" or "silence"'),
        (RAW + "fallback-agent = 5", ":4: agent.fallback-agent: takes a table, not 5"),
        (RAW + '[agent.fallback-agent]\nkind = "x"', ":5: agent.fallback-agent.kind: is one of "),
        ('[agent]\nkind = "raw"\nurl = "http://x/"', ":3: agent.url: takes text that matches ^wss?://"),
        ('handler = "ivr"\n' + RAW, ":1: handler: an [agent] answers the calls: leave one of the two out"),
    ],
)
def test_a_mistake_in_an_agent_is_one_sentence(file, text, sentence):
    """With the table, the key, its line, and what is allowed."""
    assert mistake(file, text).startswith(sentence)
