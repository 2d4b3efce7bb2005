"""Feeds that are not OpenWrt's, `own/opkg` and `own/apk`, each signed with a key of its own that no
ImageBuilder brings along.

They hold a package that is nowhere else, and a `vim` newer than any other: an image with another
vim was made without the feed.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from .archives import archive_bytes
from .catalogue import Format
from .indexes import Built, index_files
from .packages import File, Package

FORMATS: Final[tuple[Format, ...]] = ("opkg", "apk")
EVERYWHERE: Final = {"opkg": "all", "apk": "noarch"}
NEWEST_VIM: Final = "99.0-r1"

# Public keys of the genuine forms; nobody has kept the other halves. The other two sign nothing.
USIGN_KEY: Final = (
    "untrusted comment: stand-in key of a feed of its"
    " own\nRWTynKV70k5OboTTHcSUN8NXeWup1dMOkCZ5TAYLb90GXxtoW02SL7lh"
)
OTHER_USIGN_KEY: Final = "RWTj7x1qV+twFNZG87+yQ8b9DO4o90gQVC9rHJj60w3iWb/nS2OwhdeK"
PEM_KEY: Final = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDb3Xes6gHOO+uEW/ZWV4CwFCTV5y
vmUZVKodQM+GBwLW9669JnptyudheDSyPtWZz/hmQh/0adGbhDl3y5OQpg==
-----END PUBLIC KEY-----
"""
OTHER_PEM_KEY: Final = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHywpcLzbDeThYjx1d/xNgkqdYGEB
0I4taYHNjOsXBjIetoI7EcckHy5Wd2aAOez6FZzSKkGo+eMqPtHJRHsX6Q==
-----END PUBLIC KEY-----
"""


def key_name(form: Format) -> str:
    """Return how a signature of the stand-in names the key: usign's fingerprint, or the first
    digits of the key's SHA-256.
    """
    if form == "opkg":
        return base64.b64decode(USIGN_KEY.splitlines()[1])[2:10].hex()
    return hashlib.sha256(PEM_KEY.encode()).hexdigest()[:16]


def feed_files(form: Format) -> dict[str, bytes]:
    """Return all files of one feed, by name."""
    packages = [_package("own-tool", "1.0-r1", form), _package("vim", NEWEST_VIM, form)]
    archives = {package.filename: archive_bytes(package) for package in packages}
    built = [
        Built(package=package, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for package, content in zip(packages, archives.values(), strict=True)
    ]
    return {**archives, **index_files(built, apk=form == "apk", key=key_name(form))}


def _package(name: str, version: str, form: Format) -> Package:
    return Package(
        name=name,
        plain_name=name,
        version=version,
        arch=EVERYWHERE[form],
        format=form,
        section="utils",
        description=f"stand-in for {name} of a feed of its own",
        depends=("libc",),
        provides=(),
        conflicts=(),
        files=(
            File(
                path=f"/usr/bin/{name}",
                content=f"stand-in for {name} {version} of a feed of its own\n".encode(),
            ),
        ),
        postinst="",
        trouble="",
    )
