"""The answers as the OpenAPI file describes them.

They document and are tested against; most answers are written as bytes long before a router hands
them out. New keys may come with any version, so none of these forbids what it does not name.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from asu.build_request import BuildRequest

Key = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the resolved request: the build's one identity.",
    ),
]
# LuCI knows these words and no others.
Step = Literal[
    "init",
    "container_setup",
    "validate_revision",
    "validate_manifest",
    "calculate_packages_hash",
    "building_image",
    "signing_images",
    "done",
    "failed",
]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProblemAnswer(_Answer):
    """A package that cannot be had as it was asked for."""

    package: str
    kind: Annotated[
        str,
        Field(
            description="In previews unknown, removed, renamed, conflict, elsewhere; of a failed build missing, conflict, …"
        ),
    ]
    suggestion: str | None
    detail: str


class ErrorAnswer(_Answer):
    """A refusal or a failure; every error has this shape."""

    status: Annotated[int, Field(description="The HTTP status.")]
    title: str
    detail: Annotated[
        str, Field(description="What is wrong and what to do, in one sentence; always a string.")
    ]
    code: Annotated[str, Field(description="Stable, for programs.")]
    errors: Annotated[
        list[dict[str, Any]],
        Field(description="All mistakes of an invalid request, each with `loc` and `msg`."),
    ] = []
    retry_after: Annotated[int, Field(description="Seconds until trying again may help.")] = 0


class AttemptAnswer(_Answer):
    """An attempt to build that has ended."""

    number: Annotated[int, Field(description="From 1.", ge=1)]
    begun: Annotated[str, Field(description="RFC 3339, with its zone.")]
    ended: str
    outcome: Annotated[
        Literal["done", "failed", "lost"], Field(description="A lost one ended with its worker.")
    ]
    code: Annotated[str, Field(description="Of the error, where there was one.")] = ""


Attempts = Annotated[
    list[AttemptAnswer],
    Field(
        description="What was tried so far; the server begins a build again that did not fail by its user."
    ),
]


class FailedBuildAnswer(ErrorAnswer):
    """A build that failed, with all that was known until then."""

    request_hash: Key = ""
    imagebuilder_status: Literal["failed"] = "failed"
    fault: Annotated[
        Literal["user", "upstream", "infra"],
        Field(description="A user's fault is remembered, all others are tried again."),
    ] = "user"
    problems: Annotated[
        list[ProblemAnswer], Field(description="The packages that cannot be installed.")
    ] = []
    too_big: Annotated[
        list[dict[str, Any]],
        Field(
            description="The images that do not fit: `image`, `filesystem`, `bytes`, `limit`, `excess`."
        ),
    ] = []
    stdout: Annotated[
        str, Field(description="What the ImageBuilder printed, cut in the middle where it is long.")
    ] = ""
    stderr: str = ""
    enqueued_at: str = ""
    attempts: Attempts = []


class PendingAnswer(_Answer):
    """A build that waits or runs; ask again."""

    status: Literal[202]
    detail: Literal["queued", "started"]
    request_hash: Key
    enqueued_at: Annotated[str, Field(description="RFC 3339, with its zone.")]
    queue_position: Annotated[
        int, Field(description="How many wait before this one; only while it waits.", ge=0)
    ] = 0
    imagebuilder_status: Annotated[Step, Field(description="Only once it runs.")] = "init"
    eta_seconds: Annotated[
        int | None,
        Field(
            description="Until it may be finished, by what builds took lately; null where nobody knows, or no worker lives."
        ),
    ] = None
    workers_alive: Annotated[int | None, Field(description="How many workers live.")] = None
    attempts: Attempts = []
    notice: Annotated[
        str, Field(description="What the user should know while it waits; mostly absent.")
    ] = ""


class ImageAnswer(_Answer):
    """An image below /store/{bin_dir}/."""

    name: str
    type: str
    sha256: Annotated[str, Field(description="Of the bytes that are served.")]
    sha256_unsigned: str = ""
    filesystem: Annotated[str, Field(description="Absent for artifacts such as preloaders.")] = ""


class BuildAnswer(_Answer):
    """A finished build: profiles.json's own keys, the profile's, and what the build adds, on one level."""

    status: Literal[200]
    detail: Literal["done"]
    imagebuilder_status: Literal["done"]
    request_hash: Key
    bin_dir: Annotated[str, Field(description="The directory below /store/; the request hash.")]
    request: Annotated[
        dict[str, Any],
        Field(description="What was built; `defaults` is there, but never tells a script."),
    ]
    images: list[ImageAnswer]
    manifest: Annotated[
        dict[str, str], Field(description="Name → version of all packages in the image.")
    ]
    titles: list[dict[str, Any]]
    builder_digest: Annotated[
        str,
        Field(
            description="The ImageBuilder's container image that was run: `sha256:` and 64 digits."
        ),
    ] = ""
    provenance: Annotated[
        str,
        Field(
            description="The file beside the images that says what they were made from; signed where they are."
        ),
    ] = ""
    build_cmd: list[str] = []
    build_at: str = ""
    enqueued_at: str = ""
    id: str = ""
    target: str = ""
    version_number: str = ""
    version_code: str = ""
    attempts: Attempts = []


class ChangeAnswer(_Answer):
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


class PreviewAnswer(_Answer):
    """What a request leads to, and why."""

    status: Literal["prepared"]
    original_packages: list[str]
    original_diff_packages: bool
    resolved_packages: list[str]
    changes: list[ChangeAnswer]
    problems: list[ProblemAnswer]
    warnings: list[str]
    checked: Annotated[
        bool, Field(description="Whether every name was looked up in the package indexes.")
    ]
    from_version: dict[str, Any] | None
    ignored_changes: list[str] = []
    versions: dict[str, Any] = {}
    counts: dict[str, int] = {}
    resolved_profile: str
    prepared_request: Annotated[
        BuildRequest,
        Field(description="Ready for POST /api/v1/build?skip_package_resolution=true."),
    ]
    request_hash: Key
    cache_available: Annotated[bool, Field(description="Whether the image is there already.")]


class LatestAnswer(_Answer):
    """The current releases, newest first."""

    latest: list[str]


class PackageChangeAnswer(_Answer):
    """What device clients replace or remove by themselves."""

    source: str
    revision: int
    target: str = ""
    mandatory: bool = False


class BranchAnswer(_Answer):
    """A branch, its versions and its targets."""

    name: str
    path: Annotated[
        str, Field(description="Where its versions are; `{version}` is to be replaced.")
    ]
    enabled: bool
    snapshot: bool
    path_packages: str
    package_changes: list[PackageChangeAnswer]
    versions: list[str]
    targets: Annotated[dict[str, str], Field(description="Target → architecture.")]
    branch_off_rev: int = 0


class OverviewAnswer(LatestAnswer):
    """Releases, branches by name, and what this server allows."""

    branches: dict[str, BranchAnswer]
    upstream_url: str
    server: dict[str, Any]


class TargetPackagesAnswer(_Answer):
    """The packages of a target."""

    architecture: str
    packages: dict[str, str]


class ProfileAnswer(_Answer):
    """A profile with the metadata of its target; empty where there is no such profile."""

    id: str = ""
    target: str = ""
    arch_packages: str = ""
    version_number: str = ""
    version_code: str = ""
    metadata_version: int = 1
    build_at: str = ""
    device_packages: list[str] = []
    supported_devices: list[str] = []


class RevisionAnswer(_Answer):
    """The revision of a target."""

    revision: str


class HealthAnswer(_Answer):
    """Whether requests can be served."""

    status: Literal["ok", "unavailable"]
    notice: Annotated[
        str,
        Field(description="What to know although requests can be served: that no worker is alive."),
    ] = ""
    checks: Annotated[dict[str, Any], Field(description="Only with `?verbose`.")] = {}


class VersionAnswer(_Answer):
    """What runs here."""

    service: Literal["asu"]
    version: str
