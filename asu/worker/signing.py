"""Signs the images of a build with the server's key.

The bytes are those that OpenWrt's own tools would leave:

    fwtool -t -s /dev/null IMG; cp KEY.ucert IMG.ucert; usign -S -m IMG -s KEY -x IMG.sig
    ucert -A -c IMG.ucert -x IMG.sig; fwtool -S IMG.ucert IMG

The builder signs with a key that is thrown away with its container; our signature replaces that
one. Only an image whose hash without signature is the one in profiles.json is signed.
"""

import copy
import hashlib
import logging
import mmap
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asu.disk_space import FULL, disk_error
from asu.errors import CertificateInvalid, SigningFailed
from asu.keys import firmware_trailer
from asu.keys.certificate import signature_blob
from asu.keys.usign import UnusableKey
from asu.provenance.envelope import Seal

from .profiles_json import images_of, written
from .signing_key import SigningKey, read_signing_key

log = logging.getLogger(__name__)

# A worker that starts so long before the certificate expires warns the operator.
NOTICE = timedelta(days=30)
SIGNED_TYPES = frozenset({"sysupgrade", "factory", "combined", "combined-efi", "sdcard"})


@dataclass(frozen=True, slots=True)
class SignedFile:
    """The SHA-256 and the size in bytes of a signed image."""

    sha256: str
    size: int


def read_signer(path: Path) -> "Signer":
    """Return what signs with the key at `path`, and log its fingerprint.

    Raises UnusableKey, also for an expired certificate.
    """
    key = read_signing_key(path)
    key.check_time(time.time())
    expiry = datetime.fromtimestamp(key.certificate.expires_at, UTC)
    level = logging.WARNING if expiry < datetime.now(UTC) + NOTICE else logging.INFO
    log.log(
        level,
        "images are signed by key %s, whose certificate is valid until %s",
        key.secret.public.fingerprint.hex(),
        expiry.date(),
    )
    return Signer(key)


class Signer:
    """Signs with one key; `clock` returns the seconds since 1970."""

    def __init__(self, key: SigningKey, *, clock: Callable[[], float] = time.time) -> None:
        self._key, self._clock = key, clock

    def sign(self, document: Mapping[str, Any], directory: Path) -> dict[str, Any]:
        """Sign the images in `directory` that `document`, profiles.json, lists; return it changed.

        `sha256` and `size` become those of the signed images, also in the directory;
        `sha256_unsigned` stays. Raises SigningFailed.
        """
        self._expect_valid_certificate()
        # An image that is listed twice is signed once.
        listed = [image for image in images_of(document) if image.get("type") in SIGNED_TYPES]
        try:
            signed = {
                name: self._sign_image(directory / name, image.get("sha256_unsigned"))
                for name, image in {image["name"]: image for image in listed}.items()
            }
            changed = _with_signed(document, signed)
            (directory / "profiles.json").write_bytes(written(changed))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise disk_error(error, "the images could not be signed") from error
            reason = f"the images could not be rewritten ({type(error).__name__})"
            raise SigningFailed(reason=reason) from error
        return changed

    def seal(self, message: bytes) -> list[Seal]:
        """Return the signature of a message that is not an image."""
        secret = self._key.secret
        return [Seal(secret.public.fingerprint.hex(), secret.signature(message))]

    def _expect_valid_certificate(self) -> None:
        try:
            self._key.check_time(self._clock())
        except UnusableKey as error:
            log.error("images cannot be signed: %s", error)  # noqa: TRY400  # The words say it all.
            raise CertificateInvalid from error

    def _sign_image(self, image: Path, unsigned: str | None) -> SignedFile:
        firmware_trailer.strip_signature(image)
        size, checksum, digest = image.stat().st_size, 0, hashlib.sha256()
        with image.open("r+b") as file:
            for piece in firmware_trailer.pieces(file, size):
                checksum = zlib.crc32(piece, checksum)
                digest.update(piece)
            if unsigned and digest.hexdigest() != unsigned:
                reason = f"{image.name} is not what the ImageBuilder says that it made"
                raise SigningFailed(reason=reason)
            # Ed25519 reads the message twice. A mapped image takes no memory of the worker.
            with (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
                memoryview(mapped) as message,
            ):
                chain = self._key.chain + signature_blob(self._key.secret.sign(message))
            block = firmware_trailer.signature_block(chain, before=checksum)
            file.seek(size)
            file.write(block)
        digest.update(block)
        return SignedFile(digest.hexdigest(), size + len(block))


def _with_signed(document: Mapping[str, Any], signed: Mapping[str, SignedFile]) -> dict[str, Any]:
    """Return profiles.json with the hashes of the signed images, and sizes where it has sizes."""
    changed = copy.deepcopy(dict(document))
    for image in images_of(changed):
        if file := signed.get(image["name"]):
            image["sha256"] = file.sha256
            if "size" in image:
                image["size"] = file.size
    return changed
