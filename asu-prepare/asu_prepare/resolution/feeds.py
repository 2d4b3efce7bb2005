"""The addresses and public keys of a request's own package feeds, each read into its parts.

Both reach the ImageBuilder, so less is admitted than a URL or a key file may hold. Two spellings of
one address or key are one value with one text, so they lead to one build.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
import textwrap
from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 512  # Characters; the longest address of OpenWrt's own feeds has 107.
MAX_HOST = 253  # The limit of DNS.
DEFAULT_PORTS = {"http": 80, "https": 443}

_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# With such a last label, resolvers take the whole host for an IPv4 address.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
# Names without any sign that means something to a shell, make, a list of feeds or a URL. A percent
# sign that is left after decoding was encoded twice, and an encoded slash separates nothing.
_NAME = re.compile(r"[A-Za-z0-9._~+-]+")

USIGN_BYTES = 42  # The letters `Ed`, a fingerprint of eight bytes, an Ed25519 key of 32.
_USIGN_SECRET = b"EdBK"  # The beginning of the secret half.
_COMMENT = "untrusted comment:"
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_PEM_COLUMNS = 64
_IS_PRIVATE = (
    "is a private key, with which anybody can sign packages: replace it, since it has been sent, "
    "and send its public half"
)
_IS_NO_KEY = (
    "is neither a public key of usign (a line of base64, with or without its comment) nor a PEM "
    "file with one PUBLIC KEY"
)


class InvalidFeedError(ValueError):
    """The text is no address or key of a feed.

    The message repeats nothing of the text and continues a sentence that begins with the feed.
    """


@dataclass(frozen=True, slots=True)
class FeedUrl:
    """An address; the host is in lower case without a dot at its end, the path is decoded."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> FeedUrl:
        """Read an address such as https://feeds.example.org/packages; raises InvalidFeedError."""
        if len(text) > MAX_LENGTH:
            raise InvalidFeedError(f"has an address of more than {MAX_LENGTH} characters")
        if _VISIBLE.fullmatch(text) is None:
            raise InvalidFeedError(
                "has an address with a blank, a control character or a letter beyond ASCII in it, "
                "or none at all"
            )
        scheme, separator, rest = text.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in DEFAULT_PORTS:
            raise InvalidFeedError("has an address that begins with neither https:// nor http://")
        if "?" in rest or "#" in rest:
            raise InvalidFeedError(
                "has an address with a query or a fragment; leave out `?` and `#` and what follows"
            )
        authority, _, path = rest.partition("/")
        if "@" in authority:
            raise InvalidFeedError("has an address with a user or a password in it; leave them out")
        host, colon, port = authority.partition(":")
        return FeedUrl(
            scheme, _host(host), _port(port) if colon else DEFAULT_PORTS[scheme], _path(path)
        )

    @property
    def text(self) -> str:
        """The one spelling: letters, digits and `-._~+:/` only, without the usual port."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}/{'/'.join(self.path)}"

    def lies_below(self, other: FeedUrl) -> bool:
        """Whether this is the other address or below it; /packages-evil is not below /packages."""
        same_server = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same_server and self.path[: len(other.path)] == other.path


def _host(text: str) -> str:
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
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
    if _PORT.fullmatch(text) is None or int(text) > 65_535:  # noqa: PLR2004  # The last port.
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


@dataclass(frozen=True, slots=True)
class FeedKey:
    """A public key: usign's for opkg (42 bytes), or a PEM file's DER for apk, taken as it is."""

    kind: Literal["usign", "pem"]
    content: bytes

    @staticmethod
    def parse(text: str) -> FeedKey:
        """Read a key; raises InvalidFeedError."""
        if "PRIVATE KEY" in text:
            raise InvalidFeedError(_IS_PRIVATE)
        lines = [line.strip() for line in text.strip().replace("\r\n", "\n").split("\n")]
        if lines[0] == _BEGIN and lines[-1] == _END:
            return FeedKey("pem", _decoded("".join(lines[1:-1])))
        if len(lines) == 2 and lines[0].startswith(_COMMENT):  # noqa: PLR2004  # Comment and key.
            del lines[0]
        content = _decoded("".join(lines)) if len(lines) == 1 else b""
        if content.startswith(_USIGN_SECRET) and len(content) > USIGN_BYTES:
            raise InvalidFeedError(_IS_PRIVATE)
        if len(content) != USIGN_BYTES or not content.startswith(b"Ed"):
            raise InvalidFeedError(_IS_NO_KEY)
        return FeedKey("usign", content)

    @property
    def text(self) -> str:
        """The one spelling: two lines of usign, or PEM; made from the key, so without comments."""
        encoded = base64.b64encode(self.content).decode()
        if self.kind == "usign":
            return f"{_COMMENT} public key {self.file_name}\n{encoded}"
        return "\n".join((_BEGIN, *textwrap.wrap(encoded, _PEM_COLUMNS), _END))

    @property
    def file_name(self) -> str:
        """The file's name among the builder's keys: opkg's fingerprint; apk takes any name."""
        if self.kind == "usign":
            return self.content[2:10].hex()
        return f"{hashlib.sha256(self.content).hexdigest()}.pem"


def one_spelling(kind: type[FeedUrl | FeedKey], text: str) -> str:
    """Return the one spelling of an address or key, or the text itself if it is none."""
    try:
        return kind.parse(text).text
    except InvalidFeedError:
        return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError for letters beyond ASCII.
        raise InvalidFeedError(_IS_NO_KEY) from None
