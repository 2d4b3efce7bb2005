"""What this server is made of: the locks, what an audit of them means, and the bill of
materials.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cyclonedx.output.json import JsonV1Dot6

from misc.supply.audit import Outcome, read_outcome
from misc.supply.locks import LOCKS, ROOT, SERVICES, Requirement, read_lock
from misc.supply.sbom import CONTAINERFILES, bill

if TYPE_CHECKING:
    from pathlib import Path

ONE = Requirement(name="one", version="1.0", marker="", hashes=("a" * 64, "b" * 64))
OTHER = Requirement(
    name="other", version="2.0", marker="sys_platform == 'win32'", hashes=("c" * 64,)
)
LOCK = f"""\
# made by a tool
one==1.0 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via asu
other==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:{"c" * 64}
"""


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_requirement_is_pinned_by_hash(lock: Path) -> None:
    """What is installed is what was looked at, wherever it is fetched from: no lock names a
    place.
    """
    text = lock.read_text()

    assert len(read_lock(text)) > 5
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_installs_is_what_developers_test(service: str) -> None:
    """The locks agree on each version, so that no image holds another than the tests ran with."""
    tested = {
        requirement.name: requirement.version for requirement in read_lock(LOCKS[-1].read_text())
    }

    assert {
        one.name: one.version for one in read_lock(SERVICES[service].read_text())
    }.items() <= tested.items()


def test_a_lock_is_read_with_its_hashes() -> None:
    """Names, versions, markers, and every file that may be installed."""
    assert read_lock(LOCK) == [ONE, OTHER]


@pytest.mark.parametrize(
    "line",
    [
        "one==1.0\n",
        "one>=1.0 --hash=sha256:" + "a" * 64,
        "--index-url https://index.example/\n",
        "one==1.0 --hash=md5:abc\n",
        "-e .\n",
    ],
)
def test_what_is_not_pinned_is_found(line: str) -> None:
    """A version without hash, a range, a place, a weak hash."""
    with pytest.raises(ValueError, match="pins nothing"):
        read_lock(LOCK + line)


def test_an_audit_that_nobody_answered_is_not_a_good_one() -> None:
    """Without the advisory data pip-audit calls each package unknown and ends well; or it says
    nothing at all.
    """
    nobody = json.dumps(
        {"dependencies": [{"name": "one", "skip_reason": "not found"}], "fixes": []}
    )

    assert read_outcome(nobody) == Outcome((), ("one",), 0)
    assert read_outcome("") is None
    assert read_outcome("[]") is None


def test_a_vulnerable_package_is_named_with_its_cure() -> None:
    """Which package, which advisory, and the version that mends it."""
    vulnerability = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
    found = json.dumps(
        {
            "dependencies": [
                {"name": "one", "version": "1.0", "vulns": [vulnerability]},
                {"name": "two", "version": "1", "vulns": []},
            ]
        }
    )

    assert read_outcome(found) == Outcome(("one 1.0: PYSEC-1, mended in 1.1",), (), 2)


@pytest.mark.parametrize("digest", ["", f"@sha256:{'d' * 64}"])
def test_a_bill_names_all_that_an_image_holds(digest: str) -> None:
    """The base, pinned or not, each Python package with its hashes, and each Debian package, as
    CycloneDX has them.
    """
    text = CONTAINERFILES["asu"].read_text()
    text = re.sub(r"(ARG BASE_IMAGE=[^\s@]+)\S*", rf"\1{digest}", text)
    bom = bill("asu", text, [ONE, OTHER], [("libc6", "2.41-12", "amd64")])

    document = json.loads(JsonV1Dot6(bom).output_as_string())
    components = {component["name"]: component for component in document["components"]}
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "asu"
    assert components.keys() == {"docker.io/library/python", "one", "other", "libc6"}
    assert components["one"]["purl"] == "pkg:pypi/one@1.0"
    assert {entry["content"] for entry in components["one"]["hashes"]} == {"a" * 64, "b" * 64}
    assert components["other"]["scope"] == "optional"
    assert components["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12?arch=amd64"


@pytest.mark.parametrize("service", SERVICES)
def test_the_containerfiles_say_what_a_bill_needs(service: str) -> None:
    """Each names its base and its version where the bill looks for them."""
    assert bill(
        service, CONTAINERFILES[service].read_text(), read_lock(SERVICES[service].read_text()), []
    ).components
