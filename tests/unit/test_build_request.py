"""What a build request may hold; the corpus that both services refuse stands in the contract
tests.
"""

from typing import Any

import pytest
from pydantic import ValidationError

from asu.build_request import BUILD_KEY, MAX_PACKAGES, BuildRequest, echo
from tests.unit.worlds import REQUEST


def read(**fields: Any) -> BuildRequest:
    """Read a request with these fields changed."""
    return BuildRequest.model_validate({**REQUEST, **fields})


def test_a_request_needs_only_version_target_and_profile() -> None:
    """The Go client sends little more than these."""
    request = BuildRequest.model_validate(
        {name: REQUEST[name] for name in ("version", "target", "profile")}
    )

    assert (request.packages, request.diff_packages, request.defaults, request.filesystem) == (
        [],
        False,
        None,
        None,
    )


@pytest.mark.parametrize("missing", ["version", "target", "profile"])
def test_without_one_of_them_it_is_none(missing: str) -> None:
    """Each of the three is required."""
    with pytest.raises(ValidationError, match=missing):
        BuildRequest.model_validate(
            {name: value for name, value in REQUEST.items() if name != missing}
        )


def test_what_real_clients_send_is_taken() -> None:
    """Sizes as strings, nulls, a client without version, and fields of replayed answers."""
    request = read(
        rootfs_size_mb="256",
        filesystem=None,
        client="luci/undefined",
        defaults="",
        repositories={},
        repository_keys=[],
        url="x",
        efi=None,
    )

    assert request.rootfs_size_mb == 256
    assert "url" not in request.model_dump()


@pytest.mark.parametrize(
    "packages",
    [
        ["a" * 128],
        ["-" + "a" * 128],
        ["luci-app-attendedsysupgrade", "libstdcpp6", "g++", "6in4", "kmod-usb3.0"],
    ],
)
def test_package_names_as_they_are(packages: list[str]) -> None:
    """Names of up to 128 characters, with one removal mark."""
    assert read(packages=packages).packages == packages


def test_a_thousand_packages_and_no_more() -> None:
    """The largest list of a real device has 372 names."""
    assert (
        len(read(packages=[f"p{number}" for number in range(MAX_PACKAGES)]).packages)
        == MAX_PACKAGES
        == 1000
    )
    with pytest.raises(ValidationError, match="too_long"):
        read(packages=[f"p{number}" for number in range(MAX_PACKAGES + 1)])


@pytest.mark.parametrize(
    ("field", "limit"),
    [("rootfs_size_mb", 10_240), ("filesystem", "ubifs"), ("repositories_mode", "append")],
)
def test_the_last_admitted_value(field: str, limit: object) -> None:
    """Limits are inclusive."""
    assert getattr(read(**{field: limit}), field) == limit


def test_a_request_cannot_be_changed() -> None:
    """What was validated is what is built."""
    with pytest.raises(ValidationError, match="frozen"):
        read().version = "24.10.3"


def test_the_first_boot_script_is_never_echoed() -> None:
    """It may hold passwords; its place stays, since owut dies without it."""
    assert echo(read(defaults="passwd secret").normalised())["defaults"] == "(withheld)"
    assert echo(read().normalised())["defaults"] is None
    assert set(echo(read().normalised())) == set(BuildRequest.model_fields)


@pytest.mark.parametrize(
    "key", ["a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "", "../" + "a" * 61]
)
def test_only_whole_hashes_are_keys(key: str) -> None:
    """A key becomes part of names in Redis and on disk."""
    assert BUILD_KEY.fullmatch(key) is None
    assert BUILD_KEY.fullmatch("0123456789abcdef" * 4)


def test_what_an_earlier_release_kept_of_an_asker_is_not_echoed() -> None:
    """Its builds may wait, or be made known again from the store."""
    asked = read(client="owut/1", from_version="23.05.9", ignored_changes=["auc-owut"]).normalised()

    assert echo(asked) == echo(read().normalised())
