"""The address of a package feed, read once into its parts.

Such an address ends up in a line of the builder's list of feeds and then in a program that
downloads, so what is admitted is far narrower than what a URL may hold: http or https, a plain
host, a path of plain names. Two spellings of one address are one value with one text, so they lead
to one build.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_LENGTH = 512  # Characters; the longest address of a feed of OpenWrt's own has 107.
DEFAULT_PORTS = {"http": 80, "https": 443}

_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# A last label that makes resolvers take the whole host for an IPv4 address.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
# Names without any sign that a shell, make, a list of feeds or a URL gives a meaning to. A percent
# sign that is left after decoding was encoded twice, and a slash that was encoded is no separator:
# neither is in here.
_NAME = re.compile(r"[A-Za-z0-9._~+-]+")


class InvalidFeedError(ValueError):
    """The text is no address or key of a feed; the message says why, repeats none of it and reads on from the feed's name."""


@dataclass(frozen=True, slots=True)
class FeedUrl:
    """Scheme, host in lower case without a dot at its end, effective port, and the names of the path, decoded."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> FeedUrl:
        """Read an address such as https://feeds.example.org/packages; raises InvalidFeedError for anything that is not that plain."""
        if len(text) > MAX_LENGTH:
            raise InvalidFeedError(f"has an address of more than {MAX_LENGTH} characters")
        if _VISIBLE.fullmatch(text) is None:
            raise InvalidFeedError(
                "has an address with a blank, a control character or a letter beyond ASCII in it, or none at all"
            )
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() not in DEFAULT_PORTS:
            raise InvalidFeedError("has an address that begins with neither https:// nor http://")
        if "?" in rest or "#" in rest:
            raise InvalidFeedError(
                "has an address with a query or a fragment; leave out `?` and `#` and what follows"
            )
        authority, _, path = rest.partition("/")
        if "@" in authority:
            raise InvalidFeedError("has an address with a user or a password in it; leave them out")
        host, colon, port = authority.partition(":")
        scheme = scheme.lower()
        return FeedUrl(
            scheme, _host(host), _port(port) if colon else DEFAULT_PORTS[scheme], _path(path)
        )

    @property
    def text(self) -> str:
        """The one spelling of the address: letters, digits and `-._~+:/` only, without the usual port; a slash ends only what has no path."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}/{'/'.join(self.path)}"

    def lies_below(self, other: FeedUrl) -> bool:
        """Whether this is the other address or lies below it, name by name: /packages-evil does not lie below /packages."""
        same_server = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same_server and self.path[: len(other.path)] == other.path


def feed_spelling(text: str) -> str:
    """Return the one spelling of an address, or the text itself where it is none: refusing it is not the decision core's part."""
    try:
        return FeedUrl.parse(text).text
    except InvalidFeedError:
        return text


def _host(text: str) -> str:
    """Return a host as it is compared; one in the Unicode spelling cannot come here, and `xn--` stays as it is."""
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):  # noqa: PLR2004  # The limit of DNS.
        raise InvalidFeedError("has an address whose host is no plain name or IPv4 address")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise InvalidFeedError(
                "has an address whose host is an IPv4 address in another spelling than 192.0.2.1"
            ) from None
    return host


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65_535:  # noqa: PLR2004  # The last port that there is.
        raise InvalidFeedError("has an address whose port is no number from 1 to 65535")
    return int(text)


def _path(text: str) -> tuple[str, ...]:
    names = text.removesuffix("/").split("/") if text else []
    decoded = tuple(_ENCODED.sub(lambda match: chr(int(match[1], 16)), name) for name in names)
    if "" in decoded:
        raise InvalidFeedError("has an address with two slashes in a row")
    if "." in decoded or ".." in decoded:
        raise InvalidFeedError(
            "has an address with `.` or `..` in its path; write the path without them"
        )
    if not all(map(_NAME.fullmatch, decoded)):
        raise InvalidFeedError(
            "has an address whose path holds other characters than letters, digits and `-._~+`"
        )
    if text.endswith("/") and decoded[-1].endswith(".adb"):
        raise InvalidFeedError(
            "has an address that ends in .adb and a slash; an index is a file, leave the slash out"
        )
    return decoded
