"""The answer as clients receive it: each part of it, and that a prepared request is as good as
prepared.
"""

import json
from typing import Any

import pytest

from asu.resolution import (
    Knowledge,
    load_rules,
    normalised_request,
    package_request,
    preview,
    request_hash,
    resolve,
)
from tests.unit.fixtures.small_world import COMMON, defaults, index, knowing

RULES = load_rules()
THEN, NOW = (
    defaults("24.10.7", *COMMON, "opkg"),
    defaults("25.12.5", *COMMON, "apk-mbedtls", "kmod-new"),
)
KNOWN = knowing(
    NOW,
    THEN,
    index=index(*COMMON, "apk-mbedtls", "kmod-new", "luci", "owut", vim="9.1-r1", nano="8.0-r1"),
)


def asked(**fields: Any) -> dict[str, Any]:
    """Return a request as it reaches the core: every field there, spellings brought to one."""
    plain: dict[str, Any] = {
        "version": "25.12.5",
        "target": "x86/64",
        "profile": "generic",
        "from_version": None,
        "ignored_changes": [],
    }
    return normalised_request({**plain, **fields})


def answer(known: Knowledge = KNOWN, **fields: Any) -> dict[str, Any]:
    """Return the preview of a request."""
    request = asked(**fields)
    return preview(request, resolve(package_request(request), RULES, known))


def test_an_answer_has_every_part() -> None:
    """Clients may rely on each of them, whatever the request was."""
    parts = {
        *(
            "status",
            "original_packages",
            "original_diff_packages",
            "resolved_packages",
            "resolved_profile",
            "prepared_request",
            "request_hash",
        ),
        *(
            "changes",
            "problems",
            "warnings",
            "checked",
            "from_version",
            "ignored_changes",
            "versions",
            "counts",
        ),
    }

    assert answer().keys() == answer(Knowledge()).keys() == parts


def test_an_absolute_list_becomes_an_explicit_request() -> None:
    """Additions and removals by name, so that the builder needs no guess."""
    wanted = [name for name in COMMON if name != "dnsmasq"]

    found = answer(packages=["luci", *wanted, "opkg"], diff_packages=True, from_version="24.10.7")

    assert found["resolved_packages"] == ["luci", *wanted, "apk-mbedtls", "kmod-new", "-dnsmasq"]
    assert found["prepared_request"]["packages"] == found["resolved_packages"]
    assert (found["original_diff_packages"], found["prepared_request"]["diff_packages"]) == (
        True,
        False,
    )
    assert found["from_version"] == {"version": "24.10.7", "inferred": False, "evidence": None}


def test_a_change_tells_what_happened_by_which_rule_and_why() -> None:
    """Each in the form that clients know."""
    assert answer(packages=["auc"])["changes"] == [
        {
            "type": "migration",
            "action": "replace",
            "package": "auc",
            "from_package": "auc",
            "to_package": "owut",
            "reason": "auc was replaced by owut.",
            "automatic": True,
            "rule": "auc-owut",
            "reference": "r26792",
        }
    ]


def test_a_problem_tells_what_is_wrong_and_what_to_do() -> None:
    """Each in the form that clients know."""
    assert answer(packages=["lucy"])["problems"] == [
        {
            "package": "lucy",
            "kind": "unknown",
            "suggestion": None,
            "detail": "There is no package lucy in 25.12.5 for x86/64.",
        }
    ]


def test_versions_tell_what_each_package_will_be() -> None:
    """Without versions in the request there is nothing to compare with."""
    assert answer(packages=["vim", "-dnsmasq"])["versions"] == {"vim": {"new": "9.1-r1"}}


def test_versions_of_the_device_stand_beside_the_new_ones() -> None:
    """Old to new for each package that the device names, and a flag where the new one is older."""
    found = answer(
        packages=["vim", "nano", "luci"], packages_versions={"vim": "9.0-r3", "nano": "8.0-r2"}
    )

    assert found["versions"] == {
        "vim": {"old": "9.0-r3", "new": "9.1-r1", "downgrade": False},
        "nano": {"old": "8.0-r2", "new": "8.0-r1", "downgrade": True},
        "luci": {"new": "1-r1"},
    }
    assert found["counts"]["downgrades"] == 1


def test_the_counts_sum_an_answer_up() -> None:
    """Enough for a client that shows one line."""
    wanted = [name for name in COMMON if name != "netifd"]

    found = answer(
        packages=[*wanted, "opkg", "lucy", "nano"],
        packages_versions={"nano": "9"},
        diff_packages=True,
        from_version="24.10.7",
    )

    assert found["counts"] == {
        "installed": len(wanted) + 4,
        "added": 1,
        "replaced": 1,
        "removed": 1,
        "problems": 2,
        "warnings": 2,
        "downgrades": 1,
    }


def test_versions_that_a_build_would_insist_on_in_vain_are_told() -> None:
    """The worker holds the manifest against `packages_versions`; that it must fail is known before
    the queue.
    """
    [problem] = answer(packages=["nano"], packages_versions={"nano": "9"})["problems"]

    assert (problem["package"], problem["kind"]) == ("nano", "version")
    assert "not 9" in problem["detail"]
    assert answer(packages=["nano"])["problems"] == []


@pytest.mark.parametrize(
    ("fields", "is_warned"),
    [
        ({"diff_packages": True, "packages": COMMON}, True),
        ({"from_version": "24.10.7"}, True),
        ({"from_version": "24.10.7", "rootfs_size_mb": 256}, False),
        ({"packages": ["luci"]}, False),
        ({"from_version": "24.10.7", "target": "ath79/generic"}, False),
    ],
)
def test_an_upgrade_of_a_disk_without_a_size_is_warned_of(
    fields: dict[str, Any], *, is_warned: bool
) -> None:
    """A partition that somebody enlarged gets its usual size back, and what lies behind is lost."""
    found = answer(**fields)
    named = [warning for warning in found["warnings"] if "`rootfs_size_mb`" in warning]

    assert bool(named) is is_warned
    assert found["counts"]["warnings"] == len(found["warnings"])
    assert not named or "settings kept outside the usual size are lost" in named[0]


def test_names_that_are_empty_mean_nothing() -> None:
    """Clients that split a text send them; they lead to the same build."""
    assert (
        answer(packages=["", "luci", ""])["request_hash"]
        == (answer(packages=["luci"])["request_hash"])
    )


def test_the_hash_is_that_of_the_prepared_request() -> None:
    """Preview, build and a build of the prepared request share one identity."""
    found = answer(packages=["auc", "vim"])

    assert (
        found["request_hash"]
        == request_hash(found["prepared_request"])
        == request_hash(asked(packages=["vim", "owut"]))
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"packages": ["auc", "vim", "-ppp"]},
        {"packages": [*COMMON, "opkg", "luci"], "diff_packages": True},
        {"packages": COMMON[3:], "diff_packages": True, "from_version": "24.10.7"},
        {"packages": ["luci"], "diff_packages": True},
        {
            "packages": COMMON,
            "diff_packages": True,
            "ignored_changes": ["new-default-kmod-new", "absent-dnsmasq"],
        },
        {"packages_versions": {"vim": "9.0", "auc": "1"}},
    ],
)
def test_preparing_a_prepared_request_changes_nothing(fields: dict[str, Any]) -> None:
    """The hash is a fixed point, whatever the request began as."""
    first = answer(**fields)
    second = answer(**first["prepared_request"])

    assert second["request_hash"] == first["request_hash"]
    assert second["resolved_packages"] == first["resolved_packages"]
    assert second["changes"] == []


def test_a_veto_is_told_and_is_no_part_of_the_identity() -> None:
    """What it left out is named; a veto of something that would not have happened changes no
    hash.
    """
    plain, idle = (
        answer(packages=["auc"]),
        answer(packages=["auc"], ignored_changes=["firewall-firewall4"]),
    )
    vetoed = answer(packages=["auc"], ignored_changes=["auc-owut"])

    assert vetoed["ignored_changes"] == ["auc-owut"]
    assert vetoed["resolved_packages"] == ["auc"]
    assert idle["ignored_changes"] == []
    assert idle["request_hash"] == plain["request_hash"] != vetoed["request_hash"]


def test_a_veto_gives_the_hash_of_the_list_that_it_leads_to() -> None:
    """However a list came about, the same list is the same image."""
    fields: dict[str, Any] = {
        "packages": [*COMMON, "apk-mbedtls"],
        "diff_packages": True,
        "from_version": "24.10.7",
    }

    vetoed = answer(**fields, ignored_changes=["new-default-kmod-new"])

    assert vetoed["request_hash"] == request_hash(
        asked(packages=[*COMMON, "apk-mbedtls", "-kmod-new"])
    )


def test_the_versions_of_the_device_are_no_wish() -> None:
    """A name that only packages_versions holds is wanted when packages is empty, and promised its
    version otherwise.
    """
    assert answer(packages_versions={"vim": "9.0"})["resolved_packages"] == ["vim"]
    assert answer(packages=["nano"], packages_versions={"vim": "9.0"})["resolved_packages"] == [
        "nano"
    ]


def test_an_answer_is_plain_json() -> None:
    """It is written as it stands."""
    found = answer(
        packages=["auc", "lucy", "vim"], packages_versions={"vim": "1"}, diff_packages=True
    )

    assert json.loads(json.dumps(found)) == found


def test_without_metadata_an_absolute_list_stays_absolute() -> None:
    """The worker then subtracts what the builder says, and the answer says so."""
    found = answer(Knowledge(), packages=["luci"], diff_packages=True)

    assert found["prepared_request"]["diff_packages"] is True
    assert (found["checked"], found["versions"]) == (False, {})
    assert "not known at the moment" in found["warnings"][0]
