"""Decide which package feeds and keys of a request are admitted; nothing is fetched from here.

The worker may rely on this: names are `RepositoryName` and none of the builder's own; each address
is `FeedUrl.text` and each key `FeedKey.text`, in the form that the package manager wants.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from asu.errors import (
    MalformedRepository,
    MalformedRepositoryKey,
    RepositoryNotAllowed,
    UnsuitableRepositoryKey,
)
from asu.resolution import FeedKey, FeedUrl, InvalidFeedError, Version

from .package_manager import package_manager_of

SHOWN = 3  # Entries of the allow-list that a refusal names; overview.json has all of them.
SHOWN_LENGTH = 100  # Characters of an address that a refusal repeats, and of those entries.
KEY_KINDS = {"opkg": "usign", "apk": "pem"}
KEY_NAMES = {"usign": "usign's public key", "pem": "a PEM file with an EC public key"}
# opkg wants a directory. These are endings of files in one, which people copy from their browser.
DIRECTORY_FILES = (".adb", ".apk", ".gz", ".ipk", ".json", ".manifest", ".sig")


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """The operator's allow-list; with an empty one no feed is admitted."""

    allowed: tuple[FeedUrl, ...]

    @classmethod
    def of(cls, allow_list: Iterable[str]) -> Self:
        """Read an allow-list; raise InvalidFeedError."""
        return cls(tuple(map(FeedUrl.parse, allow_list)))

    def admit(self, repositories: Mapping[str, str], keys: Iterable[str], version: Version) -> None:
        """Return if a request's feeds and keys are admitted.

        Raise RepositoryNotAllowed, MalformedRepository, MalformedRepositoryKey or
        UnsuitableRepositoryKey.
        """
        for name, text in repositories.items():
            self._admit_feed(name, text, version)
        known: dict[str, FeedKey] = {}
        for number, text in enumerate(keys, start=1):
            key = _admit_key(number, text, version)
            # A builder finds a usign key by its fingerprint, which anybody can write into another
            # key. Only one of the two would count.
            if known.setdefault(key.file_name, key) != key:
                raise MalformedRepositoryKey(
                    number=number,
                    reason="has the fingerprint of another one before it; send the one that signs "
                    "the feed",
                )
        if known and not repositories:
            raise MalformedRepositoryKey(
                number=1,
                reason="belongs to no feed; name its feed in `repositories`, or leave the key out",
            )

    def _admit_feed(self, name: str, text: str, version: Version) -> None:
        if not self.allowed:
            raise RepositoryNotAllowed(
                repository=name, reason="this server admits no repositories but OpenWrt's own"
            )
        if name.lower() == "imagebuilder" or name.lower().startswith("openwrt_"):
            raise MalformedRepository(
                repository=name, reason="is a name of the ImageBuilder's own feeds; choose another"
            )
        try:
            url = FeedUrl.parse(text)
        except InvalidFeedError as error:
            raise MalformedRepository(repository=name, reason=error) from None
        if not any(map(url.lies_below, self.allowed)):
            raise RepositoryNotAllowed(
                repository=url.text[:SHOWN_LENGTH],
                reason=f"this server admits what lies below {self._shown()}",
            )
        _check_form(name, url, version)

    def _shown(self) -> str:
        shown = [url.text for url in self.allowed[:SHOWN]]
        while len(", ".join(shown)) > SHOWN_LENGTH:
            shown.pop()
        more = len(self.allowed) - len(shown)
        if not shown:
            return f"{more} addresses, which overview.json has"
        return ", ".join(shown) + (f" and {more} more addresses" if more else "")


def _check_form(name: str, url: FeedUrl, version: Version) -> None:
    """Check that an address is an index for apk or a directory for opkg.

    Either takes the other's without an error and finds nothing.
    """
    last = url.path[-1] if url.path else ""
    if package_manager_of(version) == "apk":
        if not last.endswith(".adb"):
            reason = (
                f"has no index for apk, which {version} installs with; give the address of its "
                "packages.adb, which ends in .adb"
            )
            raise MalformedRepository(repository=name, reason=reason)
    elif last.endswith(DIRECTORY_FILES):
        reason = (
            f"is no directory for opkg, which {version} installs with; give the address of the "
            "directory in which its Packages.gz lies"
        )
        raise MalformedRepository(repository=name, reason=reason)


def _admit_key(number: int, text: str, version: Version) -> FeedKey:
    try:
        key = FeedKey.parse(text)
        if key.kind == "pem":
            _check_elliptic(key)
    except InvalidFeedError as error:
        raise MalformedRepositoryKey(number=number, reason=error) from None
    manager = package_manager_of(version)
    if key.kind != KEY_KINDS[manager]:
        wanted = KEY_NAMES[KEY_KINDS[manager]]
        raise UnsuitableRepositoryKey(
            number=number, kind=KEY_NAMES[key.kind], version=version, manager=manager, wanted=wanted
        )
    return key


def _check_elliptic(key: FeedKey) -> None:
    """Check that a PEM file is an EC public key as openssl writes it; raise InvalidFeedError."""
    # Few requests bring a key; the others save the library's time and memory.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_der_public_key,
    )

    try:
        public = load_der_public_key(key.content)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidFeedError(
            "holds no public key that can be read; send what `openssl ec -pubout` writes"
        ) from None
    if not isinstance(public, EllipticCurvePublicKey):
        raise InvalidFeedError("is no EC public key, and apk reads no others")
    if public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != key.content:
        # Such as a compressed point: another spelling of a key would be another build.
        raise InvalidFeedError(
            "is an EC public key in an unusual encoding; send what `openssl ec -pubout` writes"
        )
