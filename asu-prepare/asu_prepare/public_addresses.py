"""Separates public from private addresses, so no DNS answer leads us to an internal host."""

import ipaddress
import re

# No public name server answers for a name without a dot, so the operator means it. All digits, or
# 0x and digits, are an address.
_LOCAL_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.IGNORECASE)
# For protocols, and a cloud's own services; Python knows parts of it only.
_ASSIGNED = ipaddress.IPv4Network("192.0.0.0/24")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# How a network without IPv4 reaches it; its last 32 bits are the address that counts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether an address is public, and not an IPv6 address that stands for a private one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _wrapped(address)
        if inner is None:
            return address in _GLOBAL_UNICAST and address.is_global
        address = inner
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and address not in _ASSIGNED
    )


def is_meant_to_be_local(host: str) -> bool:
    """Whether a host is an address itself, or a name that only the operator's own machines know."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _LOCAL_NAME.fullmatch(host) is not None
    return True


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: mapped, 6to4, or of a translator."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
