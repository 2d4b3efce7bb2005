"""The provenance as a document: its envelope, its signature, what it says and what it never
says.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.provenance.envelope import Seal, UnusableProvenance, read_envelope, sealed, signed_message
from asu.provenance.statement import Builder, Feed, Ingredients, Run, read_statement, statement
from asu.resolution import request_hash
from asu.stores.manifest import PublishedFile

SCRIPT = "uci set wireless.radio0.key='do not tell'"
DIGEST = f"sha256:{'b' * 64}"
AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def request(**fields: Any) -> dict[str, Any]:
    """Return a resolved request."""
    common = {
        "version": "24.10.4",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5",
        "packages": ["vim"],
        "client": "owut/1",
    }
    return BuildRequest.model_validate({**common, **fields}).normalised()


def made(**fields: Any) -> dict[str, Any]:
    """Return the statement about a build of two files."""
    asked = request(**fields)
    files = [
        PublishedFile(name=name, size=1, sha256=digest * 64)
        for name, digest in (("z.bin", "2"), ("a.bin", "1"))
    ]
    ingredients = Ingredients(
        request=asked,
        builder=Builder(
            name="registry.example/imagebuilder:ath79-generic-v24.10.4",
            digest=DIGEST,
            revision="r28959-29397011cc",
        ),
        command=["make", "image"],
        manager="opkg",
        packages={"vim": "9.1-r1", "libstdc++": "1~2"},
        feeds=[Feed(name="base", url="https://user:password@feeds.example/base", sha256="c" * 64)],
    )
    run = Run(
        builder_id="https://builder.example/",
        key=request_hash(asked),
        attempt=7,
        started=AT,
        finished=AT,
    )
    return statement(files, ingredients, run)


def test_a_statement_is_that_of_slsa() -> None:
    """The types are in-toto's and SLSA's of version 1, and the subjects are the files by name and
    hash.
    """
    document = made()

    assert (document["_type"], document["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert document["subject"] == [
        {"name": "a.bin", "digest": {"sha256": "1" * 64}},
        {"name": "z.bin", "digest": {"sha256": "2" * 64}},
    ]
    assert document["predicate"]["runDetails"] == {
        "builder": {"id": "https://builder.example/", "version": {"asu": "0.1.0"}},
        "metadata": {
            "invocationId": f"{request_hash(request())}/7",
            "startedOn": "2026-03-01T12:00:05Z",
            "finishedOn": "2026-03-01T12:00:05Z",
        },
    }


def test_dependencies_are_builder_feeds_and_packages() -> None:
    """Each with what tells it apart: digest, address and hash of the index, version."""
    dependencies = made()["predicate"]["buildDefinition"]["resolvedDependencies"]

    assert dependencies == [
        {
            "name": "imagebuilder",
            "uri": f"docker://registry.example/imagebuilder@{DIGEST}",
            "digest": {"sha256": "b" * 64},
            "annotations": {"image": "registry.example/imagebuilder:ath79-generic-v24.10.4"},
        },
        {"name": "feed/base", "uri": "https://feeds.example/base", "digest": {"sha256": "c" * 64}},
        {
            "name": "package/libstdc++",
            "uri": "pkg:opkg/openwrt/libstdc%2B%2B@1~2",
            "annotations": {"package": "libstdc++", "version": "1~2"},
        },
        {
            "name": "package/vim",
            "uri": "pkg:opkg/openwrt/vim@9.1-r1",
            "annotations": {"package": "vim", "version": "9.1-r1"},
        },
    ]


def test_the_request_leads_to_the_key() -> None:
    """Without a first-boot script the request in a provenance has the hash that names the build;
    who asked is not in it.
    """
    external = made()["predicate"]["buildDefinition"]["externalParameters"]

    assert request_hash(external["request"]) == external["requestHash"] == request_hash(request())
    assert "client" not in external["request"]


def test_a_first_boot_script_is_told_of_and_never_told() -> None:
    """Neither the script nor a hash of it alone is in a provenance, and no password of a feed."""
    text = json.dumps(made(defaults=SCRIPT))
    external = json.loads(text)["predicate"]["buildDefinition"]["externalParameters"]

    assert external["firstBootScript"] is True
    assert "defaults" not in external["request"]
    assert "do not tell" not in text
    assert "password" not in text


def test_the_same_statement_is_the_same_bytes() -> None:
    """One line, ASCII, whatever order things were put together in."""
    shuffled = dict(reversed(made().items()))

    line = sealed(made(), lambda _: [Seal("ab", b"signature")])

    assert line == sealed(shuffled, lambda _: [Seal("ab", b"signature")])
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()


def test_what_is_signed_is_dsses_encoding() -> None:
    """The example that DSSE's own specification gives for its encoding, with in-toto's type."""
    assert (
        signed_message(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    )


def test_an_envelope_comes_back_as_it_was_sealed() -> None:
    """Payload and signatures are those that went in, and the statement can be read."""
    heard: list[bytes] = []

    def seal(message: bytes) -> list[Seal]:
        heard.append(message)
        return [Seal("0123456789abcdef", b"\0\xff")]

    envelope = read_envelope(sealed(made(), seal))
    provenance = read_statement(envelope.payload)

    assert heard == [signed_message(envelope.payload)]
    assert envelope.seals == (Seal("0123456789abcdef", b"\0\xff"),)
    assert provenance.files == {"a.bin": "1" * 64, "z.bin": "2" * 64}
    assert provenance.packages == {"vim": "9.1-r1", "libstdc++": "1~2"}
    assert provenance.builder.digest == DIGEST
    assert provenance.feeds == ("https://feeds.example/base",)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"payloadType": "text/plain", "payload": "", "signatures": []}',
        b'{"payloadType": "application/vnd.in-toto+json", "payload": "*", "signatures": []}',
        b'{"payloadType": "application/vnd.in-toto+json", "payload": "", "signatures": [1]}',
    ],
)
def test_what_is_no_envelope_is_refused(document: bytes) -> None:
    """Whatever a server sends is an envelope or is said to be none."""
    with pytest.raises(UnusableProvenance):
        read_envelope(document)


def without(path: str) -> dict[str, Any]:
    """Return a statement that lacks something."""
    document: Any = made()
    *above, last = path.split(".")
    place = document
    for name in above:
        place = place[name]
    del place[last]
    whole: dict[str, Any] = document
    return whole


@pytest.mark.parametrize(
    "document",
    [
        {},
        {**made(), "_type": "https://in-toto.io/Statement/v0.1"},
        {**made(), "predicateType": "https://spdx.dev/Document"},
        {**made(), "subject": made()["subject"] * 2},
        without("subject"),
        without("predicate.runDetails.metadata.invocationId"),
        without("predicate.buildDefinition.buildType"),
        without("predicate.buildDefinition.externalParameters.requestHash"),
    ],
)
def test_what_is_no_provenance_of_a_build_is_refused(document: dict[str, Any]) -> None:
    """A statement of another kind, with a file twice, or with something missing."""
    envelope = read_envelope(sealed(document, lambda _: []))

    with pytest.raises(UnusableProvenance):
        read_statement(envelope.payload)


def test_a_builder_without_a_name_is_refused() -> None:
    """A provenance that does not say what built is none."""
    document = made()
    document["predicate"]["buildDefinition"]["resolvedDependencies"] = []

    with pytest.raises(UnusableProvenance):
        read_statement(base64.b64decode(json.loads(sealed(document, lambda _: []))["payload"]))
