"""Packages that certainly do not exist are refused before the queue; what is uncertain is built."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

import pytest
from typing_extensions import override

from asu.records.build_plan import explained_packages
from asu.resolution import Problem
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import REQUEST, World, metadata, opened

BASE = "releases/24.10.4"
FEED = f"{BASE}/packages/mips_24kc/base"
TARGET = f"{BASE}/targets/ath79/generic/packages"
NAMES = ("luci", "tmux", "owut", "vim")
FEEDS = {"own": "https://feeds.example/own"}


def opkg_index(names: Iterable[str], provides: str = "") -> bytes:
    """Return an index as opkg reads it."""
    text = "".join(
        f"Package: {name}\nVersion: 1\n" + (f"Provides: {provides}\n" if provides else "") + "\n"
        for name in names
    )
    return gzip.compress(text.encode())


def documents(*names: str, has_provides: bool = True, provides: str = "") -> dict[str, Any]:
    """Return a downloads server whose feeds hold these packages."""
    found: dict[str, Any] = {
        **metadata(),
        f"{BASE}/packages/mips_24kc/feeds.conf": "src-git base https://x.example/b^01\n",
        f"{FEED}/index.json": {"version": 2, "packages": dict.fromkeys(names, "1")},
        f"{TARGET}/index.json": {"version": 2, "packages": {}},
    }
    if has_provides:
        found[f"{FEED}/Packages.gz"] = opkg_index(names, provides)
        found[f"{TARGET}/Packages.gz"] = opkg_index(())
    return found


class OldCopies(MemoryUpstream):
    """A downloads server that has not confirmed the copy of one document."""

    def __init__(self, old: str) -> None:
        super().__init__(documents(*NAMES))
        self._old = old

    @override
    def is_unconfirmed(self, path: str) -> bool:
        return path == self._old


def ask(world: World, packages: list[str], query: str = "", **fields: Any) -> Any:
    """Ask for a build with these packages."""
    return world.post({**REQUEST, "packages": packages, **fields}, query)


@pytest.mark.parametrize("query", ["", "?skip_package_resolution=true"])
@pytest.mark.parametrize("count", [1, 3, 40, 900])
def test_names_that_nobody_has_are_refused(query: str, count: int) -> None:
    """In words that a client can show, with all problems for programs, and without a place in
    line.
    """
    names = [f"no-such-{number}" for number in range(count)]
    with opened(upstream=MemoryUpstream(documents(*NAMES))) as world:
        answer = ask(world, ["luci", *names], query)
        preview = world.client.post(
            "/api/v1/build/prepare", json={**REQUEST, "packages": ["luci", *names]}
        ).json()

        assert world.records.due_keys() == []
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (400, 400, "impossible-selection")
    assert body["detail"].startswith("Impossible package selection: There is no package no-such-0")
    assert len(body["detail"]) < 300
    if count > 3:
        assert f"{count - 2} more are in `problems`." in body["detail"]
    assert body["problems"] == preview["problems"]
    assert [problem["package"] for problem in body["problems"]] == names


@pytest.mark.parametrize(
    ("found", "fields"),
    [
        (MemoryUpstream(documents(*NAMES, has_provides=False)), {}),
        (MemoryUpstream({**documents(*NAMES), f"{TARGET}/Packages.gz": b"broken"}), {}),
        (MemoryUpstream(documents(*NAMES, provides="no-such")), {}),
        (MemoryUpstream(metadata()), {}),
        (OldCopies(f"{FEED}/Packages.gz"), {}),
        (OldCopies(f"{BASE}/packages/mips_24kc/feeds.conf"), {}),
        (MemoryUpstream(documents(*NAMES)), {"repositories": FEEDS}),
        (MemoryUpstream(documents(*NAMES)), {"leave_out_missing": True}),
    ],
    ids=[
        *("virtual names unknown", "index damaged", "virtual", "no indexes"),
        *("old index", "old list of feeds", "own feed", "left out"),
    ],
)
def test_what_is_uncertain_is_queued(found: MemoryUpstream, fields: dict[str, Any]) -> None:
    """A build that might work is never refused."""
    with opened(upstream=found, repository_allow_list=["https://feeds.example"]) as world:
        answer = ask(world, ["luci", "no-such"], **fields)

    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("query", ["", "?skip_package_resolution=true"])
def test_a_known_build_keeps_its_answer(query: str) -> None:
    """Some clients ask for their build by sending it again, and its packages were there."""
    records = ImitatedRecords()
    with opened(upstream=MemoryUpstream(documents(*NAMES)), records=records) as world:
        assert ask(world, ["vim"], query).status_code == 202
    with opened(upstream=MemoryUpstream(documents("luci")), records=records) as world:
        assert ask(world, ["vim"], query).status_code == 202


def test_a_plan_carries_what_the_preview_says() -> None:
    """With a feed of the request's own the builder decides, and a failure says the same."""
    with opened(
        upstream=MemoryUpstream(documents("luci", "tmux")),
        repository_allow_list=["https://feeds.example"],
    ) as world:
        assert ask(world, ["luci", "tmuxx"], repositories=FEEDS).status_code == 202
        attempt = world.records.start_next()

    assert attempt is not None
    explained = explained_packages(attempt.plan)["tmuxx"]
    assert (explained["kind"], explained["suggestion"]) == ("unknown", "tmux")


@pytest.mark.parametrize(
    "junk",
    [
        *(None, 7, "text", [], [1], {"a": 1}, {"a": None}, {"a": {}}, {"a": {"kind": "x"}}),
        {"a": {**Problem("a", "unknown", None, "d")._asdict(), "more": "x"}},
        {"a": {**Problem("a", "unknown", None, "d")._asdict(), "detail": ["x"]}},
    ],
    ids=json.dumps,
)
def test_junk_in_a_plan_explains_nothing(junk: Any) -> None:
    """Redis may hold anything; the failure is then explained without it."""
    assert explained_packages({"explained": junk}) == {}
