"""Which package manager a version installs with."""

import pytest

from asu.catalogue.package_manager import package_manager_of
from asu.resolution import Version


@pytest.mark.parametrize(
    "version", ["21.02.7", "23.05.5", "23.05-SNAPSHOT", "24.10.0-rc1", "24.10.10", "24.10-SNAPSHOT"]
)
def test_opkg_until_24_10(version: str) -> None:
    """The snapshot of 24.10 is newer than any of its releases, and still of that branch."""
    assert package_manager_of(Version.parse(version)) == "opkg"


@pytest.mark.parametrize(
    "version", ["25.12", "25.12.0-rc1", "25.12.0", "25.12-SNAPSHOT", "26.10.1", "SNAPSHOT"]
)
def test_apk_since_25_12(version: str) -> None:
    """From the beginning of the branch on, and in the development branch."""
    assert package_manager_of(Version.parse(version)) == "apk"
