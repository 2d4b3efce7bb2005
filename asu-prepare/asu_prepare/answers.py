"""The answers as the OpenAPI file describes them.

The decision core writes a preview and `errors` a refusal without these models, which cost more time
than the decision; the tests hold each answer against its model.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .prepare_request import PrepareRequest


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ChangeAnswer(_Answer):
    """One difference between what was asked for and what will be asked of the ImageBuilder."""

    type: Literal["migration", "addition", "removal"]
    action: Literal["replace", "add", "remove"]
    package: Annotated[
        str,
        Field(
            description="The package concerned, with a leading dash where the request took it away."
        ),
    ]
    from_package: str | None
    to_package: str | None
    reason: Annotated[str, Field(description="One or two sentences for the user.")]
    automatic: Annotated[
        bool, Field(description="Whether it is part of the prepared request already.")
    ]
    rule: Annotated[
        str,
        Field(
            description="Id of the rule that asks for it, or of what the defaults ask for; "
            "`ignored_changes` takes either."
        ),
    ]
    reference: Annotated[
        str | None, Field(description="Where OpenWrt made the change: commits, or a revision.")
    ]
    bytes: Annotated[
        int | None,
        Field(
            description="What the change adds to the download, negative if it frees some: the "
            "package alone, without what it needs."
        ),
    ] = None


class ProblemAnswer(_Answer):
    """A wanted package that cannot be had."""

    package: str
    kind: Annotated[
        Literal[
            "unknown",
            "removed",
            "renamed",
            "conflict",
            "elsewhere",
            "missing-dependency",
            "version",
        ],
        Field(
            description="`missing-dependency` and `conflict` come from the forecast, with the "
            "chain of packages that leads there."
        ),
    ]
    suggestion: str | None
    detail: str


class FromVersionAnswer(_Answer):
    """The version that the device runs now, as the client said it or as it was inferred."""

    version: str
    inferred: bool
    evidence: str | None


class VersionsAnswer(_Answer):
    """The version that a package will have, and the one that it has if the request says so."""

    new: str
    old: str = ""
    downgrade: bool = False


class SizeAnswer(_Answer):
    """How large the image will be, in bytes."""

    download: Annotated[int, Field(description="All packages, compressed.")]
    installed: Annotated[int, Field(description="All packages, unpacked.")]
    image_estimate: Annotated[
        int | None,
        Field(description="The image that a running device is flashed with; null if not known."),
    ]
    image_limit: Annotated[
        int | None, Field(description="The largest image that the device takes; null if not known.")
    ]
    fits: Annotated[
        Literal["yes", "tight", "no", "unknown"],
        Field(description="`tight` means that the limit lies within the error of the estimate."),
    ]
    basis: Annotated[str, Field(description="What the estimate is made from.")]


class NewPackageAnswer(_Answer):
    """A package that the image gains or loses."""

    package: str
    version: str


class ChangedPackageAnswer(_Answer):
    """A package whose version changes."""

    package: str
    old: str
    new: str


class DiffCountsAnswer(_Answer):
    """The difference in one line."""

    added: int
    removed: int
    upgraded: int
    downgraded: int
    unchanged: int


class ManifestDiffAnswer(_Answer):
    """The difference between the whole image of `from_version` and the new one."""

    from_version: str
    added: list[NewPackageAnswer]
    removed: list[NewPackageAnswer]
    upgraded: list[ChangedPackageAnswer]
    downgraded: list[ChangedPackageAnswer]
    counts: DiffCountsAnswer


class CountsAnswer(_Answer):
    """The preview in one line."""

    installed: Annotated[
        int, Field(description="Packages asked for beyond the defaults, or in place of them.")
    ]
    added: int
    replaced: int
    removed: int
    problems: int
    warnings: int
    downgrades: int


class PreviewAnswer(_Answer):
    """What the request leads to, and why."""

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
    from_version: FromVersionAnswer | None
    ignored_changes: Annotated[
        list[str],
        Field(description="The changes that were left out because the request asked for that."),
    ]
    versions: Annotated[
        dict[str, VersionsAnswer],
        Field(description="Of each resolved package, as far as the indexes have it."),
    ]
    counts: CountsAnswer
    resolved_profile: str
    prepared_request: Annotated[
        PrepareRequest, Field(description="The complete request, ready for POST /api/v1/build.")
    ]
    solved: Annotated[
        bool,
        Field(
            description="Whether the forecast was made: all dependencies followed, `manifest` and "
            "the problems complete. Absent with `solve=false`."
        ),
    ] = False
    manifest: Annotated[
        dict[str, str],
        Field(
            description="Everything that the image will hold, name → version, as the build's own "
            "manifest has it; empty if it cannot be built, or if `solved` is false."
        ),
    ] = {}
    size: SizeAnswer | None = None
    manifest_diff: Annotated[
        ManifestDiffAnswer | None,
        Field(description="With `from_version`, if the old image can be foretold as well."),
    ] = None
    request_hash: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="The identity of the build that the prepared request leads to.",
        ),
    ]
    prepared_by: Annotated[
        Literal["asu-prepare", "asu"],
        Field(description="The service that made the preview; `asu` if asu-prepare is away."),
    ] = "asu-prepare"


class MistakeAnswer(_Answer):
    """One mistake in a request."""

    type: str
    loc: list[str | int]
    msg: str


class ErrorAnswer(_Answer):
    """A refusal or a failure."""

    status: Annotated[int, Field(description="The HTTP status.")]
    title: str
    detail: Annotated[str, Field(description="What is wrong and what to do, in one sentence.")]
    code: Annotated[str, Field(description="Stable, for programs.")]
    errors: Annotated[
        list[MistakeAnswer], Field(description="All mistakes of an invalid request.")
    ] = []
    suggested: Annotated[
        dict[str, str] | None,
        Field(
            description="`target` and `profile` to ask for instead: sure with the code "
            "`device-moved`, else a guess that a person must confirm."
        ),
    ] = None


class RulesAnswer(_Answer):
    """The rules that the service applies."""

    count: int
    newest: Annotated[
        str,
        Field(
            description="Id of the rule with the newest version; the last of them where several "
            "share it."
        ),
    ]
    newest_since: str


class StatusAnswer(_Answer):
    """What runs here."""

    service: Literal["asu-prepare"]
    version: str
    status: Literal["ok"]
    rules: RulesAnswer
    metadata_age: Annotated[
        int,
        Field(
            description="Seconds since the document that was confirmed longest ago was confirmed."
        ),
    ]
    branches: Annotated[
        list[str],
        Field(description="The release branches whose revisions the rules know, oldest first."),
    ]


class HealthAnswer(_Answer):
    """The service answers."""

    status: Literal["ok"]
    notice: Annotated[
        str, Field(description="What to know although previews are made: a file of rules is wrong.")
    ] = ""


class VersionAnswer(_Answer):
    """Which service this is, and which version of it."""

    service: Literal["asu-prepare"]
    version: str
