"""Names of packages that may stand on public pages."""

import pytest

from asu.catalogue.public_names import PublicNames
from asu.resolution import Gatherer
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import indexed

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
