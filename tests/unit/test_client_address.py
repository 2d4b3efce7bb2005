"""Who one client is, as far as an address tells."""

import pytest

from asu.web.client_address import client_of


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("5.9.0.1", "5.9.0.1"),
        ("::ffff:5.9.0.1", "5.9.0.1"),
        ("2a01:4f8:0:1::1", "2a01:4f8:0:1::/64"),
        ("2a01:4f8:0:1:ffff::2", "2a01:4f8:0:1::/64"),
    ],
)
def test_a_public_address_is_a_client(host: str, client: str) -> None:
    """Whichever way it is written; of IPv6 the network that a provider gives out, whose addresses
    are its customer's to choose.
    """
    assert client_of(host) == client


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.89.0.5",
        "192.168.1.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "testclient",
        "",
    ],
)
def test_any_other_is_nobody(host: str) -> None:
    """Behind it may be everybody: a gateway that is not believed, a container network, a provider's
    NAT.
    """
    assert client_of(host) == ""
