"""Who asks, as far as an address tells; the server sets it from the gateway's `X-Forwarded-For` where TRUSTED_PROXIES believes it."""

from ipaddress import IPv6Address, IPv6Network, ip_address

# Bits of an IPv6 address that a provider gives out; the rest is the customer's to choose.
SUBNET = 64


def client_of(host: str) -> str:
    """Return what one client's addresses have in common; empty where they say nothing about who it is.

    A private address is a gateway that is not believed, a container network's own, or the
    operator's neighbour: whoever comes through it is not one client, and must not be held for one.
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
