"""What is asked for: twenty builds, three of which can never be made.

All are of one target and two releases, one of each package manager, so that a run needs two
ImageBuilders. The bad ones end by the user's fault however often they are asked for; all others
must end as an image, whatever breaks on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

TARGET = "ath79/generic"
VERSIONS = ("24.10.4", "25.12.1")
PROFILES = (
    "tplink_archer-c7-v5",
    "8dev_carambola2",
    "glinet_gl-ar150",
    "netgear_wndr3800",
    "ubnt_unifiac-lite",
)
SELECTIONS = (("luci",), ("luci", "tmux", "vim"), ("curl", "tmux"), ("vim",))
FINE = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One build; `code` is the error that it must end with, if it can never be made."""

    name: str
    version: str
    profile: str
    packages: tuple[str, ...]
    code: str | None = None

    def body(self, random: Random) -> dict[str, Any]:
        """Return a request for it; the order of packages and the client's name must not matter."""
        packages = random.sample(self.packages, len(self.packages))
        return {
            "version": self.version,
            "target": TARGET,
            "profile": self.profile,
            "packages": packages,
            "any_order": True,  # Else a list for opkg in another order is another build.
            "client": f"nemesis/{random.randrange(9)}",
        }


def _fine() -> list[Wish]:
    combinations = [
        (version, profile, packages)
        for packages in SELECTIONS
        for profile in PROFILES
        for version in VERSIONS
    ]
    return [
        Wish(
            name=f"{version} {profile} {'+'.join(packages)}",
            version=version,
            profile=profile,
            packages=packages,
        )
        for version, profile, packages in combinations[:FINE]
    ]


BAD = (
    Wish(
        name="packages that hold the same file",
        version=VERSIONS[0],
        profile=PROFILES[0],
        packages=("test-clash-a", "test-clash-b"),
        code="impossible-selection",
    ),
    Wish(
        name="packages that exclude each other",
        version=VERSIONS[1],
        profile=PROFILES[0],
        packages=("test-conflict-a", "test-conflict-b"),
        code="impossible-selection",
    ),
    Wish(
        name="too big",
        version=VERSIONS[0],
        profile="tplink_tl-wr841hp-v2",
        packages=("test-big",),
        code="image-too-big",
    ),
)
WISHES: tuple[Wish, ...] = (*_fine(), *BAD)
BY_NAME = {wish.name: wish for wish in WISHES}
