"""The build request, as clients send it.

Patterns are anchored, ASCII only and narrower than what a shell or make could understand: make
expands `$(…)` and `%` by itself, so argument lists alone protect nothing. asu-prepare has the same
rules; contract tests compare both.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from .resolution import WITHHELD, InvalidVersionError, Version, normalised_request

MAX_PACKAGES = 1_000  # The largest request of a real device seen has 372 packages.
MAX_REPOSITORIES = 16
MAX_NUMBER = 1_000_000_000

# Names joined with commas are one name, which no index has. An empty one means nothing.
NAME = r"[A-Za-z0-9][A-Za-z0-9_.,+-]{0,127}"
# pydantic's regular expressions match `$` only at the very end, so a trailing newline is refused.
PackageName = Annotated[str, StringConstraints(pattern=rf"^(?:-?{NAME})?$", max_length=129)]
InstalledName = Annotated[str, StringConstraints(pattern=rf"^{NAME}$", max_length=128)]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+,~-]{1,128}$")]
TARGET = r"[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}"
Target = Annotated[str, StringConstraints(pattern=rf"^{TARGET}$")]
Profile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,+-]{0,127}$")]
VersionCode = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9_.+-]{0,63})?$")]
# Printable ASCII but quotes and backslash.
RepositoryUrl = Annotated[str, StringConstraints(pattern=r"^[!#-&(-\[\]-~]{1,512}$")]
# Ids of rules, and of changes that concern one package: new-default-NAME, gone-default-NAME.
ChangeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,159}$")]


def _no_file_of_others(name: str) -> str:
    """Refuse names of files that opkg keeps beside the list of a feed, which has its name."""
    if name.endswith((".sig", ".ipk", ".apk")):
        raise ValueError("must not be the name of another file")
    return name


# Never an option: no dash before it.
RepositoryName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    AfterValidator(_no_file_of_others),
]


def _no_placeholder(script: str | None) -> str | None:
    if script == WITHHELD:
        raise ValueError("must be the script itself")
    return script


def _version(text: str) -> str:
    try:
        return Version.parse(text).text
    except InvalidVersionError:
        raise ValueError(
            "must be a version such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT or SNAPSHOT"
        ) from None


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        # pydantic makes an error of the field only of ValueError.
        raise ValueError("must be a number of megabytes")  # noqa: TRY004
    return value


def _not_too_many(limit: int) -> BeforeValidator:
    """Count the entries of a mapping before pydantic checks them all, which can take 250 ms."""

    def check(value: object) -> object:
        if isinstance(value, dict) and len(value) > limit:
            raise PydanticCustomError("too_long", "too many entries", {"max_length": limit})
        return value

    return BeforeValidator(check)


VersionName = Annotated[str, StringConstraints(max_length=32), AfterValidator(_version)]


class BuildRequest(BaseModel):
    """A firmware image with exactly these packages, for this device, in this version.

    Unknown fields are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    distro: Annotated[str, StringConstraints(max_length=32)] = "openwrt"
    version: Annotated[VersionName, Field(examples=["24.10.4"])]
    version_code: VersionCode = ""
    target: Annotated[Target, Field(examples=["ath79/generic"])]
    profile: Annotated[Profile, Field(examples=["tplink_archer-c7-v5"])]
    packages: Annotated[
        list[PackageName], Field(max_length=MAX_PACKAGES, examples=[["luci", "vim", "-ppp"]])
    ] = []
    packages_versions: Annotated[
        dict[InstalledName, PackageVersion],
        Field(max_length=MAX_PACKAGES),
        _not_too_many(MAX_PACKAGES),
    ] = {}
    diff_packages: bool = False
    defaults: Annotated[str | None, Field(max_length=65_536), AfterValidator(_no_placeholder)] = (
        None
    )
    # The largest is a setting; this bound is for what is no size at all.
    rootfs_size_mb: Annotated[
        Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None, BeforeValidator(_no_boolean)
    ] = None
    filesystem: (
        Literal["squashfs", "ext4", "ubifs", "erofs", "jffs2", "jffs2-nand", "targz", "cpiogz"]
        | None
    ) = None
    repositories: Annotated[
        dict[RepositoryName, RepositoryUrl],
        Field(max_length=MAX_REPOSITORIES),
        _not_too_many(MAX_REPOSITORIES),
    ] = {}
    repositories_mode: Literal["append", "replace"] = "replace"
    repository_keys: Annotated[
        list[Annotated[str, StringConstraints(max_length=4_096)]],
        Field(max_length=MAX_REPOSITORIES),
    ] = []
    client: Annotated[str | None, Field(max_length=256)] = None
    from_version: Annotated[
        VersionName | None, BeforeValidator(lambda value: None if value == "" else value)
    ] = None
    ignored_changes: Annotated[list[ChangeId], Field(max_length=100)] = []
    leave_out_missing: Annotated[
        bool, Field(description="Whether packages that no feed has are left out.")
    ] = False
    any_order: Annotated[
        bool,
        Field(
            description=(
                "Whether the order of `packages` means nothing, as in previews of a "
                "device's own list. It counts in releases with opkg alone."
            )
        ),
    ] = False

    def normalised(self) -> dict[str, Any]:
        """Return the request as a plain mapping, spellings that mean the same brought to one."""
        return normalised_request(self.model_dump())


# Fields that may differ in requests for one image, and what clients see in their place.
ASKERS_OWN: Mapping[str, Any] = {
    "client": None,
    "from_version": None,
    "ignored_changes": [],
    "leave_out_missing": False,
}


def without_asker(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without the fields of its first client: a build is answered to all alike."""
    return {**request, **{name: value for name, value in ASKERS_OWN.items() if name in request}}


def echo(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as answers show it, without the first-boot script and `ASKERS_OWN`.

    Where there is a script, `defaults` is a fixed text, which no request may bring.
    """
    return {**without_asker(request), "defaults": WITHHELD if request.get("defaults") else None}


BUILD_KEY = re.compile(r"[0-9a-f]{64}")
KEY_DIGITS = re.compile(r"[0-9a-f]{12,64}")  # File names have twelve; people may type those.
