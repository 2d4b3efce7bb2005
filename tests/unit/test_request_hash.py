"""The one identity of a build: golden vectors, and what is and is not part of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asu.build_request import BuildRequest
from asu.resolution import (
    canonical_request,
    normalised_request,
    ordered_packages,
    request_hash,
)
from asu.resolution.request_hash import IDENTITY, LATER_IDENTITY, NOT_IDENTITY

# Each entry: requests that mean the same, and their hash. asu-prepare reads its own copy.
GOLDEN = json.loads(Path(__file__).with_name("golden_hashes.json").read_text(encoding="utf-8"))
PLAIN: dict[str, Any] = {
    "version": "24.10.4",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "packages": ["luci", "vim", "-ppp"],
}
# For each part of the identity another value; a part without one fails the test that goes through
# them.
OTHER: dict[str, Any] = {
    "version": "24.10.5",
    "version_code": "r1",
    "target": "ath79/nand",
    "profile": "other",
    "packages": ["vim"],
    "packages_versions": {"vim": "1"},
    "diff_packages": True,
    "defaults": "true",
    "rootfs_size_mb": 1,
    "filesystem": "ext4",
    "repositories": {"a": "https://example.org"},
    "repositories_mode": "append",
    "repository_keys": ["key"],
}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(request, entry["hash"]) for entry in GOLDEN for request in entry["requests"]],
)
def test_golden_vectors(request_: dict[str, Any], expected: str) -> None:
    """Hashes stay as they are from release to release: they name finished images."""
    assert request_hash(request_) == expected


def test_requests_that_differ_in_meaning_differ_in_hash() -> None:
    """No two entries share a hash; moving a character over the boundary of a field is one of the
    differences.
    """
    assert len({entry["hash"] for entry in GOLDEN}) == len(GOLDEN)


def test_the_canonical_form_can_be_written_by_hand() -> None:
    """Any language can compute it: SHA-256 over JSON with sorted keys, ASCII, without spaces."""
    by_hand = (
        b'{"defaults":null,"diff_packages":false,"filesystem":null,"packages":["-ppp","luci","vim"],"packages_versions":{},'
        b'"profile":"tplink_archer-c7-v5","repositories":{},"repositories_mode":"replace","repository_keys":[],"rootfs_size_mb":null,'
        b'"target":"ath79/generic","version":"24.10.4","version_code":""}'
    )

    assert canonical_request(PLAIN) == by_hand
    assert request_hash(PLAIN) == hashlib.sha256(by_hand).hexdigest()


def test_every_field_of_a_build_request_is_decided_on() -> None:
    """A new field is either part of the identity or on the list of exceptions with its reason."""
    hashed = {*IDENTITY, *LATER_IDENTITY}

    assert hashed | NOT_IDENTITY.keys() == set(BuildRequest.model_fields)
    assert not hashed & NOT_IDENTITY.keys()
    assert all(reason.endswith(".") for reason in NOT_IDENTITY.values())


@pytest.mark.parametrize("field", IDENTITY)
def test_every_part_of_the_identity_counts(field: str) -> None:
    """Changing any part alone changes the hash."""
    plain = (
        {**PLAIN, "repositories": OTHER["repositories"]} if field == "repositories_mode" else PLAIN
    )

    assert request_hash({**plain, field: OTHER[field]}) != request_hash(plain)


class LaterRequest(BuildRequest):
    """A build request of a later release, with one more field that can change the image."""

    efi: bool | None = None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(request, entry["hash"]) for entry in GOLDEN for request in entry["requests"]],
)
def test_a_new_field_keeps_the_hashes_of_requests_that_do_not_use_it(
    request_: dict[str, Any], expected: str
) -> None:
    """A new field is left out at its default, and hashed at every other value."""
    later = {"efi": None}
    unused = LaterRequest.model_validate(request_).normalised()
    used = LaterRequest.model_validate({**request_, "efi": False}).normalised()

    assert unused["efi"] is None
    assert hashlib.sha256(canonical_request(unused, later)).hexdigest() == expected
    assert b'"efi":false' in canonical_request(used, later)


@pytest.mark.parametrize("field", NOT_IDENTITY)
def test_what_is_no_part_of_the_identity_does_not_count(field: str) -> None:
    """Who asks, and how the list came about, does not change the image."""
    assert request_hash({**PLAIN, field: "anything"}) == request_hash(PLAIN)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "25.12.0"},
        {"version": "SNAPSHOT"},
        {"diff_packages": True},
        {"packages_versions": {"luci": "1"}},
        {"any_order": True},
    ],
    ids=str,
)
@given(packages=st.permutations(["luci", "vim", "-ppp", "auc"]), doubled=st.integers(0, 3))
def test_order_and_doubles_of_packages_do_not_count(
    fields: dict[str, Any], packages: list[str], doubled: int
) -> None:
    """The builder gets a sorted list of a device or for apk, so equal lists are one build."""
    request = {**PLAIN, **fields, "packages": [*packages, packages[doubled]]}

    assert ordered_packages(normalised_request(request)) == sorted(packages)
    assert request_hash(request) == request_hash({**request, "packages": sorted(packages)})


@given(packages=st.permutations(["luci", "vim", "-ppp", "-auc"]), doubled=st.integers(0, 3))
def test_the_order_of_a_persons_list_counts_for_opkg(packages: list[str], doubled: int) -> None:
    """Doubles and the places of removals do not."""
    request = {**PLAIN, "packages": [*packages, packages[doubled]]}
    wanted = [name for name in packages if not name.startswith("-")]

    assert ordered_packages(normalised_request(request)) == ["-auc", "-ppp", *wanted]
    assert request_hash(request) == request_hash({**PLAIN, "packages": ["-ppp", *wanted, "-auc"]})
    assert request_hash(request) != request_hash({**request, "packages": [*reversed(packages)]})


@given(st.text(), st.text())
def test_scripts_are_told_apart_by_every_character(one: str, other: str) -> None:
    """Two scripts share an identity only if they are the same but for line ends of Windows."""
    assert (
        request_hash({**PLAIN, "defaults": one}) == request_hash({**PLAIN, "defaults": other})
    ) == (one.replace("\r\n", "\n") == other.replace("\r\n", "\n"))


def test_line_ends_of_windows_become_those_of_unix() -> None:
    """A shell would take each carriage return for a part of a value; a lone one stays."""
    script = "#!/bin/sh\nname='Home'\nprintf 'a\rb'\nexit 0\n"
    typed = {**PLAIN, "defaults": script.replace("\n", "\r\n")}

    assert normalised_request(typed)["defaults"] == script
    assert request_hash(typed) == request_hash({**PLAIN, "defaults": script})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key",
        "https://feeds.example.org/../x",
        "https://user@feeds.example.org",
        "\u00e4",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_is_no_address_and_no_key_stays_as_it_is(text: str) -> None:
    """Nothing is made of what nobody understands; to refuse it is the part of whoever admits
    requests.
    """
    fields = normalised_request(
        {**PLAIN, "repositories": {"mine": text}, "repository_keys": [text]}
    )

    assert (fields["repositories"], fields["repository_keys"]) == ({"mine": text}, [text])
