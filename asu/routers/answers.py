"""The answers as the OpenAPI document describes them.

They document, and tests hold the answers against them; most answers are bytes long before a router
sends them. Any version may add keys, so no model forbids unknown ones.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class Answer(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ProblemAnswer(Answer):
    """A package that cannot be had as it was asked for."""

    package: str
    kind: str
    """In previews unknown, removed, renamed, conflict, elsewhere, missing-dependency, version; of
    a failed build missing, conflict, …
    """
    suggestion: str | None
    detail: str


class ErrorAnswer(Answer):
    """A refusal or a failure; every error has this shape."""

    status: int
    """The HTTP status."""
    title: str
    detail: str
    """What is wrong and what to do, in one sentence; always a string."""
    code: str
    """Stable, for programs."""
    errors: list[dict[str, Any]] = []
    """All mistakes of an invalid request, each with `loc` and `msg`."""
    suggested: dict[str, str] | None = None
    """`target` and `profile` to ask for instead: sure with the code `device-moved`, else a guess
    that a person must confirm.
    """
    retry_after: int = 0
    """Seconds until trying again may help."""


class AttemptAnswer(Answer):
    """An attempt to build that has ended."""

    number: int = Field(ge=1)
    """From 1."""
    begun: str
    """RFC 3339, with its zone."""
    ended: str
    outcome: Literal["done", "failed", "lost"]
    """A lost one ended with its worker."""
    code: str = ""
    """Of the error, where there was one."""


Attempts = Annotated[
    list[AttemptAnswer],
    Field(
        description="What was tried so far; the server begins a build again unless the request "
        "is at fault."
    ),
]


class FailedBuildAnswer(ErrorAnswer):
    """A build that failed, with all that was known until then."""

    request_hash: Key = ""
    imagebuilder_status: Literal["failed"] = "failed"
    fault: Literal["user", "upstream", "infra"] = "user"
    """A user's fault is remembered, all others are tried again."""
    problems: list[ProblemAnswer] = []
    """The packages that cannot be installed."""
    too_big: list[dict[str, Any]] = []
    """The images that do not fit: `image`, `filesystem`, `bytes`, `limit`, `excess`."""
    stdout: str = ""
    """What the ImageBuilder printed, cut in the middle where it is long."""
    stderr: str = ""
    enqueued_at: str = ""
    attempts: Attempts = []


class PendingAnswer(Answer):
    """A build that waits or runs; ask again."""

    status: Literal[202]
    detail: Literal["queued", "started"]
    request_hash: Key
    enqueued_at: str
    """RFC 3339, with its zone."""
    queue_position: int = Field(0, ge=0)
    """How many wait before this one; only while it waits."""
    imagebuilder_status: Step = "init"
    """Only once it runs."""
    eta_seconds: int | None = None
    """Until it may be finished, judged by recent builds; null where that is unknown, or no worker
    lives.
    """
    workers_alive: int | None = None
    """How many workers live."""
    attempts: Attempts = []
    notice: str = ""
    """What the user should know while it waits; mostly absent."""


class ImageAnswer(Answer):
    """An image below /store/{bin_dir}/."""

    name: str
    type: str
    sha256: str
    """Of the bytes that are served."""
    sha256_unsigned: str = ""
    filesystem: str = ""
    """Absent for artifacts such as preloaders."""


class BuildAnswer(Answer):
    """A finished build: keys of profiles.json, of the profile and of the build, on one level."""

    status: Literal[200]
    detail: Literal["done"]
    imagebuilder_status: Literal["done"]
    request_hash: Key
    bin_dir: str
    """The directory below /store/; the request hash."""
    request: dict[str, Any]
    """What was built; `defaults` is there, but never shows a script."""
    images: list[ImageAnswer]
    manifest: dict[str, str]
    """Name → version of all packages in the image."""
    titles: list[dict[str, Any]]
    builder_digest: str = ""
    """The ImageBuilder's container image that was run: `sha256:` and 64 digits."""
    provenance: str = ""
    """The file beside the images that says what they were made from; signed where they are."""
    build_cmd: list[str] = []
    build_cmd_packages: list[str] = []
    """The packages in `build_cmd`: names to install, and `-name` to leave out."""
    image_cmd: list[str] = []
    """What was run: of `build_cmd`, the steps after the install where the builder has them."""
    build_at: str = ""
    enqueued_at: str = ""
    id: str = ""
    target: str = ""
    version_number: str = ""
    version_code: str = ""
    attempts: Attempts = []


class ChangedValue(Answer):
    """What something was and is."""

    old: Any
    new: Any


class PackageDifference(Answer):
    """How the packages of two images differ, by name."""

    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, ChangedValue]


class DifferenceAnswer(Answer):
    """How two builds differ."""

    packages: PackageDifference
    request: dict[str, ChangedValue]
    """The fields of the request that differ."""


class HealthAnswer(Answer):
    """Whether requests can be served."""

    status: Literal["ok", "unavailable"]
    notice: str = ""
    """What to know although requests can be served: that no worker is alive, or that a file of
    PACKAGE_CHANGES_DIR is wrong."""
    checks: dict[str, Any] = {}
    """Only with `?verbose`."""


class VersionAnswer(Answer):
    """What runs here."""

    service: Literal["asu"]
    version: str
