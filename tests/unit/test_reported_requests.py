"""Upgrades that failed for real users: the preview names what went wrong, before anything is
built.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from asu.resolution import (
    Knowledge,
    PackageIndex,
    load_rules,
    normalised_request,
    package_request,
    preview,
    resolve,
)
from tests.unit.fixtures.small_world import defaults

REPORTS: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "fixtures" / "reported_requests.toml").read_text(encoding="utf-8")
)["report"]
RULES = load_rules()
# Of every package in the index, and of every one that a device has unless the report tells another.
VERSION = "1.0-r1"


def listed(report: dict[str, Any]) -> list[str]:
    """Return what the device lists: its defaults without those that it lacks, and its own
    packages.
    """
    return sorted(
        {*report["before"].split(), *report["own"].split()} - set(report.get("lacks", "").split())
    )


def known(report: dict[str, Any], *, told: bool) -> Knowledge:
    """Return what the downloads server tells: both releases' defaults, and an index of all but what
    is missing.
    """
    before = defaults(report["came_from"], *report["before"].split())
    now = defaults(report["version"], *report.get("now", report["before"]).split())
    changed = [
        "libopenssl",
        "luci-app-package-manager",
        "luci-i18n-package-manager-ja",
        "px5g-mbedtls",
    ]
    names = {*listed(report), *now.defaults, *changed} - set(report["missing"].split())
    elsewhere = PackageIndex((dict.fromkeys(report.get("elsewhere", "").split(), VERSION),))
    return Knowledge(
        now,
        (before,) if told else (now, before),
        PackageIndex((dict.fromkeys(sorted(names), VERSION),)),
        elsewhere,
    )


def answer(report: dict[str, Any], *, told: bool = False) -> dict[str, Any]:
    """Return the preview of a report."""
    fields = {name: report[name] for name in ("version", "target", "profile")}
    versions = (
        dict.fromkeys(listed(report), VERSION) | report["promised"] if "promised" in report else {}
    )
    origin = report["came_from"] if told else None
    request = normalised_request(
        {
            **fields,
            "packages": listed(report),
            "packages_versions": versions,
            "diff_packages": True,
            "from_version": origin,
            "ignored_changes": [],
        }
    )
    return preview(request, resolve(package_request(request), RULES, known(report, told=told)))


every_report = pytest.mark.parametrize("report", REPORTS, ids=lambda report: report["name"])


@every_report
def test_every_problem_is_named_with_its_kind(report: dict[str, Any]) -> None:
    """All that could never be built comes in one answer, and nothing else is complained of."""
    found = answer(report)

    assert {problem["package"]: problem["kind"] for problem in found["problems"]} == report[
        "expected"
    ]["problems"]
    assert all(problem["detail"] for problem in found["problems"])
    assert found["checked"]


@every_report
def test_every_change_is_told_with_its_rule_and_its_reason(report: dict[str, Any]) -> None:
    """What was replaced, added or dropped, and nothing that did not happen."""
    changes = answer(report)["changes"]

    assert sorted(change["rule"] for change in changes) == sorted(
        report["expected"]["rules"].split()
    )
    assert all(change["reason"] for change in changes)


@every_report
def test_what_can_be_built_remains(report: dict[str, Any]) -> None:
    """Each default that is left and each package that the user added is asked for, and just what
    was left out is taken away.
    """
    found = answer(report)
    packages = set(found["resolved_packages"])

    assert set(report["expected"]["installed"].split()) <= packages
    assert {name[1:] for name in packages if name.startswith("-")} == set(
        report["expected"].get("removed", "").split()
    )
    problems = report["expected"]["problems"].items()
    assert packages & set(report["missing"].split()) == {
        name for name, kind in problems if kind != "version"
    }
    assert not found["prepared_request"]["diff_packages"]


@every_report
def test_older_versions_are_flagged(report: dict[str, Any]) -> None:
    """A device that runs something newer is told which packages would go back."""
    versions = answer(report)["versions"]

    assert {name for name, entry in versions.items() if entry.get("downgrade")} == set(
        report["expected"].get("downgrades", "").split()
    )


@every_report
def test_what_the_preview_asks_for_resolves_to_itself(report: dict[str, Any]) -> None:
    """Preview and build of the prepared request share one identity."""
    found = answer(report)
    again = found["prepared_request"]

    assert (
        preview(again, resolve(package_request(again), RULES, known(report, told=False)))[
            "request_hash"
        ]
        == found["request_hash"]
    )
