"""The words for what is wrong with a single message. Pure."""

from smartflo_bridge.core.audio import FRAME_BYTES
from smartflo_bridge.simulator.arrivals import Arrival
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.rules import Fault, Rule

_FIXED = {
    Fault.EMPTY_PAYLOAD: "the payload is empty",
    Fault.NOT_BASE64: "the payload is not strict base64",
    Fault.BINARY_MESSAGE: "a binary message: the library was given bytes where it wants text",
    Fault.BUFFER_OVERFLOW: "more is buffered than the simulator keeps",
}


def explain(fault: Fault, arrival: Arrival) -> Finding:
    """Say what exactly is wrong with a message."""
    return Finding(Rule(fault.value), _FIXED.get(fault) or _words(fault, arrival))


def _words(fault: Fault, arrival: Arrival) -> str:
    match fault:
        case Fault.MISALIGNED_PAYLOAD:
            frames, rest = divmod(len(arrival.ulaw), FRAME_BYTES)
            return f"the payload has {len(arrival.ulaw)} bytes: {frames} x {FRAME_BYTES}, and {rest} more"
        case Fault.CHUNK_OUT_OF_ORDER:
            return "media has no chunk number" if arrival.chunk is None else f"chunk {arrival.chunk} is not the next"
        case Fault.UNKNOWN_STREAM_SID:
            return f"streamSid is {arrival.stream_sid[:40]!r}" if arrival.stream_sid else "there is no streamSid"
        case Fault.UNKNOWN_EVENT:
            return f"there is no event {(arrival.event or '')[:40]!r}"
        case Fault.MALFORMED_MESSAGE:
            return f"{arrival.event} lacks its members" if arrival.event else "not a JSON object with an event"
        case _:
            when = "before start" if fault is Fault.SENT_BEFORE_START else "after stop"
            return f"{arrival.event or 'a message'} was sent {when}"
