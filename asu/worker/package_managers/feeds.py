"""The feeds and keys that a request brings along, admitted once more before they reach the builder's files.

A name becomes a word of a line and the name of a file, a URL a word of a line: a blank or a line's end in them would be a
setting of the package manager, such as to check no signatures.
"""

import base64
import re
from collections.abc import Mapping

from asu.errors import BuildFailed

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# file: is for builders that hold a copy of their feeds. The rest is what RFC 3986 lets a path consist of, but for quotes; no
# segment leads upwards.
_URL = re.compile(r"(?!.*/\.\.?(?:/|$))(?:https?://[A-Za-z0-9\[][A-Za-z0-9.:\]-]{0,255}|file:/)/[A-Za-z0-9._~%!&()*+,;=:@/-]{0,511}")
_USIGN = re.compile(r"(?:untrusted comment:[ -~]{0,512}\n)?([A-Za-z0-9+/]{56})")  # 42 bytes: two for the kind, eight of fingerprint, the key.
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\n(?:[A-Za-z0-9+/]{1,76}={0,2}\n){1,32}-----END PUBLIC KEY-----")
_ED25519 = b"Ed"


def admitted_feeds(repositories: Mapping[str, str]) -> dict[str, str]:
    """Return the feeds of a request by name, sorted, so that the same request is the same build; raises BuildFailed."""
    feeds = {}
    for name, url in sorted(repositories.items()):
        if _NAME.fullmatch(name) is None or _URL.fullmatch(url) is None:
            raise BuildFailed(reason="the name or the address of a repository is malformed")
        feeds[name] = url.rstrip("/")
    return feeds


def usign_key(text: str) -> tuple[str, str] | None:
    """Return fingerprint and Base64 of a public key of usign, with or without its comment; None if it is none."""
    match = _USIGN.fullmatch(_plain(text))
    decoded = base64.b64decode(match[1]) if match else b""
    return (decoded[2:10].hex(), match[1]) if match and decoded.startswith(_ED25519) else None


def pem_key(text: str) -> str | None:
    """Return a public key in PEM as it is to be written; None if it is none."""
    plain = _plain(text)
    return f"{plain}\n" if _PEM.fullmatch(plain) else None


def malformed_key() -> BuildFailed:
    """Return the error that a key is of neither kind."""
    return BuildFailed(reason="the key of a repository is malformed")


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip("\n ")
