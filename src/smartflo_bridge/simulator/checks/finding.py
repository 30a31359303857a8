"""One thing that a check found wrong. The referee makes a violation of it."""

import msgspec

from smartflo_bridge.simulator.rules import Rule


class Finding(msgspec.Struct, frozen=True):
    """A rule, and what exactly was wrong, in one sentence."""

    rule: Rule
    detail: str
