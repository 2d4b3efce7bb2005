"""Certificate chains in the format of OpenWrt's ucert.

A chain is a row of blobs of libubox. Each blob has a header of four bytes, big endian: one bit
"extended", seven bits of kind, 24 bits of length that count the header; zeros fill it up to a
multiple of four, which the length does not count.

    certificate: kind 0
      SIGNATURE: kind 0, the text of a signature file over the bytes within PAYLOAD
      PAYLOAD:   kind 1
        "ucert": table of certtype (int32, 1), validfrom and expiresat (int64, seconds), pubkey
        (string, text of a public key file)

Fields of a table, and the table itself, are "extended" blobs: the kind is the type of the value,
and the value follows a name (u16 length, the name, a zero byte, filled up to a multiple of four).
In an image, a last blob with a SIGNATURE alone holds the signature of the image.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .usign import PublicKey, SecretKey, UnusableKey, read_public_key

HEADER = struct.Struct(">I")
NAME_LENGTH = struct.Struct(">H")
EXTENDED = 1 << 31
KIND_BITS, KINDS = 24, 0x7F
LENGTHS = (1 << KIND_BITS) - 1
CERTIFICATE, SIGNATURE, PAYLOAD = 0, 0, 1
TABLE, STRING, INT64, INT32 = 2, 3, 4, 5
INTEGERS = {INT64: struct.Struct(">Q"), INT32: struct.Struct(">I")}
AUTHORISES = 1  # A certificate for a key; 2 revokes one.


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says: whose key is good, from when until when, in seconds since 1970."""

    key: PublicKey
    valid_from: int
    expires_at: int


def read_chain(data: bytes) -> list[Certificate]:
    """Read a file of certificates, that of the authority first; raises UnusableKey."""
    try:
        chain = [_certificate(kind, body) for kind, body in _blobs(data)]
    except (ValueError, KeyError, struct.error) as error:
        raise UnusableKey("it is no certificate file as ucert writes it") from error
    if not chain:
        raise UnusableKey("it is empty")
    return chain


def signature_blob(signature: bytes) -> bytes:
    """Return the text of a signature file as a blob, which goes behind a chain."""
    return _blob(CERTIFICATE, _blob(SIGNATURE, signature))


def self_signed(key: SecretKey, *, valid_from: int, expires_at: int) -> bytes:
    """Return a chain of one certificate: that of a key by itself."""
    fields = [
        _field(INT32, "certtype", INTEGERS[INT32].pack(AUTHORISES)),
        _field(INT64, "validfrom", INTEGERS[INT64].pack(valid_from)),
        _field(INT64, "expiresat", INTEGERS[INT64].pack(expires_at)),
        _field(STRING, "pubkey", key.public.text().encode() + b"\0"),
    ]
    payload = _field(TABLE, "ucert", b"".join(fields))
    return _blob(CERTIFICATE, _blob(SIGNATURE, key.sign(payload)) + _blob(PAYLOAD, payload))


def _certificate(kind: int, body: bytes) -> Certificate:
    parts = dict(_blobs(body))
    if kind != CERTIFICATE or not parts[SIGNATURE]:
        raise ValueError("it is something else than a certificate")
    fields = _fields(_fields(parts[PAYLOAD])["ucert", TABLE])
    certtype, valid_from, expires_at = (
        INTEGERS[size].unpack(fields[name, size])[0]
        for name, size in (("certtype", INT32), ("validfrom", INT64), ("expiresat", INT64))
    )
    if certtype != AUTHORISES:
        raise UnusableKey("it holds a revocation, which vouches for no key")
    return Certificate(read_public_key(fields["pubkey", STRING].decode()), valid_from, expires_at)


def _fields(data: bytes) -> dict[tuple[str, int], bytes]:
    """Read the fields of a table: value by name and type."""
    fields = {}
    for kind, body in _blobs(data):
        [length] = NAME_LENGTH.unpack_from(body)
        name = body[NAME_LENGTH.size : NAME_LENGTH.size + length].decode()
        fields[name, kind] = body[_filled_up(NAME_LENGTH.size + length + 1) :]
    return fields


def _blobs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each blob; raises ValueError for anything else between them."""
    position = 0
    while position < len(data):
        [header] = HEADER.unpack_from(data, position)
        end = position + (header & LENGTHS)
        if not position + HEADER.size <= end <= _filled_up(end) <= len(data):
            raise ValueError("a blob's length is wrong")
        yield header >> KIND_BITS & KINDS, data[position + HEADER.size : end]
        position = _filled_up(end)


def _field(kind: int, name: str, value: bytes) -> bytes:
    head = NAME_LENGTH.pack(len(name)) + name.encode() + b"\0"
    return _blob(kind, head.ljust(_filled_up(len(head)), b"\0") + value, extended=EXTENDED)


def _blob(kind: int, content: bytes, *, extended: int = 0) -> bytes:
    length = HEADER.size + len(content)
    return (HEADER.pack(extended | kind << KIND_BITS | length) + content).ljust(
        _filled_up(length), b"\0"
    )


def _filled_up(length: int) -> int:
    return -length % 4 + length
