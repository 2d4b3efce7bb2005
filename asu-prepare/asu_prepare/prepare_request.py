"""The request for a preview: a build request as clients send it.

The values end in the command line of an ImageBuilder, so the patterns are narrow. The API has the
same rules, and contract tests send the same corpus to both. Unknown fields are ignored: clients
replay answers of other servers.
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from .resolution import WITHHELD, InvalidVersionError, Version

MAX_PACKAGES = 1_000  # The largest list seen from a real device has 372 names.
MAX_REPOSITORIES = 16  # A release has five feeds of its own.
# Far above what the API admits by its own setting; this service only passes the script on.
MAX_DEFAULTS = 64 * 1024
MAX_ROOTFS_MB = 1_000_000_000  # For what is no size at all; the API has its own, smaller limit.

# In pydantic `$` matches at the very end only, so a trailing newline is refused.
# Names joined with commas are one name, which no index has. An empty one means nothing.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.,+-]{0,127}"
PackageEntry = Annotated[str, StringConstraints(pattern=rf"^(?:-?{_NAME})?$")]
PackageName = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.+,~-]{1,128}$")]
Target = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}$")]
Profile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,+-]{0,127}$")]
VersionCode = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9_.+-]{0,63})?$")]
# Printable ASCII without the space, both quotes and the backslash.
RepositoryUrl = Annotated[str, StringConstraints(pattern=r"^[!#-&(-\[\]-~]{1,512}$")]
RepositoryKey = Annotated[str, StringConstraints(max_length=4_096)]
# The id of a rule, or of a change from the defaults: new-default-NAME, gone-default-NAME.
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


def _a_version(text: str) -> str:
    try:
        return Version.parse(text).text
    except InvalidVersionError:
        raise ValueError("must be a version") from None


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        # Only a ValueError becomes an error of the field.
        raise ValueError("must be a number of megabytes")  # noqa: TRY004
    return value


def _not_too_many(limit: int) -> BeforeValidator:
    """Count the entries of a mapping before pydantic checks them all, which can take 250 ms."""

    def check(value: object) -> object:
        if isinstance(value, dict) and len(value) > limit:
            raise PydanticCustomError("too_long", "too many entries", {"max_length": limit})
        return value

    return BeforeValidator(check)


def _absent_when_empty(value: object) -> object:
    return None if value == "" else value


VersionName = Annotated[str, StringConstraints(max_length=32), AfterValidator(_a_version)]


class PrepareRequest(BaseModel):
    """A build request: which packages, for which device, in which version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    distro: Annotated[
        str, StringConstraints(max_length=32), Field(description="Only `openwrt` is served.")
    ] = "openwrt"
    version: Annotated[VersionName, Field(description="The wanted version.", examples=["25.12.0"])]
    version_code: Annotated[
        VersionCode,
        Field(
            description="The revision that the version must have.", examples=["r28739-d9340319c6"]
        ),
    ] = ""
    target: Annotated[
        Target, Field(description="Target and subtarget.", examples=["lantiq/xrx200"])
    ]
    profile: Annotated[
        Profile, Field(description="Profile id or board name.", examples=["bt_homehub-v5a"])
    ]
    packages: Annotated[
        list[PackageEntry],
        Field(
            max_length=MAX_PACKAGES,
            description="Names to install, and `-names` to take away.",
            examples=[["luci", "auc", "-ppp"]],
        ),
    ] = []
    packages_versions: Annotated[
        dict[PackageName, PackageVersion],
        Field(
            max_length=MAX_PACKAGES,
            description="Versions that the image must have; its names stand for `packages` where "
            "that is empty.",
        ),
        _not_too_many(MAX_PACKAGES),
    ] = {}
    diff_packages: Annotated[
        bool,
        Field(description="Whether `packages` is the whole list of the device, defaults included."),
    ] = False
    defaults: Annotated[
        str | None,
        Field(max_length=MAX_DEFAULTS, description="A script for the first boot."),
        AfterValidator(_no_placeholder),
    ] = None
    rootfs_size_mb: Annotated[
        Annotated[int, Field(ge=1, le=MAX_ROOTFS_MB)] | None, BeforeValidator(_no_boolean)
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
        list[RepositoryKey],
        Field(max_length=MAX_REPOSITORIES),
    ] = []
    client: Annotated[
        str | None,
        Field(
            max_length=256,
            description="Name and version of the client.",
            examples=["owut/2026.07.08-r1"],
        ),
    ] = None
    from_version: Annotated[
        VersionName | None,
        BeforeValidator(_absent_when_empty),
        Field(
            description="The version that the device runs now; without it every change up to the "
            "wanted version applies.",
            examples=["24.10.4"],
        ),
    ] = None
    ignored_changes: Annotated[
        list[ChangeId],
        Field(
            max_length=100,
            description="Changes that are not wanted, by their `rule`.",
            examples=[["auc-owut", "new-default-kmod-dsa-gswip"]],
        ),
    ] = []
    leave_out_missing: Annotated[
        bool,
        Field(description="Whether packages that no feed has are left out, each as a change."),
    ] = False
    any_order: Annotated[
        bool,
        Field(
            description="Whether the order of `packages` means nothing, as in previews of a "
            "device's own list. It counts in releases with opkg alone."
        ),
    ] = False
