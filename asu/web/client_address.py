"""Which client asks, judged by its address.

The server takes the address from the gateway's `X-Forwarded-For` if TRUSTED_PROXIES names the
gateway.
"""

from ipaddress import IPv6Address, IPv6Network, ip_address

# Bits of an IPv6 address that a provider gives out; the rest is the customer's to choose.
SUBNET = 64


def client_of(host: str) -> str:
    """Return the part of an address that one client's addresses share; empty if it names no client.

    A private address is an untrusted gateway, a container network or a neighbour of the operator:
    many clients may come from it, so it must not count as one.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return (
                str(IPv6Network((int(address), SUBNET), strict=False)) if address.is_global else ""
            )
        address = address.ipv4_mapped
    return str(address) if address.is_global else ""
