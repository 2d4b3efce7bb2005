"""Which client asks, judged by its address."""

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
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if not address.is_global:
        return ""
    is_v6 = isinstance(address, IPv6Address)
    return str(IPv6Network((int(address), SUBNET), strict=False) if is_v6 else address)
