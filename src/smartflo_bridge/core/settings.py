"""What a session can be told: the part of the configuration that decides how a call behaves. A capture's header holds it."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from smartflo_bridge.core.audio import FRAME_SECONDS


class SendConnected(StrEnum):
    """When we say `connected` ourselves (protocol.md, section 2)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class HangUpWay(StrEnum):
    """How we end a call (protocol.md, section 5)."""

    CLOSE = "close"
    END = "end"


Seconds = Annotated[float, Meta(gt=0, le=86400)]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and choices for one call; smartflo.toml says what each is for. Sources: reliability, section 8."""

    send_connected: SendConnected = SendConnected.AUTO
    hang_up: HangUpWay = HangUpWay.CLOSE
    start_deadline_seconds: Seconds = 10.0
    idle_seconds: Seconds = 60.0
    max_call_seconds: Seconds = 14_400.0
    lead_seconds: Annotated[float, Meta(ge=0.04, le=2)] = 0.2
    packet_seconds: Annotated[float, Meta(ge=FRAME_SECONDS, le=1)] = 0.1
    queue_seconds: Annotated[float, Meta(ge=0.2, le=3600)] = 60.0
    mark_slack_seconds: Seconds = 2.0
    bad_message_budget: Annotated[int, Meta(ge=0)] = 20
    max_messages_per_second: Annotated[float, Meta(gt=0, le=100_000)] = 200.0
    max_audio_speed: Annotated[float, Meta(ge=1, le=10_000)] = 4.0

    def __post_init__(self) -> None:
        """Refuse a packet so long that the platform could run dry before the next one may leave.

        Raises:
            ValueError: `packet_seconds` is above half of `lead_seconds`.
        """
        if self.packet_seconds > self.lead_seconds / 2:
            msg = f"packet-seconds ({self.packet_seconds}) is at most half of lead-seconds ({self.lead_seconds})"
            raise ValueError(msg)
