"""What a worker does to a build before it publishes: sign it, or without a key leave it as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from asu.provenance.envelope import Seal


class Signing(Protocol):
    """A worker's way to sign."""

    def sign(self, document: Mapping[str, Any], directory: Path, /) -> Mapping[str, Any]:
        """Sign the images in `directory` that profiles.json, `document`, lists; return it as it is then. Raises SigningFailed."""

    def seal(self, message: bytes, /) -> Sequence[Seal]:
        """Return the signatures of a message."""


class Unsigned:
    """Without a key: what the ImageBuilder made is what is published."""

    def sign(self, document: Mapping[str, Any], _: Path, /) -> Mapping[str, Any]:
        """See Signing."""
        return document

    def seal(self, _: bytes, /) -> Sequence[Seal]:
        """See Signing."""
        return ()


UNSIGNED = Unsigned()
