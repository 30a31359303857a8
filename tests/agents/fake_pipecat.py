"""A pipecat bot, played; each message, both ways, goes through pipecat's own serializer and RTVI models, in their own process.

It is unrealistic in that it speaks faster than real time, and in that it greets by itself, but not a caller who comes back.
A bot of pipecat itself is called in `integration/test_pipecat.py`.
"""

import atexit
import audioop
import functools
import json
import subprocess
from typing import Any

from agents.played import Played
from bots.running import ROOT, environment_of_pipecat
from smartflo_bridge.agents.message import Message


class Types:
    """Pipecat's own code, in a process that ends with ours."""

    def __init__(self) -> None:
        command = [environment_of_pipecat(), ROOT / "tests" / "bots" / "pipecat_types.py"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        atexit.register(self._end)
        self.make("interruption")  # its imports take seconds, which would stop the loop of the first call

    def take(self, message: Message) -> dict[str, Any]:
        """Return what a bot makes of a message of the bridge; fail if its types have no such member."""
        assert isinstance(message, bytes), "pipecat takes binary messages"
        found = self._ask(take=message.hex())
        assert not found.get("unknown"), found
        return found

    def make(self, kind: str, **order: Any) -> bytes:
        """Return a message of a bot."""
        return bytes.fromhex(self._ask(make=kind, **order)["made"])

    def rtvi(self, model: str, **fields: Any) -> bytes:
        """Return an RTVI message of a bot, by the name of its model."""
        return self.make(model, fields=fields)

    def _end(self) -> None:
        self._process.communicate()

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer


@functools.cache
def pipecat_types() -> Types:
    """Return pipecat's code; skips the test where it cannot be installed."""
    return Types()


class FakePipecat(Played):
    """One caller's bot.

    Attributes:
        told: what it may know of the call.
    """

    def __init__(self, speech: bytes, **more: Any) -> None:
        super().__init__(speech, **more)
        self.types = pipecat_types()
        self.told: dict[str, Any] = {}

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        found = self.types.take(message)
        match found["kind"]:
            case "audio":
                assert (found["rate"], found["channels"]) == (8000, 1)
                self.heard += audioop.lin2ulaw(bytes.fromhex(found["audio"]), 2)
            case "interruption":
                self._stop()
                self._say("interruption")
            case "message":
                self._take_rtvi(found["type"], found["data"])

    def _take_rtvi(self, name: str, data: dict[str, Any]) -> None:
        match name:
            case "client-message":
                assert data["t"] == "call"
                self.told = data["d"]
                if not self.told["resumed"]:
                    self.greetings += 1
                    self.respond()
            case "dtmf":
                self.texts += data["buttons"]
                self.respond()
            case _:
                assert name == "client-ready"
                self._say("BotReady", fields={"id": "client-ready", "data": {"version": data["version"]}})

    def _say(self, kind: str, **order: Any) -> None:
        self.connection.say(self.types.make(kind, **order))

    def begin_turn(self) -> None:
        """It begins to speak."""
        self._say("BotStartedSpeakingMessage", fields={})

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        self._say("audio", audio=audioop.ulaw2lin(ulaw, 2).hex(), rate=8000, channels=1)

    def end_turn(self) -> None:
        """It has finished."""
        self._say("BotStoppedSpeakingMessage", fields={})

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """A bot interrupts itself whenever the caller speaks; what is late comes before it says so."""
        for piece in late:
            self.speak(piece)
        self._say("UserStartedSpeakingMessage", fields={})
        self._say("interruption")
        self._say("BotInterruptedMessage", fields={})

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """A bot's functions are its own; when it hangs up, its server closes."""
        assert name == "hang_up"
        self.connection.lose(1001)

    def fail(self) -> None:
        """It does not like the token."""
        self.connection.lose(4003, "sk-12345")
