"""Keys and signatures in usign's format."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from asu.keys.usign import UnusableKey, new_secret_key, read_public_key, read_secret_key

# The first test vector of RFC 8032, section 7.1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
POINT = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNED_NOTHING = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
FINGERPRINT = bytes.fromhex("0123456789abcdef")


def secret_file(
    *,
    algorithm: bytes = b"EdBK",
    rounds: int = 0,
    checksum: bytes | None = None,
    seed: bytes = SEED,
    point: bytes = POINT,
    more: bytes = b"",
) -> str:
    """Return the text of a secret key file, put together by hand."""
    checksum = hashlib.sha512(seed + point).digest()[:8] if checksum is None else checksum
    packed = (
        algorithm
        + rounds.to_bytes(4, "big")
        + bytes(16)
        + checksum
        + FINGERPRINT
        + seed
        + point
        + more
    )
    return (
        f"untrusted comment: private key {FINGERPRINT.hex()}\n{base64.b64encode(packed).decode()}\n"
    )


def test_a_signature_is_that_of_the_standard() -> None:
    """A known key gives the signature that RFC 8032 tells, under the fingerprint that its file
    tells.
    """
    key = read_secret_key(secret_file())

    comment, text, end = key.sign(b"").decode().split("\n")

    assert comment == "untrusted comment: signed by key 0123456789abcdef"
    assert base64.b64decode(text) == b"Ed" + FINGERPRINT + bytes.fromhex(SIGNED_NOTHING)
    assert end == ""


def test_a_public_key_is_written_as_usign_does() -> None:
    """The public key of a known secret key, with its fingerprint, in two lines."""
    comment, text, end = read_secret_key(secret_file()).public.text().split("\n")

    assert comment == "untrusted comment: public key 0123456789abcdef"
    assert base64.b64decode(text) == b"Ed" + FINGERPRINT + POINT
    assert end == ""


def test_a_new_key_is_the_same_key_when_read_again() -> None:
    """What is written for a new key leads to the same signatures, which its public key proves."""
    key = new_secret_key()
    again = read_secret_key(key.text())

    signature = again.sign(b"message")

    assert signature == key.sign(b"message")
    public = read_public_key(key.public.text())
    assert public == again.public
    Ed25519PublicKey.from_public_bytes(public.point).verify(
        base64.b64decode(signature.splitlines()[1])[10:], b"message"
    )


def test_two_new_keys_differ() -> None:
    """Keys and their fingerprints are random."""
    first, second = new_secret_key(), new_secret_key()

    assert first.public.point != second.public.point
    assert first.public.fingerprint != second.public.fingerprint


BAD = {
    "nothing": ("", "no secret key file"),
    "one line": ("untrusted comment: private key\n", "no secret key file"),
    "no Base64": ("untrusted comment: private key\nRWRC*\n", "no secret key file"),
    "no comment": (secret_file().split("\n")[1] + "\n", "no secret key file"),
    "no text": ("\0\x01\x02", "no secret key file"),
    "too long": (secret_file(more=b"x"), "no secret key file"),
    "a public key": (read_secret_key(secret_file()).public.text(), "no secret key file"),
    "another algorithm": (secret_file(algorithm=b"RSBK"), "no secret key of usign's kind"),
    "another derivation": (secret_file(algorithm=b"EdXX"), "no secret key of usign's kind"),
    "encrypted": (secret_file(rounds=42), "encrypted with a passphrase"),
    "wrong checksum": (secret_file(checksum=bytes(8)), "damaged"),
    "another public key": (secret_file(point=bytes(32)), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unusable_key_is_refused_without_quoting_it(name: str) -> None:
    """Whatever is wrong with a key is said in words, and no part of the file is among them."""
    text, words = BAD[name]

    with pytest.raises(UnusableKey, match=words) as refusal:
        read_secret_key(text)

    told = f"{refusal.value!r} {refusal.value.__cause__!r} {refusal.value.__context__!r}"
    assert base64.b64encode(SEED).decode().rstrip("=")[2:-2] not in told
    assert not any(line in told for line in text.splitlines() if line)
    assert SEED.hex() not in told


def test_a_key_shows_nothing_of_itself() -> None:
    """Neither form in which a value may get into a log tells the secret."""
    key = read_secret_key(secret_file())

    assert not any(
        form in f"{key!r} {key}" for form in (repr(SEED), SEED.hex(), key.text().splitlines()[1])
    )
