"""Whose connection it is that a proxy in front passes on: the address in X-Forwarded-For, if a proxy of ours wrote it. Pure."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from smartflo_bridge.core.errors import ConfigError

# 203.0.113.7, 203.0.113.7:4711, 2001:db8::7, [2001:db8::7], [2001:db8::7]:4711
_ENTRY = re.compile(r"\[(?P<bracketed>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+)(?::\d+)?|(?P<bare>[0-9A-Fa-f:.]+)")


class TrustedProxies:
    """The proxies whose word is taken.

    Args:
        networks: addresses and networks, such as `127.0.0.1` and `10.0.0.0/8`.

    Raises:
        ConfigError: one of them is none.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = []
        for text in networks:
            try:
                self._networks.append(ip_network(text))
            except ValueError as error:
                msg = f'trusted-proxies: takes addresses and networks, such as "10.0.0.0/8": {error}'
                raise ConfigError(msg) from None

    def trusts(self, address: str) -> bool:
        """True if this is the address of a proxy of ours."""
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_of(self, address: str, forwarded: Iterable[str]) -> str:
        """Return the address that a connection comes from: the rightmost one that is not a proxy's of ours.

        What stands left of it was written by whoever that is. A proxy that is the client itself is returned as such.

        Args:
            address: of the other end of the connection.
            forwarded: the X-Forwarded-For headers of its request, in their order.
        """
        for entry in reversed(",".join(forwarded).split(",")):
            if not self.trusts(address):
                break
            match = _ENTRY.fullmatch(entry.strip())
            parsed = _parsed(next(filter(None, match.groups()))) if match else None
            if parsed is None:
                break
            address = str(parsed)
        return address


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return an address; one of IPv4 in IPv6's clothes, as a socket for both has it, is IPv4's."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
