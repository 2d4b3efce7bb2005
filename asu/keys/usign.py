"""Keys and signatures as usign and OpenBSD's signify write them: Ed25519 in two lines of text.

The first line is `untrusted comment: …`, the second Base64 of one of these, big endian:

    secret key   "Ed" "BK" rounds:u32 salt[16] checksum[8] fingerprint[8] seed[32] public[32]
    public key   "Ed" fingerprint[8] public[32]
    signature    "Ed" fingerprint[8] signature[64]

`rounds` is 0 without a passphrase. `checksum` begins the SHA-512 over seed and public key.
`fingerprint` is a random number. No error here quotes anything of a key.
"""

import base64
import binascii
import contextlib
import hashlib
import secrets
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM, KEY_DERIVATION = b"Ed", b"BK"
SECRET = struct.Struct(">2s2sI16s8s8s32s32s")
PUBLIC = struct.Struct(">2s8s32s")
SIGNATURE = struct.Struct(">2s8s64s")
COMMENT = "untrusted comment: "
CHECKSUM_LENGTH = 8


class UnusableKey(Exception):
    """A key or its certificate cannot be used; the message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key with the fingerprint that signatures name it by."""

    fingerprint: bytes
    point: bytes

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the 64 bytes of a signature are this key's over a message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.point).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def text(self) -> str:
        """Return the key as usign writes it to a file."""
        packed = PUBLIC.pack(ALGORITHM, self.fingerprint, self.point)
        return _text(f"public key {self.fingerprint.hex()}", packed)


class SecretKey:
    """A secret key, which signs; its repr shows nothing."""

    def __init__(self, seed: bytes, fingerprint: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(fingerprint, self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes | memoryview) -> bytes:
        """Return the text of a signature file; the same message always gets the same."""
        signature = SIGNATURE.pack(ALGORITHM, self.public.fingerprint, self.signature(message))
        return _text(f"signed by key {self.public.fingerprint.hex()}", signature).encode()

    def signature(self, message: bytes | memoryview) -> bytes:
        """Return the 64 bytes of a signature alone."""
        return self._key.sign(message)

    def text(self) -> str:
        """Return the key as usign writes it to a file, without passphrase."""
        fingerprint, point = self.public.fingerprint, self.public.point
        seed, salt = self._key.private_bytes_raw(), secrets.token_bytes(16)
        head = (ALGORITHM, KEY_DERIVATION, 0, salt)
        packed = SECRET.pack(*head, _checksum(seed, point), fingerprint, seed, point)
        return _text(f"private key {fingerprint.hex()}", packed)


def new_secret_key() -> SecretKey:
    """Return a new key of random numbers of the operating system."""
    return SecretKey(secrets.token_bytes(32), secrets.token_bytes(8))


def read_secret_key(text: str) -> SecretKey:
    """Read the text of a secret key file; raises UnusableKey."""
    algorithm, derivation, rounds, _salt, checksum, fingerprint, seed, point = _unpacked(
        text, SECRET, "secret key"
    )
    if (algorithm, derivation) != (ALGORITHM, KEY_DERIVATION):
        raise UnusableKey("it is no secret key of usign's kind (Ed25519)")
    if rounds:
        raise UnusableKey("it is encrypted with a passphrase; a server needs a key without one")
    key = SecretKey(seed, fingerprint)
    if checksum != _checksum(seed, point) or key.public.point != point:
        raise UnusableKey("it is damaged: its parts do not belong together")
    return key


def read_public_key(text: str) -> PublicKey:
    """Read the text of a public key file; raises UnusableKey."""
    algorithm, fingerprint, point = _unpacked(text, PUBLIC, "public key")
    if algorithm != ALGORITHM:
        raise UnusableKey("it is no public key of usign's kind (Ed25519)")
    return PublicKey(fingerprint, point)


def _checksum(seed: bytes, point: bytes) -> bytes:
    return hashlib.sha512(seed + point).digest()[:CHECKSUM_LENGTH]


def _text(comment: str, packed: bytes) -> str:
    return f"{COMMENT}{comment}\n{base64.b64encode(packed).decode()}\n"


def _unpacked(text: str, layout: struct.Struct, what: str) -> tuple[bytes, ...]:
    comment, _, rest = text.rstrip("\0").partition("\n")
    packed = b""
    if comment.startswith(COMMENT):
        with contextlib.suppress(IndexError, binascii.Error):
            packed = base64.b64decode(rest.splitlines()[0].strip(), validate=True)
    if len(packed) != layout.size:
        raise UnusableKey(f"it is no {what} file as usign writes it")
    return layout.unpack(packed)
