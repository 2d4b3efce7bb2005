"""The documents that clients read before they ask, in the shapes that they insist on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import REVISION, TARGETS, World, metadata, opened


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Open one API for all tests of this module."""
    with opened(
        allow_defaults=True,
        max_defaults_length=5,
        max_custom_rootfs_size_mb=6,
        server_contact="mail",
    ) as world:
        yield world


def overview(documents: dict[str, Any], **changes: Any) -> Any:
    """Return the overview over these documents."""
    with opened(upstream=MemoryUpstream(documents), **changes) as world:
        return world.client.get("/json/v1/overview.json").json()


def test_latest_is_newest_first(world: World) -> None:
    """Upcoming, stable and old stable, in numeric order; old LuCI takes the server's order as it
    is.
    """
    assert world.client.get("/json/v1/latest.json").json() == {
        "latest": ["25.12.0-rc1", "24.10.4", "23.05.10"],
        "versions": ["25.12.0-rc1", "24.10.4", "24.10.3", "23.05.10", "23.05.9"],
    }


def test_branches_are_an_object_here_and_an_array_there(world: World) -> None:
    """LuCI and owut want the one, auc the other."""
    branches = world.client.get("/json/v1/overview.json").json()["branches"]

    assert list(branches) == ["SNAPSHOT", "25.12", "24.10", "23.05", "22.03", "21.02"]
    assert world.client.get("/json/v1/branches.json").json() == list(branches.values())


def test_every_branch_has_what_clients_insist_on(world: World) -> None:
    """Without `path_packages` auc skips a branch, and LuCI throws without `package_changes`."""
    for name, branch in world.client.get("/json/v1/overview.json").json()["branches"].items():
        assert (branch["name"], branch["enabled"], branch["path_packages"]) == (
            name,
            True,
            "DEPRECATED",
        )
        # Of these two the downloads server has nothing.
        assert bool(branch["targets"]) is (name not in {"22.03", "21.02"})
        assert all(isinstance(architecture, str) for architecture in branch["targets"].values())
        assert all(
            isinstance(change["source"], str) and isinstance(change["revision"], int)
            for change in branch["package_changes"]
        )
        assert branch["snapshot"] is (name == "SNAPSHOT")
        assert branch["path"] == ("snapshots" if name == "SNAPSHOT" else "releases/{version}")
        assert isinstance(branch.get("branch_off_rev", 0), int)
        assert ("branch_off_rev" in branch) == (name != "SNAPSHOT")


def test_versions_are_newest_first_by_number(world: World) -> None:
    """23.05.10 is newer than 23.05.9, and the snapshot of the branch is among them."""
    branches = world.client.get("/json/v1/overview.json").json()["branches"]

    assert branches["23.05"]["versions"] == ["23.05.10", "23.05.9", "23.05-SNAPSHOT"]
    assert branches["SNAPSHOT"]["versions"] == ["SNAPSHOT"]


def test_package_changes_follow_the_branch(world: World) -> None:
    """A change of a later branch does not reach an earlier one."""
    branches = world.client.get("/json/v1/overview.json").json()["branches"]
    changes = {
        name: {change["source"]: change for change in branch["package_changes"]}
        for name, branch in branches.items()
    }

    assert changes["24.10"]["auc"] == {"source": "auc", "target": "owut", "revision": 26792}
    assert "auc" not in changes["23.05"]
    assert changes["SNAPSHOT"]["kmod-nft-nat6"] == {
        "source": "kmod-nft-nat6",
        "revision": 20282,
        "mandatory": True,
    }


def test_a_branch_without_snapshot_shows_its_releases(world: World) -> None:
    """25.12 has no 25.12-SNAPSHOT: its targets come from its releases, and it does not vanish."""
    assert (
        world.client.get("/json/v1/overview.json").json()["branches"]["25.12"]["targets"] == TARGETS
    )


def test_a_branch_without_release_shows_its_snapshot() -> None:
    """Between branching and the first release candidate there is nothing else."""
    documents = metadata()
    documents[".versions.json"]["versions_list"] = ["24.10.4"]
    documents["releases/23.05-SNAPSHOT/.targets.json"] = {"x86/64": "x86_64"}
    documents[".versions.json"] |= {"oldstable_version": "", "upcoming_version": ""}

    branch = overview(documents)["branches"]["23.05"]

    assert (branch["versions"], branch["targets"]) == (["23.05-SNAPSHOT"], {"x86/64": "x86_64"})


def test_targets_do_not_vanish_while_a_release_is_published() -> None:
    """A release appears target by target; what it lacks is still there in the one before."""
    documents = metadata()
    del documents["releases/24.10-SNAPSHOT/.targets.json"]
    documents["releases/24.10.4/.targets.json"] = {"x86/64": "x86_64"}

    assert overview(documents)["branches"]["24.10"]["targets"] == TARGETS


def test_one_broken_document_hides_no_branch() -> None:
    """Trouble with the targets of one snapshot is no outage of everything."""
    documents = {**metadata(), "releases/24.10-SNAPSHOT/.targets.json": "<html>"}

    assert overview(documents)["branches"]["24.10"]["targets"].keys() >= TARGETS.keys()


def test_a_branch_of_which_nothing_is_there_is_listed_without_targets() -> None:
    """LuCI looks its own branch up before every build, whatever becomes of it; owut and auc pass
    over one without targets.
    """
    branch = overview(metadata(), oldest_branch="21.02")["branches"]["22.03"]

    assert (branch["targets"], branch["versions"]) == ({}, ["22.03-SNAPSHOT"])
    assert branch["package_changes"]


def test_the_oldest_branch_is_the_operators_choice() -> None:
    """Older ones are not listed."""
    assert list(overview(metadata(), oldest_branch="24.10")["branches"]) == [
        "SNAPSHOT",
        "25.12",
        "24.10",
    ]


def test_the_overview_says_what_the_server_allows(world: World) -> None:
    """A device's owut asks the user accordingly, and takes the address of the downloads server from
    here.
    """
    body = world.client.get("/json/v1/overview.json").json()

    assert body["upstream_url"] == "https://downloads.example.org"
    assert body["latest"] == ["25.12.0-rc1", "24.10.4", "23.05.10"]
    server = body["server"]
    assert (
        server["allow_defaults"],
        server["max_defaults_length"],
        server["max_custom_rootfs_size_mb"],
        server["contact"],
    ) == (True, 5, 6, "mail")
    assert server["repository_allow_list"] == []


def test_the_overview_lists_allowed_feeds() -> None:
    """As they are compared: a client may offer what lies below them."""
    server = overview(
        metadata(),
        repository_allow_list=["HTTPS://Feeds.example.org/own/", "http://192.0.2.7:8080"],
    )["server"]

    assert server["repository_allow_list"] == [
        "https://feeds.example.org/own",
        "http://192.0.2.7:8080/",
    ]


@pytest.mark.parametrize("version", ["24.10.4", "SNAPSHOT", "24.10-SNAPSHOT"])
def test_the_revision(world: World, version: str) -> None:
    """LuCI compares its number with the device's, with a timestamp behind the path as always."""
    assert world.client.get(f"/api/v1/revision/{version}/ath79/generic?1795421294847").json() == {
        "revision": REVISION
    }


def test_the_revision_of_what_does_not_exist(world: World) -> None:
    """The words and the status are those that clients know."""
    answer = world.client.get("/api/v1/revision/24.10.77/ath79/generic")

    assert (answer.status_code, answer.json()["status"], answer.json()["detail"]) == (
        400,
        400,
        "Unsupported version: 24.10.77",
    )


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/overview", "/json/v1/overview.json"),
        ("/api/overview", "/json/v1/overview.json"),
        ("/api/v1/overview", "/json/v1/overview.json"),
        ("//api/v1/overview/?1795421294847", "/json/v1/overview.json"),
        ("/api/v1/latest", "/json/v1/latest.json"),
    ],
)
def test_old_addresses_lead_on(world: World, path: str, to: str) -> None:
    """LuCI of 22.03 asks at /api/overview; the redirect itself may be read by any page."""
    answer = world.client.get(f"http://testserver{path}", headers={"Origin": "http://192.168.1.1"})

    assert (answer.status_code, answer.headers["location"]) == (301, to)
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize(
    "path",
    [
        "/json/v1/overview.json",
        "/json/v1/branches.json",
        "/json/v1/latest.json",
        "/api/v1/revision/24.10.4/x86/64",
    ],
)
def test_head_answers_as_get(world: World, path: str) -> None:
    """Caches ask with HEAD."""
    assert world.client.head(path).status_code == world.client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/json/v1/overview.json",
        "/json/v1/branches.json",
        "/json/v1/latest.json",
        "/api/v1/revision/24.10.4/x86/64",
    ],
)
def test_without_upstream_there_is_nothing_to_tell(path: str) -> None:
    """An empty list would tell devices that there is no release; 503 tells them to come back."""
    with opened(upstream=MemoryUpstream({}, down=True)) as world:
        answer = world.client.get(path)

        assert (answer.status_code, answer.json()["code"]) == (503, "upstream-unreachable")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "path",
    [
        "latest.json",
        "branches.json",
        "overview.json",
        "releases/24.10.4/targets/ath79/generic/tplink_archer-c7-v5.json",
    ],
)
def test_what_is_current_is_not_sent_again(world: World, path: str) -> None:
    """Whoever has a document asks with its ETag and is told in a few bytes that it still holds; any
    other gets it whole.
    """
    first = world.client.get(f"/json/v1/{path}")
    again = world.client.get(
        f"/json/v1/{path}?1795421294847",
        headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'},
    )
    other = world.client.get(f"/json/v1/{path}", headers={"If-None-Match": '"other"'})

    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert (again.content, again.headers["etag"]) == (b"", first.headers["etag"])
    assert first.headers["cache-control"] == "no-cache"
    assert again.headers.get_list("access-control-allow-origin") == ["*"]


def test_devices_are_told_the_public_address() -> None:
    """With owut the device itself fetches from `upstream_url`; a cache of ours would be out of its
    reach.
    """
    with opened(public_upstream_url="https://public.example.org") as public, opened() as plain:
        told = [
            world.client.get("/json/v1/overview.json").json()["upstream_url"]
            for world in (public, plain)
        ]

    assert told == ["https://public.example.org", "https://downloads.example.org"]
