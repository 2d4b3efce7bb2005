"""The documents of metadata as the OpenAPI document describes them; see `answers`."""

from typing import Any

from pydantic import Field

from .answers import Answer


class LatestAnswer(Answer):
    """The current releases, newest first."""

    latest: list[str]


class PackageChangeAnswer(Answer):
    """What device clients replace or remove by themselves."""

    source: str
    revision: int
    target: str = ""
    mandatory: bool = False


class BranchAnswer(Answer):
    """A branch, its versions and its targets."""

    name: str
    path: str
    """Where its versions are; `{version}` is to be replaced."""
    enabled: bool
    snapshot: bool
    path_packages: str
    package_changes: list[PackageChangeAnswer]
    versions: list[str]
    targets: dict[str, str]
    """Target → architecture."""
    branch_off_rev: int = 0


class ReleasesAnswer(LatestAnswer):
    """The current releases, and all releases that are served, newest first."""

    versions: list[str]


class OverviewAnswer(LatestAnswer):
    """Releases, branches by name, and what this server allows."""

    branches: dict[str, BranchAnswer]
    upstream_url: str
    server: dict[str, Any]


class TargetPackagesAnswer(Answer):
    """The packages of a target."""

    architecture: str
    packages: dict[str, str]


class ProfileAnswer(Answer):
    """A profile with the metadata of its target; empty where there is no such profile."""

    id: str = ""
    target: str = ""
    arch_packages: str = ""
    version_number: str = ""
    version_code: str = ""
    metadata_version: int = 1
    build_at: str = ""
    device_packages: list[str] = Field([])
    supported_devices: list[str] = Field([])


class RevisionAnswer(Answer):
    """The revision of a target."""

    revision: str


class DeviceRelease(Answer):
    """A device in one release."""

    version: str
    target: str
    profile: str


class DeviceAnswer(Answer):
    """A device, named as in the newest release that has it."""

    title: str
    titles: list[str]
    """All names under which it is sold."""
    target: str
    profile: str
    releases: list[DeviceRelease]
    """The newest release of each branch that has the device, newest first."""


class DevicesAnswer(Answer):
    """Devices that have every word of the search, best first."""

    devices: list[DeviceAnswer]


class PackageAnswer(Answer):
    """A package that can be installed."""

    name: str
    version: str
    size: int
    """Bytes of its file."""
    description: str
    """Empty where the index has none."""


class PackagesAnswer(Answer):
    """Packages that have every word of the search, those with it in the name first."""

    packages: list[PackageAnswer]


class StoredFileAnswer(Answer):
    """A file of a build."""

    name: str
    size: int
    sha256: str


class ListingAnswer(Answer):
    """The files of a build."""

    files: list[StoredFileAnswer]
