"""The preview's answer as the OpenAPI document describes it."""

from typing import Any, Literal

from pydantic import Field

from asu.build_request import BuildRequest

from .answers import Answer, Key, ProblemAnswer


class ChangeAnswer(Answer):
    """One difference between what was asked for and what will be asked of the ImageBuilder."""

    type: Literal["migration", "addition", "removal"]
    action: Literal["replace", "add", "remove"]
    package: str
    from_package: str | None
    to_package: str | None
    reason: str
    automatic: bool
    rule: str
    reference: str | None
    bytes: int | None = None
    """What the change adds to the download; negative if it frees some."""


class SizeAnswer(Answer):
    """How large the image will be, in bytes."""

    download: int
    """All packages, compressed."""
    installed: int
    """All packages, unpacked."""
    image_estimate: int | None
    """The image that a running device is flashed with; null if not known."""
    image_limit: int | None
    """The largest image that the device takes; null if not known."""
    fits: Literal["yes", "tight", "no", "unknown"]
    """`tight` means that the limit lies within the error of the estimate."""
    basis: str
    """What the estimate is made from, in words."""


class PackageVersion(Answer):
    """A package that the image gains or loses."""

    package: str
    version: str


class PackageStep(Answer):
    """A package whose version changes."""

    package: str
    old: str
    new: str


class DiffCounts(Answer):
    """The difference in one line."""

    added: int
    removed: int
    upgraded: int
    downgraded: int
    unchanged: int


class ManifestDiff(Answer):
    """The difference between the whole image of `from_version` and the new one."""

    from_version: str
    added: list[PackageVersion]
    removed: list[PackageVersion]
    upgraded: list[PackageStep]
    downgraded: list[PackageStep]
    counts: DiffCounts


class PreviewAnswer(Answer):
    """What a request leads to, and why."""

    status: Literal["prepared"]
    original_packages: list[str]
    original_diff_packages: bool
    resolved_packages: list[str]
    changes: list[ChangeAnswer]
    problems: list[ProblemAnswer]
    warnings: list[str]
    checked: bool
    """Whether every name was looked up in the package indexes."""
    from_version: dict[str, Any] | None
    ignored_changes: list[str] = Field([])
    versions: dict[str, Any] = Field({})
    counts: dict[str, int] = Field({})
    resolved_profile: str
    prepared_request: BuildRequest
    """Ready for POST /api/v1/build?skip_package_resolution=true."""
    request_hash: Key
    cache_available: bool
    """Whether the image is there already."""
    prepared_by: Literal["asu", "asu-prepare"]
    """Which service made this preview; those of asu come without the forecast, which follows."""
    solved: bool = False
    """Whether all dependencies were followed, so that manifest and problems are complete."""
    manifest: dict[str, str] = Field({})
    """Name → version of all packages that the image will have; empty if it cannot be built."""
    size: SizeAnswer | None = None
    manifest_diff: ManifestDiff | None = None
