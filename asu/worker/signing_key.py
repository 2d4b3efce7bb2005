"""The server's key with its certificates: read when a worker starts, and made by `asu key`."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from asu.keys import certificate
from asu.keys.certificate import Certificate
from asu.keys.firmware_trailer import MAX_SIGNATURE
from asu.keys.usign import SecretKey, UnusableKey, new_secret_key, read_secret_key

# Seconds, ten years: a self-signed key has no authority that issues the next certificate.
LIFETIME = 10 * 365 * 86_400

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret key, its chain as devices get it, and the last certificate of the chain."""

    secret: SecretKey
    chain: bytes
    certificate: Certificate

    def check_time(self, now: float) -> None:
        """Raise UnusableKey if a device with the right time would refuse the certificate."""
        if now < self.certificate.valid_from:
            raise UnusableKey("its certificate is not valid yet; look at this machine's clock")
        if now >= self.certificate.expires_at:
            raise UnusableKey(
                "its certificate has expired; have another one issued for the same key (ucert -I), "
                "or make a new key (asu key)"
            )


def read_signing_key(path: Path) -> SigningKey:
    """Read the secret key at `path` and the chain beside it; raises UnusableKey with advice."""
    chain_path = _beside(path, ".ucert")
    secret = _read(path, lambda data: read_secret_key(data.decode("latin-1")))
    data, chain = _read(chain_path, lambda data: (data, certificate.read_chain(data)))
    if chain[-1].key != secret.public:
        raise UnusableKey(
            f"{chain_path}: its last certificate vouches for another key than {path}; "
            "issue one for this key (ucert -I)"
        )
    if len(data) + len(certificate.signature_blob(secret.sign(b""))) > MAX_SIGNATURE:
        raise UnusableKey(
            f"{chain_path}: its certificates are more than fits into an image's signature "
            f"({MAX_SIGNATURE} bytes); use a shorter chain"
        )
    return SigningKey(secret, data, chain[-1])


def make_signing_key(path: Path) -> list[Path]:
    """Make a secret key at `path`, its public key and certificate beside it; return their paths.

    Only the owner may read the secret key. Raises UnusableKey where one of the files exists or
    cannot be written.
    """
    secret, now = new_secret_key(), int(time.time())
    chain = certificate.self_signed(secret, valid_from=now, expires_at=now + LIFETIME)
    contents = {
        path: (secret.text().encode(), 0o600),
        _beside(path, ".pub"): (secret.public.text().encode(), 0o644),
        _beside(path, ".ucert"): (chain, 0o644),
    }
    for file in contents:
        if file.exists():
            raise UnusableKey(f"{file} is there already and is left as it is; name another path")
    try:
        for file, (content, mode) in contents.items():
            made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(made, "wb") as target:
                target.write(content)
    except OSError as error:
        raise UnusableKey(f"{error.filename}: {error.strerror}") from error
    return list(contents)


def _read(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Read and parse a file; every error names the file."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        advice = "`asu key` makes a key with its certificate"
        raise UnusableKey(f"{path}: {error.strerror}; {advice}") from error
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error}") from error


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
