"""What a provenance says: an in-toto statement with SLSA's predicate of version 1.

    subject                     every published file but this one, with its SHA-256
    predicate.buildDefinition
        buildType               urn:x-asu:imagebuilder:v1, which means the fields below
        externalParameters
            request             the canonical request, without a first-boot script
            requestHash         the build's key; the hash of `request` if there is no script
            firstBootScript     whether there is one
        internalParameters      the command that made the images, the ImageBuilder's revision
        resolvedDependencies    the ImageBuilder by digest, each feed with the hash of its index,
                                each package with its version
    predicate.runDetails
        builder.id              BUILDER_ID, or a name made of the system's own
        metadata                KEY/ATTEMPT, and when the attempt began and ended

Not even a hash of a first-boot script is shown: it would let everybody test guesses of a password.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from asu import __version__
from asu.resolution import canonical_request
from asu.stores.manifest import FILE_NAME, PublishedFile

from .envelope import UnusableProvenance

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:x-asu:imagebuilder:v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed that packages came from; `sha256` is that of its index, empty if that is unknown."""

    name: str
    url: str
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """The container image that was run, by name and digest, and the ImageBuilder's revision."""

    name: str
    digest: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The attempt that made the files; times are in UTC."""

    builder_id: str
    key: str
    attempt: int
    started: datetime
    finished: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """All that went into a build; `packages` name → version, `manager` is apk or opkg."""

    request: Mapping[str, Any]
    builder: Builder
    command: Sequence[str]
    manager: str
    packages: Mapping[str, str]
    feeds: Sequence[Feed]


def statement(files: Sequence[PublishedFile], ingredients: Ingredients, run: Run) -> dict[str, Any]:
    """Return the statement about the files of a build."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": file.name, "digest": {"sha256": file.sha256}}
            for file in sorted(files, key=lambda file: file.name)
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "request": public_request(ingredients.request),
                    "requestHash": run.key,
                    "firstBootScript": bool(ingredients.request["defaults"]),
                },
                "internalParameters": {
                    "command": list(ingredients.command),
                    "revision": ingredients.builder.revision,
                },
                "resolvedDependencies": [
                    _builder(ingredients.builder),
                    *map(_feed, ingredients.feeds),
                    *_packages(ingredients),
                ],
            },
            "runDetails": {
                "builder": {"id": run.builder_id, "version": {"asu": __version__}},
                "metadata": {
                    "invocationId": f"{run.key}/{run.attempt}",
                    "startedOn": _time(run.started),
                    "finishedOn": _time(run.finished),
                },
            },
        },
    }


def public_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical request without what is secret."""
    fields: dict[str, Any] = json.loads(canonical_request(request))
    fields.pop("defaults", None)
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is read of a statement: `files` name → SHA-256, `packages` name → version, and more."""

    key: str
    request: Mapping[str, Any]
    has_script: bool
    files: Mapping[str, str]
    builder: Builder
    builder_id: str
    invocation: str
    packages: Mapping[str, str]
    feeds: tuple[str, ...]
    finished: str


def read_statement(payload: bytes) -> Provenance:
    """Read a payload; raises UnusableProvenance for anything that `statement` does not write."""
    try:
        values = json.loads(payload)
        definition, run = values["predicate"]["buildDefinition"], values["predicate"]["runDetails"]
        kinds = (values["_type"], values["predicateType"], definition["buildType"])
        if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, BUILD_TYPE):
            raise UnusableProvenance("it is no provenance of such a build")
        return _read(values["subject"], definition, run)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableProvenance("it is no provenance of such a build") from error


def _read(
    subject: Sequence[Any], definition: Mapping[str, Any], run: Mapping[str, Any]
) -> Provenance:
    external, dependencies = definition["externalParameters"], definition["resolvedDependencies"]
    files = {str(file["name"]): str(file["digest"]["sha256"]) for file in subject}
    if len(files) != len(subject) or not all(FILE_NAME.fullmatch(name) for name in files):
        raise UnusableProvenance("it names a file twice, or one that no build has")
    if not files:
        raise UnusableProvenance("it names no file, so it says nothing of any")
    [builder] = (one for one in dependencies if one["name"] == "imagebuilder")
    packages = {
        one["annotations"]["package"]: str(one["annotations"]["version"])
        for one in dependencies
        if "package" in one.get("annotations", {})
    }
    return Provenance(
        key=str(external["requestHash"]),
        request=dict(external["request"]),
        has_script=bool(external["firstBootScript"]),
        files=files,
        builder=Builder(
            name=str(builder["annotations"]["image"]),
            digest=f"sha256:{builder['digest']['sha256']}",
            revision=str(definition["internalParameters"]["revision"]),
        ),
        builder_id=str(run["builder"]["id"]),
        invocation=str(run["metadata"]["invocationId"]),
        packages=packages,
        feeds=tuple(
            str(one["uri"])
            for one in dependencies
            if one["name"].startswith("feed/") and "uri" in one
        ),
        finished=str(run["metadata"]["finishedOn"]),
    )


def _builder(builder: Builder) -> dict[str, Any]:
    return {
        "name": "imagebuilder",
        "uri": f"docker://{builder.name.rpartition(':')[0]}@{builder.digest}",
        "digest": {"sha256": builder.digest.removeprefix("sha256:")},
        "annotations": {"image": builder.name},
    }


def _feed(feed: Feed) -> dict[str, Any]:
    found: dict[str, Any] = {"name": f"feed/{without_credentials(feed.name)}"}
    if feed.url:
        found["uri"] = without_credentials(feed.url)
    if feed.sha256:
        found["digest"] = {"sha256": feed.sha256}
    return found


def _packages(ingredients: Ingredients) -> list[dict[str, Any]]:
    return [
        {
            "name": f"package/{name}",
            "uri": (
                f"pkg:{ingredients.manager}/openwrt/{quote(name, safe='')}"
                f"@{quote(version, safe='')}"
            ),
            "annotations": {"package": name, "version": version},
        }
        for name, version in sorted(ingredients.packages.items())
    ]


def without_credentials(url: str) -> str:
    """Return a URL without user and password; an operator's own ImageBuilder may use some."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
