"""Images signed by the server: their bytes, and the lists that tell of them."""

from __future__ import annotations

import base64
import hashlib
import json
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from asu.errors import CertificateInvalid, SigningFailed
from asu.keys.certificate import self_signed
from asu.worker.signing import Signer
from asu.worker.signing_key import SigningKey, make_signing_key, read_signing_key
from tests.signed_images import read_signed, with_block

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE, METADATA = 0, 1
CONTENT = b"kernel and root file system" * 100_000  # More than one piece.
WITH_METADATA = with_block(CONTENT, METADATA, bytes(8) + b'{"metadata_version": "1.1"}')
THROW_AWAY = with_block(WITH_METADATA, SIGNATURE, b"a signature of the builder's")
ODD_LINE = "not a line of sums"


def sha256(data: bytes) -> str:
    """Return the hash that lists tell."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Output:
    """What a builder left in a directory, and the key to sign it with."""

    directory: Path
    key: SigningKey
    document: dict[str, Any]

    def put(
        self, name: str, content: bytes, kind: str, *, unsigned: bytes | None = None, **more: Any
    ) -> None:
        """Let the builder have made one image more."""
        (self.directory / name).write_bytes(content)
        image = {
            "name": name,
            "type": kind,
            "sha256": sha256(content),
            "sha256_unsigned": sha256(content if unsigned is None else unsigned),
            **more,
        }
        self.document["profiles"]["device"]["images"].append(image)

    def sign(self) -> dict[str, dict[str, Any]]:
        """Sign; return the images that the document then tells of, by name."""
        signed = Signer(self.key).sign(self.document, self.directory)
        return {image["name"]: image for image in signed["profiles"]["device"]["images"]}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return (self.directory / name).read_bytes()


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Return a directory without an image, and a new key."""
    make_signing_key(tmp_path / "key")
    directory = tmp_path / "output"
    directory.mkdir()
    document = {
        "metadata_version": 1,
        "target": "ath79/generic",
        "profiles": {"device": {"titles": [{"title": "A device"}], "images": []}},
    }
    return Output(directory, read_signing_key(tmp_path / "key"), document)


@pytest.mark.parametrize(
    "content", [WITH_METADATA, THROW_AWAY], ids=["unsigned", "signed by a throw-away key"]
)
def test_a_signed_image_is_the_unsigned_one_with_certificate_and_signature(
    output: Output, content: bytes
) -> None:
    """The metadata stays, a builder's own signature is replaced, and the key of the certificate
    proves what stands before it.
    """
    output.put("a.bin", content, "sysupgrade", unsigned=WITH_METADATA)

    output.sign()

    signed = read_signed(output.read("a.bin"))
    assert signed.message == WITH_METADATA
    assert signed.kinds == [METADATA, SIGNATURE]
    assert signed.chain == output.key.chain
    comment, text, _ = signed.signature.decode().split("\n")
    assert (
        comment
        == f"untrusted comment: signed by key {output.key.certificate.key.fingerprint.hex()}"
    )
    packed = base64.b64decode(text)
    assert packed[:10] == b"Ed" + output.key.certificate.key.fingerprint
    Ed25519PublicKey.from_public_bytes(output.key.certificate.key.point).verify(
        packed[10:], signed.message
    )


def test_the_lists_tell_of_the_signed_bytes(output: Output) -> None:
    """Hash and size are those of the bytes that are served, in the answer and in profiles.json."""
    output.put("a.bin", THROW_AWAY, "sysupgrade", unsigned=WITH_METADATA, size=len(THROW_AWAY))

    image = output.sign()["a.bin"]

    content, profiles = output.read("a.bin"), output.read("profiles.json")
    assert image == {
        "name": "a.bin",
        "type": "sysupgrade",
        "sha256": sha256(content),
        "sha256_unsigned": sha256(WITH_METADATA),
        "size": len(content),
    }
    assert json.loads(profiles) == {
        **output.document,
        "profiles": {"device": {"titles": [{"title": "A device"}], "images": [image]}},
    }


def test_profiles_json_stays_one_line_of_sorted_keys(output: Output) -> None:
    """It keeps the form in which the ImageBuilder writes it."""
    output.put("a.bin", CONTENT, "factory")

    output.sign()

    assert output.read("profiles.json").startswith(
        b'{"metadata_version":1,"profiles":{"device":{"images":[{"name":"a.bin","sha256":"'
    )
    assert b"\n" not in output.read("profiles.json")


def test_a_size_that_the_builder_does_not_tell_is_not_made_up(output: Output) -> None:
    """Releases before 25.12 tell no size; their answers keep their form."""
    output.put("a.bin", CONTENT, "factory")

    assert set(output.sign()["a.bin"]) == {"name", "type", "sha256", "sha256_unsigned"}


@pytest.mark.parametrize("kind", ["sysupgrade", "factory", "combined", "combined-efi", "sdcard"])
def test_images_to_flash_are_signed(output: Output, kind: str) -> None:
    """Whatever a device or a person writes to flash or disk as a whole."""
    output.put("a.bin", CONTENT, kind)

    output.sign()

    assert read_signed(output.read("a.bin")).message == CONTENT


@pytest.mark.parametrize("kind", ["rootfs", "kernel", "preloader.bin"])
def test_parts_of_images_are_left_alone(output: Output, kind: str) -> None:
    """A signature after a part would stand in the middle of what it becomes a part of."""
    output.put("a.bin", THROW_AWAY, kind)
    before = dict(output.document["profiles"]["device"]["images"][0])

    assert output.sign() == {"a.bin": before}
    assert output.read("a.bin") == THROW_AWAY


def test_the_same_image_is_signed_in_the_same_bytes(output: Output) -> None:
    """The same request leads to the same image again, although the builder's own signature differs
    from container to container.
    """
    output.put("a.bin", THROW_AWAY, "sysupgrade", unsigned=WITH_METADATA)
    output.put(
        "b.bin",
        with_block(WITH_METADATA, SIGNATURE, b"another container's"),
        "sysupgrade",
        unsigned=WITH_METADATA,
    )

    output.sign()

    assert output.read("a.bin") == output.read("b.bin")


def test_nothing_else_is_left_in_the_directory(output: Output) -> None:
    """Neither a signature nor a certificate lies beside the images."""
    output.put("a.bin", CONTENT, "sysupgrade")

    output.sign()

    assert {path.name for path in output.directory.iterdir()} == {"a.bin", "profiles.json"}


def test_what_the_builder_did_not_make_is_not_signed(output: Output) -> None:
    """Without its signature an image must have the hash that the builder told for that."""
    output.put("a.bin", THROW_AWAY, "sysupgrade", unsigned=CONTENT)

    with pytest.raises(SigningFailed, match=r"a\.bin is not what the ImageBuilder says"):
        output.sign()


def test_an_old_builder_that_tells_one_hash_only_is_believed(output: Output) -> None:
    """Where no hash of the unsigned image is told there is nothing to compare with."""
    output.put("a.bin", CONTENT, "sysupgrade")
    del output.document["profiles"]["device"]["images"][0]["sha256_unsigned"]

    assert set(output.sign()["a.bin"]) == {"name", "type", "sha256"}
    assert read_signed(output.read("a.bin")).message == CONTENT


def test_a_certificate_that_has_ended_signs_nothing(output: Output) -> None:
    """A worker may run longer than its certificate; devices would refuse what it signs then."""
    output.put("a.bin", CONTENT, "sysupgrade")
    signer = Signer(output.key, clock=lambda: float(output.key.certificate.expires_at))

    with pytest.raises(CertificateInvalid, match="not valid now") as failure:
        signer.sign(output.document, output.directory)

    assert output.read("a.bin") == CONTENT
    assert not failure.value.is_passing, "each try would build everything and end the same"


def test_files_that_cannot_be_written_are_our_failure(output: Output) -> None:
    """A file that is gone, or a disk that is full, ends in words and not in a mistake of the
    server.
    """
    output.put("a.bin", CONTENT, "sysupgrade")
    (output.directory / "a.bin").unlink()

    with pytest.raises(
        SigningFailed, match=r"could not be rewritten \(FileNotFoundError\)"
    ) as failure:
        output.sign()

    assert failure.value.fault == "infra"


def test_a_chain_of_two_goes_into_the_image_as_it_is(output: Output) -> None:
    """Devices that trust the authority alone find its certificate first."""
    authority = self_signed(output.key.secret, valid_from=0, expires_at=2**40)
    key = SigningKey(output.key.secret, authority + output.key.chain, output.key.certificate)
    output.put("a.bin", CONTENT, "sysupgrade")

    Signer(key).sign(output.document, output.directory)

    assert read_signed(output.read("a.bin")).chain == authority + output.key.chain


def test_a_large_image_takes_no_more_memory_than_a_small_one(output: Output) -> None:
    """An image may have a GiB; the worker holds a few pieces of it at a time."""
    large = 48 * 1024 * 1024
    output.put("a.bin", b"", "sdcard")
    with (output.directory / "a.bin").open("wb") as file:
        file.truncate(large)
    del output.document["profiles"]["device"]["images"][0]["sha256_unsigned"]
    tracemalloc.start()
    try:
        output.sign()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (output.directory / "a.bin").stat().st_size > large
    assert peak < large / 8
