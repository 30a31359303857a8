"""What never gets into the log, at the most talkative level: numbers, keys, tokens, audio, nor anybody else's lines.

Every daemon's log is checked when it stops (`daemon.check_privacy`); here one is given secrets wherever there is room.
"""

import asyncio
import base64
import json
import re
import shutil
from pathlib import Path

from integration.daemon import Daemon, pairs, write_secret
from integration.handlers.answers import speech
from integration.test_gate import UPGRADE, ask, talk
from integration.wire import dialled

TOKEN = "privacy-token-7d1f0a"
SECRETS = [
    "919900112233",
    "918800445566",
    "Aadhaar-1234",
    "parameter-secret",
    "#7#9#5",
    "digit-too-long-80801",
    "mark-secret",
    "reason-secret",
    "event-secret",
    "json-secret",
    "tag-secret",
    "bad-base64-secret",
    "close-secret",
    "query-secret",
    "header-secret",
]
MALFORMED = [
    "{json-secret",
    '["json-secret"]',
    '{"event":{"json-secret":1}}',
    '{"event":"start","start":"tag-secret"}',
    '{"event":"start","sequenceNumber":"json-secret-that-is-longer-than-any-number","streamSid":"x"}',
    '{"event":"media","media":{"payload":"bad-base64-secret!"}}',
    f'{{"event":"{"tag-secret" * 20}"}}',
    b'{"event":"stop","stop":{"reason":"reason-secret\xff"}}',
]
FORGED = "2031-01-01 00:00:00,000 ERROR   forged"


def test_nothing_private_is_logged(tmp_path: Path) -> None:
    """Neither from the URL, nor from messages that are well formed, malformed, unknown or out of order."""
    voice = speech("private", 0.1)

    async def main(daemon: Daemon) -> None:
        async with dialled(f"{daemon.url}/{TOKEN}?more=query-secret") as platform:
            send = platform.connection.send
            await send('{"event":"tag-secret"}')
            await platform.press("#7#9#5")
            details = {"streamSid": platform.sid, "from": "919900112233", "to": "918800445566", "callSid": "c1"}
            parameters = {"Aadhaar-1234": "parameter-secret", "role": "fail"}
            await platform.say(
                "start", start=details | {"customParameters": parameters, "mediaFormat": {"encoding": "x"}}
            )
            await platform.say("start", streamSid="another", start={"streamSid": "json-secret", "from": "919900112233"})
            await platform.speak(voice)
            await platform.say("media", media={"payload": "bad-base64-secret!"})
            await platform.say("mark", mark={"name": "mark-secret"})
            await platform.say("dtmf", dtmf={"digit": "digit-too-long-80801"})
            await platform.say("event-secret", more="json-secret")
            for text in MALFORMED:
                await send(text)
            await send(b'{"event":"media","media":{"payload":"' + base64.b64encode(voice) + b'"')
            await platform.press("#7#9#5")  # at which the handler fails
            assert (await platform.closed())[0] == 1011
        async with dialled(f"{daemon.url}?token={TOKEN}") as platform:
            await platform.start(role="speak", seed="x", seconds="0.2")
            await platform.audio(1600)
            await platform.say("stop", stop={"reason": "reason-secret"})
            assert await platform.closed() == (1000, "")
        async with dialled(f"{daemon.url}?token={TOKEN}") as platform:
            await platform.start()
            await daemon.log.seen("call started", 3)
            await platform.connection.close(4000, "close-secret")
        await daemon.log.seen("call ended", 3)
        for number, text in enumerate(MALFORMED):  # of each kind, the first is told in each call
            async with dialled(f"{daemon.url}?token={TOKEN}") as platform:
                await platform.connection.send(text)
                await daemon.log.seen("kind=(malformed|unknown_event)", 3 + number)

    write_secret(tmp_path / "stream.token", f"{TOKEN}\n")
    with Daemon(
        tmp_path,
        handler="answers:answer",
        token_file="stream.token",
        capture_dir=str(tmp_path / "captures"),
        secrets=[*SECRETS, TOKEN, base64.b64encode(voice).decode()[:40]],
        expects=["^handler failed "],
        tracebacks=1,
    ) as daemon:
        asyncio.run(main(daemon))
        command = Path(f"/proc/{daemon.pid}/cmdline").read_text() + Path(f"/proc/{daemon.pid}/environ").read_text()
        assert TOKEN not in command


def test_nothing_private_of_the_dynamic_endpoint_is_logged(tmp_path: Path) -> None:
    """Neither what the platform asks with, nor a token that was given out, used, used again or is wrong, nor a forged header."""
    secrets = ["asking-secret-asking", "s" * 40, "919900112233", "query-secret", "body-secret", "header-secret"]
    given_out = []

    def resolve(daemon: Daemon, method: str, query: str, body: str) -> str:
        headers = f"Content-Length: {len(body)}\r\nX-Forwarded-For: header-secret\r\n"
        answer = ask(daemon.port, f"/resolve/asking-secret-asking{query}", headers, method, body)[1]
        return str(json.loads(answer.partition("\r\n\r\n")[2])["wss_url"]).rpartition("/")[2]

    def main(daemon: Daemon) -> None:
        for method, query, body in (
            ("GET", "?callId=query-secret&fromNumber=919900112233", ""),
            ("POST", "", '{"callId":"body-secret","fromNumber":"919900112233"}'),
            ("POST", "", "callId=body-secret&fromNumber=919900112233"),
        ):
            given_out.append(resolve(daemon, method, query, body))
            asyncio.run(talk(daemon, f"/{given_out[-1]}"))
            forged = f"{UPGRADE}X-Forwarded-For: header-secret, {FORGED}\r\n"
            assert ask(daemon.port, f"/vendor-stream/{given_out[-1]}", forged)[0] == 401
            assert ask(daemon.port, f"/vendor-stream?token={given_out[-1][:-1]}")[0] == 401
        assert ask(daemon.port, "/resolve/header-secret", "Content-Length: x\r\n", "POST", "body-secret")[0] == 400
        shutil.rmtree(tmp_path / "used")
        given_out.append(resolve(daemon, "GET", "", ""))
        assert ask(daemon.port, f"/vendor-stream/{given_out[-1]}")[0] == 503

    write_secret(tmp_path / "asking", "asking-secret-asking")
    write_secret(tmp_path / "secrets", "s" * 40)
    with Daemon(
        tmp_path,
        handler="answers:answer",
        resolver_path="/resolve",
        resolver_token_file="asking",
        resolver_call_id="callId",
        call_id_mismatch="warn",
        token_secret_file="secrets",
        used_token_dir=str(tmp_path / "used"),
        public_url="wss://voice.example.com",
        trusted_proxies=["127.0.0.1"],
        secrets=secrets,
        expects=["^used tokens cannot be kept", "^not the call of its token ", "^a token for any call "],
    ) as daemon:
        main(daemon)
        assert len(daemon.log.find("stream refused client=127.0.0.1 why=token")) == 6
        said = "\n".join(daemon.log.all())
    assert len(set(given_out)) == 4
    for token in given_out:
        assert token not in said
        assert token[8:24] not in said


def test_nobody_can_forge_a_line(tmp_path: Path) -> None:
    """Ids come from outside: line ends and a terminal's escapes in them are written as JSON writes them."""
    sid = f"MZ\r\n{FORGED}\x1b[2J\u202e\u2028"

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            platform.sid = sid
            await platform.say("start", start={"callSid": f"c\n{FORGED}", "direction": f"in\n{FORGED}"})
            await daemon.log.seen("call started")
            await platform.stop()
            assert await platform.closed() == (1000, "")
            await daemon.log.seen("call ended")

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        asyncio.run(main(daemon))
    (ended,) = daemon.log.find(" call ended ")
    assert pairs(ended[1])["stream_sid"] == sid
    assert not [text for text in daemon.log.all() if text.startswith("2031-")]
    assert all(re.fullmatch(r"[ -~]*", text) for text in daemon.log.all())
