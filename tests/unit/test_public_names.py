"""Names of packages that may stand on public pages."""

import html
from datetime import UTC, datetime

import pytest

from asu.catalogue.public_names import PublicNames
from asu.resolution import Gatherer
from asu.statistics.build_statistics import Failure, FinishedBuild, Problem, hour_of
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import indexed, opened

pytestmark = pytest.mark.anyio


async def test_a_release_candidate_hides_no_release() -> None:
    """Its index may be gone or hold less; the newest release of the branch says what is public."""
    documents = indexed("vim")
    versions = [*documents[".versions.json"]["versions_list"], "24.10.5-rc1"]
    documents[".versions.json"] = {**documents[".versions.json"], "versions_list": versions}
    names = PublicNames(Gatherer(MemoryUpstream(documents)))

    assert await names.among({"vim", "my-vpn-of-client-x"}) == frozenset({"vim"})


@pytest.mark.parametrize(
    ("versions", "is_public"),
    [(["24.10.4", "23.05.10"], True), (["25.12.0", "24.10.4", "23.05.10"], False)],
    ids=["one of two branches", "the third branch"],
)
async def test_two_branches_say_what_is_public(versions: list[str], is_public: bool) -> None:  # noqa: FBT001
    """The newest release of each of two branches is looked at, so a page costs few documents."""
    documents = indexed("vim")
    documents[".versions.json"] = {**documents[".versions.json"], "versions_list": versions}
    new, old = (f"releases/{version}/targets/x86/64" for version in ("24.10.4", "23.05.10"))
    documents[f"{old}/profiles.json"] = documents[f"{new}/profiles.json"]
    documents[f"{old}/packages/index.json"] = {"version": 2, "packages": {"old": "1.0-r1"}}
    names = PublicNames(Gatherer(MemoryUpstream(documents)))

    assert ("old" in await names.among({"vim", "old"})) is is_public


PUBLIC = "acme-public"
LIKE_IT = [f"{PUBLIC}\n", f" {PUBLIC}", f"-{PUBLIC}", PUBLIC.upper(), f"{PUBLIC}\0", f"{PUBLIC}-"]
NOT_PUBLIC = [
    "my-vpn-of-client-x",
    "kmod-unreleased",
    "a" * 128,
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../etc/passwd",
    "\u202egpj",
    "{{ 7 * 7 }}",
    "\x1b[31m",
]
PAGES = ("/", "/stats", "/status", "/upgrade", "/metrics")


def test_no_page_shows_a_name_that_is_not_public() -> None:
    """Neither a page nor an answer without a key, whether builds with it succeeded or failed."""
    statistics, now = ImitatedStatistics(), datetime.now(UTC)
    for name in (PUBLIC, *LIKE_IT, *NOT_PUBLIC):
        packages = frozenset({name})
        statistics.add_finished(
            FinishedBuild(at=now, version="24.10.4", seconds=60.0, packages=packages)
        )
        failure = Failure(
            hour=hour_of(now),
            code="impossible-selection",
            fault="user",
            version="24.10.4",
            target="x86/64",
            profile="generic",
            problems=(Problem(kind="missing", package=name),),
        )
        statistics.add_failure(failure, {})
    with opened(statistics=statistics, upstream=MemoryUpstream(indexed(PUBLIC))) as world:
        paths = world.client.get("/openapi.json").json()["paths"]
        asked = {path for path, methods in paths.items() if "get" in methods and "{" not in path}
        answers = {path: world.client.get(path) for path in {*asked, *PAGES}}

    packages_shown = answers["/api/v1/top-packages"].json()["packages"]
    errors = answers["/api/v1/build-errors"].json()["errors"]
    assert packages_shown == [{"name": PUBLIC, "count": 1}]
    assert {one["package"] for each in errors for one in each["problems"]} == {PUBLIC}
    assert PUBLIC in answers["/stats"].text
    for path, answer in answers.items():
        for text in (answer.text, html.unescape(answer.text)):
            assert [name for name in NOT_PUBLIC if name in text] == [], path
