"""The public key of a package feed, read once: usign's for opkg, a PEM file for apk.

The text that goes into the builder is made anew from the key itself, so no comment and no unusual
line break gets there, and two spellings of one key lead to one build.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Literal

from .feeds import InvalidFeedError

USIGN_BYTES = 42  # Two letters `Ed`, a fingerprint of eight bytes, an Ed25519 key of 32.
_USIGN_SECRET = b"EdBK"  # What the secret half begins with.
_COMMENT = "untrusted comment:"
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
_PEM_COLUMNS = 64
_IS_PRIVATE = "is a private key, with which anybody can sign packages: replace it, since it has been sent, and send its public half"
_IS_NEITHER = "is neither a public key of usign (a line of base64, with or without its comment) nor a PEM file with one PUBLIC KEY"


@dataclass(frozen=True, slots=True)
class FeedKey:
    """A key and its kind; `content` is the 42 bytes of a usign key, or the DER of a PEM file, which is not looked into here."""

    kind: Literal["usign", "pem"]
    content: bytes

    @staticmethod
    def parse(text: str) -> FeedKey:
        """Read a key; raises InvalidFeedError, which repeats nothing of what it was given."""
        if "PRIVATE KEY" in text:
            raise InvalidFeedError(_IS_PRIVATE)
        lines = [line.strip() for line in text.strip().replace("\r\n", "\n").split("\n")]
        if lines[0] == _BEGIN and lines[-1] == _END:
            return FeedKey("pem", _decoded("".join(lines[1:-1])))
        if len(lines) == 2 and lines[0].startswith(_COMMENT):  # noqa: PLR2004  # The comment and the key.
            del lines[0]
        content = _decoded("".join(lines)) if len(lines) == 1 else b""
        if content.startswith(_USIGN_SECRET) and len(content) > USIGN_BYTES:
            raise InvalidFeedError(_IS_PRIVATE)
        if len(content) != USIGN_BYTES or not content.startswith(b"Ed"):
            raise InvalidFeedError(_IS_NEITHER)
        return FeedKey("usign", content)

    @property
    def text(self) -> str:
        """The one spelling of the key: two lines of usign, or PEM; without a newline at its end."""
        encoded = base64.b64encode(self.content).decode()
        if self.kind == "usign":
            return f"{_COMMENT} public key {self.file_name}\n{encoded}"
        return "\n".join(
            (
                _BEGIN,
                *(
                    encoded[start : start + _PEM_COLUMNS]
                    for start in range(0, len(encoded), _PEM_COLUMNS)
                ),
                _END,
            )
        )

    @property
    def file_name(self) -> str:
        """The file's name among the builder's keys.

        opkg finds a key by its fingerprint, 16 hexadecimal digits; apk takes any name, so it is the
        SHA-256 of the DER with `.pem`.
        """
        return (
            self.content[2:10].hex()
            if self.kind == "usign"
            else f"{hashlib.sha256(self.content).hexdigest()}.pem"
        )


def key_spelling(text: str) -> str:
    """Return the one spelling of a key, or the text itself where it is none: refusing it is not the decision core's part."""
    try:
        return FeedKey.parse(text).text
    except InvalidFeedError:
        return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError for letters beyond ASCII.
        raise InvalidFeedError(_IS_NEITHER) from None
