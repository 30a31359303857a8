"""What bridges calls to an agent, and the agent: how each is started."""

from dataclasses import dataclass

from speed.install import AGENT, CACHE, HERE, OTHERS, PIPECAT, WITH_NUMPY
from speed.load import FRAME_BYTES
from speed.servers import FRAME_BY_FRAME, Server, daemon

ANCHORS = HERE.parent / "bridging" / "anchors"
ECHO_AGENT = Server("agent", "agent", lambda port: [str(AGENT), str(port)])
DIRECT = "no bridge"


@dataclass(frozen=True)
class Bridge:
    """A program that bridges, and to which service.

    Attributes:
        name: in the tables.
        server: what runs.
        hears: what the agent is given, in words.
        is_exact: what comes back is byte for byte what was sent; False where it was at another rate meanwhile.
    """

    name: str
    server: Server
    hears: str
    is_exact: bool = True


def leg(agent_port: int, packets: dict[str, object], **table: object) -> Bridge:
    """Return the daemon with a leg. `packets` are the keys that say how long its packets are."""
    url = f"ws://127.0.0.1:{agent_port}/{table['kind']}"
    encoding, _, rate = str(table.get("format", "mulaw;8000")).partition(";")
    name = f"ours: {table['kind']}" + (f", {table['format']}" if "format" in table else "")
    server = daemon({**packets, "handler": None, "agent": {"url": url, **table}}, name, WITH_NUMPY)
    hears = f"PCM16 at {rate} Hz" if encoding == "pcm16" else "mu-law"
    return Bridge(name, server, hears, is_exact=rate == "8000")


def legs(agent_port: int, payload_bytes: int) -> list[Bridge]:
    """Return the daemon with each kind of leg that differs in its work: three that pass audio on, three that transcode.

    Where the caller sends frames of 20 ms it answers each with one, as all that it is compared with do; where the platform's
    100 ms, it is configured as it comes.
    """
    key = CACHE / "openai.key"
    key.write_text("none\n")
    key.chmod(0o600)
    packets = FRAME_BY_FRAME if payload_bytes == FRAME_BYTES else {}
    tables: list[dict[str, object]] = [
        {"kind": "twilio"},
        {"kind": "raw", "format": "mulaw;8000"},
        {"kind": "openai", "key-file": str(key)},
        {"kind": "raw", "format": "pcm16;8000"},
        {"kind": "raw", "format": "pcm16;16000"},
        {"kind": "raw", "format": "pcm16;24000"},
    ]
    return [leg(agent_port, packets, **table) for table in tables]


def anchors(agent_port: int) -> list[Bridge]:
    """Return what does the same work otherwise."""

    def bare(port: int) -> list[str]:
        return [str(OTHERS), str(ANCHORS / "bare_bridge.py"), str(port), f"ws://127.0.0.1:{agent_port}/twilio"]

    def pipecat(port: int, path: str, rate_hz: int) -> list[str]:
        url = f"ws://127.0.0.1:{agent_port}/{path}"
        return [str(PIPECAT), "-W", "ignore", str(ANCHORS / "pipecat_bridge.py"), str(port), url, str(rate_hz)]

    mulaw = Server("pipecat: twilio", "pipecat", lambda port: pipecat(port, "twilio", 8000))
    pcm = Server("pipecat: pcm16;16000", "pipecat", lambda port: pipecat(port, "raw", 16000))
    return [
        Bridge("bare", Server("bare", "others", bare), "what came"),
        Bridge(mulaw.name, mulaw, "mu-law"),
        Bridge(pcm.name, pcm, "PCM16 at 16000 Hz", is_exact=False),
    ]
