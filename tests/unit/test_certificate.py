"""Certificate chains in ucert's format."""

from __future__ import annotations

import pytest

from asu.keys.certificate import read_chain, self_signed, signature_blob
from asu.keys.usign import SecretKey, UnusableKey, read_public_key
from tests.signed_images import blobs_of

KEY = SecretKey(bytes(range(32)), bytes.fromhex("84bfc88a17166577"))
PUBLIC_TEXT = (
    "untrusted comment: public key"
    " 84bfc88a17166577\nRWSEv8iKFxZldwOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n"
)

# Counted by hand from the format: each line a field, its header with length first. What the
# signature is, the test fills in.
FIELDS = (
    bytes.fromhex("85000014 0008") + b"certtype\0\0" + bytes.fromhex("00000001"),
    bytes.fromhex("84000018 0009") + b"validfrom\0" + bytes.fromhex("000000005c2a4500"),
    bytes.fromhex("84000018 0009") + b"expiresat\0" + bytes.fromhex("000000005e0b7880"),
    bytes.fromhex("83000079 0006") + b"pubkey\0\0\0\0" + PUBLIC_TEXT.encode() + b"\0" + bytes(3),
)
TABLE = bytes.fromhex("820000cc 0005") + b"ucert\0" + b"".join(FIELDS)
VALID_FROM, EXPIRES_AT = 0x5C2A4500, 0x5E0B7880


def chain_of(
    table: bytes, *, signature: bytes = b"untrusted comment: signed by key 0\nx\n"
) -> bytes:
    """Return a chain of one certificate around a table."""
    return blob(0, blob(0, signature) + blob(1, table))


def blob(kind: int, content: bytes) -> bytes:
    """Return a blob."""
    return (
        bytes([kind]) + (4 + len(content)).to_bytes(3, "big") + content + bytes(-len(content) % 4)
    )


def test_a_certificate_is_written_as_it_stands_in_the_format() -> None:
    """A certificate of a known key equals the bytes counted by hand, with a signature over the
    bytes within the payload.
    """
    signature = KEY.sign(TABLE)

    written = self_signed(KEY, valid_from=VALID_FROM, expires_at=EXPIRES_AT)

    assert len(signature) == 151
    assert (
        written
        == bytes.fromhex("00000170 0000009b")
        + signature
        + bytes(1)
        + bytes.fromhex("010000d0")
        + TABLE
    )


def test_a_chain_is_read_from_the_bytes() -> None:
    """Key, beginning and end of a certificate are those that stand there."""
    [certificate] = read_chain(chain_of(TABLE))

    assert certificate.key == read_public_key(PUBLIC_TEXT) == KEY.public
    assert (certificate.valid_from, certificate.expires_at) == (VALID_FROM, EXPIRES_AT)


def test_a_chain_of_two_is_read_in_its_order() -> None:
    """The authority comes first, the key that it vouches for last."""
    other = SecretKey(bytes(32), bytes(8))

    chain = read_chain(chain_of(TABLE) + self_signed(other, valid_from=1, expires_at=2))

    assert [certificate.key for certificate in chain] == [KEY.public, other.public]


def test_fields_that_are_not_known_are_passed_over() -> None:
    """A later ucert may say more about a key."""
    more = bytes.fromhex("83000010 0004") + b"more\0\0" + b"yes\0"
    table = bytes.fromhex("820000dc 0005") + b"ucert\0" + more + b"".join(FIELDS)

    assert read_chain(chain_of(table))[0].key == KEY.public


def test_the_signature_of_a_message_is_a_blob_in_a_blob() -> None:
    """The outer length counts the filled up inner blob, the inner one its own content only."""
    assert signature_blob(b"12345") == bytes.fromhex("00000010 00000009") + b"12345" + bytes(3)
    assert blobs_of(signature_blob(b"12345")) == [
        (0, bytes.fromhex("00000009") + b"12345" + bytes(3))
    ]


REVOCATION = TABLE.replace(b"certtype\0\0\0\0\0\1", b"certtype\0\0\0\0\0\2")
GOOD = chain_of(TABLE)
BAD = {
    "empty": (b"", "empty"),
    "text": (b"untrusted comment: public key\n", "no certificate file"),
    "cut short": (GOOD[:-4], "no certificate file"),
    "a byte too many": (GOOD + b"\0", "no certificate file"),
    "a signature only": (signature_blob(b"text"), "no certificate file"),
    "a signature at its end": (GOOD + signature_blob(b"text"), "no certificate file"),
    "no signature": (blob(0, blob(1, TABLE)), "no certificate file"),
    "a length of nothing": (bytes(16), "no certificate file"),
    "another kind": (b"\1" + GOOD[1:], "no certificate file"),
    "another table": (chain_of(TABLE.replace(b"ucert", b"other")), "no certificate file"),
    "no key": (chain_of(TABLE.replace(b"pubkey", b"bubkey")), "no certificate file"),
    "a number of another size": (
        chain_of(TABLE.replace(bytes.fromhex("85000014"), bytes.fromhex("84000014"))),
        "no certificate file",
    ),
    "a revocation": (chain_of(REVOCATION), "revocation"),
    "no public key": (chain_of(TABLE.replace(b"RWSE", b"RW*E")), "no public key file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_chain_is_refused(name: str) -> None:
    """Devices would refuse every image with such a certificate, so the operator hears of it
    first.
    """
    data, words = BAD[name]

    with pytest.raises(UnusableKey, match=words):
        read_chain(data)
