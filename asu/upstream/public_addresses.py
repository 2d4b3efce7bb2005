"""Sort out private addresses, so that DNS cannot point our HTTP client at an internal host."""

import ipaddress
import re

# No public name server answers for a name without a dot, so the operator means it. (All digits, or
# 0x and digits, is an address in disguise.)
_LOCAL_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.IGNORECASE)
# For protocols, and for services of clouds; Python knows only parts of it.
_ASSIGNED = ipaddress.IPv4Network("192.0.0.0/24")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# How a network without IPv4 reaches it; its last 32 bits are the address that counts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether the text is an address that means the same machine everywhere.

    Loopback, private, link-local, shared, documentation and multicast addresses do not, nor do
    addresses that wrap one of them.
    """
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
    """Return the IPv4 address in one of IPv6: mapped, 6to4 or NAT64."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
