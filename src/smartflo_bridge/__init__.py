"""smartflo-bridge: connects phone calls on Tata Tele Smartflo to code and to voice agents.

What a handler's author needs is importable from here; docs/quick-reference.md shows each in use.
"""

from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.rates import rate_converter
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.calls.router import Router
from smartflo_bridge.calls.utterance import Utterance
from smartflo_bridge.core.audio import (
    decode_mulaw_from_base64,
    encode_pcm16_to_mulaw_base64,
    pcm_to_ulaw,
    silence,
    ulaw_to_pcm,
)
from smartflo_bridge.core.effects import InterruptOutcome, MarkOutcome, MarkResult, Termination
from smartflo_bridge.core.errors import AgentError, BridgeError, CallEnded, ConfigError, HandlerError, ProtocolError
from smartflo_bridge.core.incoming import (
    ConnectedEvent,
    DTMFEvent,
    MarkEvent,
    MediaEvent,
    StartEvent,
    StopEvent,
    UnknownEvent,
    parse_incoming_event,
)
from smartflo_bridge.core.outgoing import EventBuilder, encode_outgoing_event
from smartflo_bridge.handlers.speech import speech_handler
from smartflo_bridge.version import __version__

__all__ = [
    "AgentError",
    "BridgeError",
    "Call",
    "CallEnded",
    "ConfigError",
    "ConnectedEvent",
    "DTMFEvent",
    "EventBuilder",
    "HandlerError",
    "InterruptOutcome",
    "MarkEvent",
    "MarkOutcome",
    "MarkResult",
    "MediaEvent",
    "ProtocolError",
    "Registry",
    "Router",
    "StartEvent",
    "StopEvent",
    "Termination",
    "UnknownEvent",
    "Utterance",
    "__version__",
    "decode_mulaw_from_base64",
    "encode_outgoing_event",
    "encode_pcm16_to_mulaw_base64",
    "parse_incoming_event",
    "pcm_to_ulaw",
    "rate_converter",
    "silence",
    "speech_handler",
    "ulaw_to_pcm",
]
