"""Whose connection it is: what a proxy of ours says counts, what anybody else says does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.server.proxies import TrustedProxies

PROXIES = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["6.6.6.6, 198.51.100.1 ,10.1.2.3,10.4.5.6"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("10.255.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.255.0.1", ["2001:db8:2::7"], "2001:db8:2::7"),
        ("10.255.0.1", ["[2001:db8:2::7]"], "2001:db8:2::7"),
        ("10.255.0.1", ["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
        ("2001:db8:1::1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:2::1", ["198.51.100.1"], "2001:db8:2::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1,"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1, 10.0.0.9, _hidden, 10.0.0.8"], "10.0.0.8"),
        ("127.0.0.1", ["198.51.100.300"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1\x00"], "127.0.0.1"),
        ("127.0.0.1", ["localhost"], "127.0.0.1"),
    ],
)
def test_whose_connection_it_is(address, forwarded, client):
    """The rightmost address that is not a proxy's of ours; what is no address ends the search."""
    assert PROXIES.client_of(address, forwarded) == client


@given(st.lists(st.text(max_size=40), max_size=4))
def test_a_stranger_s_word_never_counts(forwarded):
    """Whatever the header says."""
    assert PROXIES.client_of("203.0.113.7", forwarded) == "203.0.113.7"
    assert TrustedProxies([]).client_of("127.0.0.1", forwarded) == "127.0.0.1"


@given(st.lists(st.text(max_size=40), max_size=3), st.ip_addresses())
def test_what_a_client_writes_into_the_header_does_not_hide_it(forged, client):
    """Our proxy appends the address that it sees; what stands before it is the client's invention."""
    plain = getattr(client, "ipv4_mapped", None) or client
    if not PROXIES.trusts(str(client)):
        assert PROXIES.client_of("127.0.0.1", [*forged, str(client)]) == str(plain)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", "10.0.0", "::/129", "*"])
def test_what_is_no_network(text):
    """The sentence names the key, and what would do."""
    with pytest.raises(ConfigError, match=r'^trusted-proxies: takes addresses and networks, such as "10\.0\.0\.0/8": '):
        TrustedProxies([text])
