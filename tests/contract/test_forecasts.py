"""What asu-prepare foretells is what the stand-in ImageBuilder does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.answers import PreviewAnswer
from tests.contract.forecast_world import (
    Builder,
    TreeDocuments,
    preview,
    preview_service,
    requests,
)
from tests.upstream.make_tree import make_tree

NUMBER = 500  # Requests for each package manager; fewer for the older release with opkg.
OPKG, APK = "24.10.4", "25.12.1"
X86 = {"target": "x86/64", "profile": "generic"}
ARCHER = {"target": "ath79/generic", "profile": "tplink_archer-c7-v5"}


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """Make the tree once; it is removed at once."""
    with tempfile.TemporaryDirectory(prefix="upstream-") as directory:
        make_tree(Path(directory) / "tree")
        yield Path(directory) / "tree"


@pytest.fixture(scope="module")
def client(tree: Path) -> Iterator[TestClient]:
    """Return a client of a service that knows the tree."""
    with preview_service(TreeDocuments(tree)) as client:
        yield client


@pytest.mark.parametrize(
    ("version", "target", "number"),
    [(OPKG, "x86/64", NUMBER), ("23.05.6", "ath79/generic", 100), (APK, "x86/64", NUMBER)],
)
def test_the_manifest_and_each_failure_are_foretold(
    tree: Path, client: TestClient, version: str, target: str, number: int
) -> None:
    """Of 500 requests for each, every manifest is the builder's, and no failure is missed or made
    up.
    """
    builder = Builder(tree, version, target)
    worked = 0
    for request in requests(builder, number, seed=7):
        found = preview(client, request)
        built = builder.build(found["prepared_request"]["packages"], request["profile"])

        assert found["solved"], request
        assert bool(found["problems"]) == bool(built.errors), (request, built.errors)
        assert found["manifest"] == built.manifest, request
        worked += bool(built.manifest)
    assert number / 2 < worked < number


@pytest.mark.parametrize("version", [OPKG, APK])
def test_a_missing_dependency_comes_with_its_chain(client: TestClient, version: str) -> None:
    """The person reads which package leads to it, and that OpenWrt is the cause."""
    found = preview(client, {"version": version, **X86, "packages": ["test-deep-1", "vim"]})

    (problem,) = found["problems"]
    assert (problem["package"], problem["kind"]) == ("test-deep-1", "missing-dependency")
    assert "test-deep-3 needs test-deep-4; test-deep-4 needs no-such-library" in problem["detail"]
    assert "OpenWrt's feeds are the cause, not your selection" in problem["detail"]
    assert (found["manifest"], found["size"], found["counts"]["problems"]) == ({}, None, 1)


@pytest.mark.parametrize("version", [OPKG, APK])
def test_a_conflict_two_steps_away_is_found(client: TestClient, version: str) -> None:
    """No rule knows this pair; the indexes do."""
    packages = ["test-conflict-b", "test-conflict-deep"]
    found = preview(client, {"version": version, **X86, "packages": packages})

    (problem,) = found["problems"]
    assert problem["kind"] == "conflict"
    assert problem["detail"].startswith("test-conflict-deep needs test-conflict-a; ")
    assert "test-conflict-b cannot be installed together" in problem["detail"]


def test_a_conflict_that_opkg_overlooks_is_a_warning(client: TestClient) -> None:
    """In the other order opkg installs both, and so does the build."""
    packages = ["test-conflict-a", "test-conflict-b"]
    found = preview(client, {"version": OPKG, **X86, "packages": packages})

    assert found["problems"] == []
    assert "test-conflict-b" in found["manifest"]
    assert found["warnings"][-1].startswith("test-conflict-a conflicts with test-conflict-b, but")
    assert found["counts"]["warnings"] == len(found["warnings"])


def test_a_conflict_with_a_default_says_what_to_take_away(client: TestClient) -> None:
    """Neither package is wrong by itself."""
    request = {"version": OPKG, **X86, "packages": ["wpad-openssl", "dnsmasq-full"]}
    (problem,) = preview(client, request)["problems"]

    assert (problem["kind"], problem["suggestion"]) == ("conflict", "-dnsmasq")
    request["packages"] = ["wpad-openssl", "dnsmasq-full", "-dnsmasq"]
    assert preview(client, request)["problems"] == []


def test_apk_does_not_choose_between_equals(client: TestClient) -> None:
    """A name that is only provided, without version and priority, must be chosen by the person."""
    request = {"version": APK, **X86, "packages": ["test-needs-plain"]}
    (problem,) = preview(client, request)["problems"]

    assert "test-plain-a, test-plain-b can provide" in problem["detail"]
    request["packages"] = ["test-needs-plain", "test-plain-b"]
    assert preview(client, request)["manifest"]["test-plain-b"] == "1.0-r1"


@pytest.mark.parametrize(
    ("version", "packages", "chosen", "other"),
    [
        pytest.param(APK, ["test-needs-mail"], "test-mail-a", "test-mail-b", id="priority"),
        pytest.param(OPKG, ["test-needs-mail"], "test-mail-b", "test-mail-a", id="alphabet"),
        pytest.param(APK, ["test-needs-api"], "test-api-2", "test-api-1", id="version"),
        pytest.param(OPKG, ["test-either"], "test-mail-a", "test-mail-b", id="alternatives"),
    ],
)
def test_providers_are_chosen_as_the_package_manager_does(
    client: TestClient, version: str, packages: list[str], chosen: str, other: str
) -> None:
    """By provider_priority, by version, or the last one in the alphabet."""
    manifest = preview(client, {"version": version, **X86, "packages": packages})["manifest"]

    assert chosen in manifest
    assert other not in manifest


def test_the_image_is_estimated_and_held_against_the_flash(client: TestClient, tree: Path) -> None:
    """From the official image and the sizes of what comes and goes."""
    profiles = json.loads(
        (tree / f"releases/{APK}/targets/ath79/generic/profiles.json").read_bytes()
    )
    device = profiles["profiles"]["tplink_archer-c7-v5"]
    official = next(one["size"] for one in device["images"] if one["type"] == "sysupgrade")
    limit = device["file_size_limits"]["image"]

    plain, more, big = (
        preview(client, {"version": APK, **ARCHER, "packages": packages})["size"]
        for packages in ([], ["vim"], ["test-big"])
    )

    assert (plain["image_estimate"], plain["image_limit"], plain["fits"]) == (
        official,
        limit,
        "yes",
    )
    assert more["image_estimate"] - official == more["download"] - plain["download"] > 0
    assert big["fits"] == "no"


def test_sizes_that_a_release_does_not_name_are_unknown(client: TestClient) -> None:
    """The packages' own sizes are known all the same."""
    size = preview(client, {"version": "23.05.6", **ARCHER, "packages": ["vim"]})["size"]

    assert (size["image_estimate"], size["image_limit"], size["fits"]) == (None, None, "unknown")
    assert size["download"] > 0


def test_two_whole_images_are_compared(client: TestClient) -> None:
    """What the person does by hand with two manifests."""
    request = {"version": APK, **ARCHER, "packages": ["vim"], "from_version": OPKG}
    found = preview(client, request)
    diff = found["manifest_diff"]

    assert diff["from_version"] == OPKG
    assert "apk-mbedtls" in {one["package"] for one in diff["added"]}
    assert "opkg" in {one["package"] for one in diff["removed"]}
    (vim,) = [one for one in diff["upgraded"] if one["package"] == "vim"]
    assert vim == {"package": "vim", "old": "9.1.0709-r2", "new": "9.1.1918-r1"}
    assert diff["counts"]["upgraded"] == len(diff["upgraded"])
    assert len(found["manifest"]) == sum(
        diff["counts"][kind] for kind in ("added", "upgraded", "downgraded", "unchanged")
    )


def test_a_change_says_what_it_adds(client: TestClient) -> None:
    """In bytes of the download; a replacement is the difference."""
    request = {"version": APK, **X86, "packages": ["luci-app-opkg"], "from_version": OPKG}
    changes = preview(client, request)["changes"]

    (change,) = [one for one in changes if one["to_package"] == "luci-app-package-manager"]
    assert isinstance(change["bytes"], int)


def test_nothing_of_it_changes_the_identity(client: TestClient) -> None:
    """The forecast can be left out, and the build is the same."""
    request = {"version": APK, **X86, "packages": ["vim"]}
    whole, less = preview(client, request), preview(client, request, solve=False)

    assert whole["request_hash"] == less["request_hash"]
    assert "solved" not in less
    assert less.items() <= {**whole, "changes": less["changes"]}.items()
    PreviewAnswer.model_validate(whole)


BASE = f"releases/{APK}/packages/x86_64/base/packages.adb"
HOSTILE: dict[str, bytes] = {
    "a page": b"<html></html>",
    "cut off": b"ADBd" + bytes(40),
    "a bomb": b"ADBd" + bytes.fromhex("edc1010d000000c2a0f74f6d0e37a0000000") * 9,
    "empty": b"",
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_index_costs_the_forecast_only(tree: Path, document: bytes) -> None:
    """The names come from index.json then, and nothing is called impossible."""
    documents = TreeDocuments(tree)
    with preview_service(_changed(documents, {BASE: document})) as client:
        found = preview(client, {"version": APK, **X86, "packages": ["vim", "tmux"]})

    assert (found["solved"], found["manifest"], found["problems"]) == (False, {}, [])
    assert "not foretold" in found["warnings"][-1]
    assert found["versions"]["vim"]["new"] == "9.1.1918-r1"


def test_modules_that_are_not_published_cost_the_forecast_only(tree: Path) -> None:
    """A snapshot names its new kernel before the modules are there; they are not called missing."""
    paths = {
        str(path.relative_to(tree) / name)
        for path in (tree / f"releases/{APK}/targets/x86/64/kmods").iterdir()
        for name in ("packages.adb", "index.json")
    }
    documents = _without(TreeDocuments(tree), paths)
    with preview_service(documents) as client:
        found = preview(client, {"version": APK, **X86, "packages": ["vim"]})

    assert (found["solved"], found["problems"]) == (False, [])
    assert "kernel modules" in found["warnings"][-1]


def test_an_endless_chain_costs_the_forecast_only(tree: Path) -> None:
    """Ten thousand packages of which each needs the next are beyond what opkg itself could do."""
    stanzas = "\n".join(
        f"Package: a{number}\nVersion: 1\nDepends: a{number + 1}\nArchitecture: all\n"
        for number in range(10_000)
    )
    path = f"releases/{OPKG}/packages/x86_64/routing/Packages.gz"
    with preview_service(_changed(TreeDocuments(tree), {path: stanzas.encode()})) as client:
        found = preview(client, {"version": OPKG, **X86, "packages": ["a0"]})

    assert (found["solved"], found["problems"]) == (False, [])
    assert "cannot be foretold" in found["warnings"][-1]


def test_a_request_with_feeds_of_its_own_has_no_forecast(client: TestClient) -> None:
    """What they hold is not known here."""
    feeds = {"own": "https://feeds.example.org/packages.adb"}
    request = {"version": APK, **X86, "packages": ["vim"], "repositories": feeds}
    found = preview(client, request)

    assert (found["solved"], found["manifest"]) == (False, {})
    assert "own feeds" in found["warnings"][-1]


def test_memory_for_pools_is_bounded(tree: Path) -> None:
    """With room for one pool, each target is still foretold, one after the other."""
    with preview_service(TreeDocuments(tree), solver_memory=1) as client:
        for version in (OPKG, APK, OPKG):
            assert preview(client, {"version": version, **X86, "packages": ["vim"]})["solved"]


def _without(documents: TreeDocuments, paths: set[str]) -> Any:
    """Return the documents without some."""

    class Fewer(TreeDocuments):
        async def read(self, path: str, reader: Any) -> Any:
            return await super().read("missing" if path in paths else path, reader)

    return Fewer(documents._tree)  # noqa: SLF001  # One stand-in of another.


def _changed(documents: TreeDocuments, others: dict[str, bytes]) -> Any:
    """Return the documents with some in other words."""

    class Changed(TreeDocuments):
        async def read(self, path: str, reader: Any) -> Any:
            if path in others:
                self.documents[path] = others[path]
                return await super(TreeDocuments, self).read(path, reader)
            return await super().read(path, reader)

    return Changed(documents._tree)  # noqa: SLF001  # One stand-in of another.
