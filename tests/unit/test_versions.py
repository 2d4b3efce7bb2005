"""One total order over releases, candidates, branches and snapshots."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asu.resolution import InvalidVersionError, Version, is_older_package

OLDEST_FIRST = [
    "21.02.7", "22.03", "23.05", "23.05.0-rc1", "23.05.0-rc2", "23.05.0-rc10", "23.05.0",
    "23.05.5", "23.05.9", "23.05.10", "23.05-SNAPSHOT",
    "24.10", "24.10.0-rc7", "24.10.0", "24.10.4", "24.10-SNAPSHOT", "25.12.0-rc1", "25.12.0",
    "SNAPSHOT",
]  # fmt: skip

numbers = st.integers(min_value=0, max_value=999)
branches = st.builds("{:02}.{:02}".format, st.integers(0, 99), st.integers(0, 99))
version_names = st.one_of(
    st.just("SNAPSHOT"),
    branches,
    st.builds("{}-SNAPSHOT".format, branches),
    st.builds("{}.{}".format, branches, numbers),
    st.builds("{}.{}-rc{}".format, branches, numbers, numbers),
)


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(OLDEST_FIRST)))
def test_versions_are_ordered_by_age(older: str, newer: str) -> None:
    """Numbers count as numbers, candidates come before their release, a branch's snapshot after its
    releases, SNAPSHOT last.
    """
    assert Version.parse(older) < Version.parse(newer)


@given(version_names, version_names, version_names)
def test_the_order_is_total(first: str, second: str, third: str) -> None:
    """Any two versions compare, exactly one way, and a sorted list stays sorted."""
    a, b, c = sorted(map(Version.parse, (first, second, third)))

    assert a <= b <= c
    assert a <= c
    assert (a < b) + (b < a) + (a.rank == b.rank) == 1


@given(version_names)
def test_a_version_is_written_as_it_was_read(name: str) -> None:
    """What was read is what is shown; nothing is normalised away."""
    assert str(Version.parse(name)) == name


@pytest.mark.parametrize(
    ("name", "branch"),
    [
        ("24.10.4", "24.10"),
        ("24.10-SNAPSHOT", "24.10"),
        ("25.12.0-rc2", "25.12"),
        ("SNAPSHOT", "SNAPSHOT"),
    ],
)
def test_a_version_knows_its_branch(name: str, branch: str) -> None:
    """The branch of a version is that of OpenWrt's release branches."""
    assert Version.parse(name).branch == branch


def test_snapshots_are_told_from_releases() -> None:
    """Both kinds of snapshot move on under their name; only SNAPSHOT itself is the development
    branch.
    """
    assert Version.parse("24.10-SNAPSHOT").is_snapshot
    assert not Version.parse("24.10-SNAPSHOT").is_development
    assert Version.parse("SNAPSHOT").is_development
    assert not Version.parse("24.10.0").is_snapshot


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "24.10.",
        "24.10.4\n",
        " 24.10.4",
        "24.10.4-rc",
        "24.10-rc1",
        "snapshot",
        "24.10.4-SNAPSHOT",
        "v24.10.4",
        "24.10.1234",
        "\u0662\u0664.\u0661\u0660.\u0664",
        "24.10.4;id",
    ],
)
def test_anything_else_is_no_version(text: str) -> None:
    """Only OpenWrt's own spellings are versions: whole, ASCII, without a line end."""
    with pytest.raises(InvalidVersionError):
        Version.parse(text)


PACKAGES_OLDEST_FIRST = [
    ("1.9", "1.10"),
    ("1.2-r1", "1.2-r2"),
    ("1.2-r9", "1.2-r10"),
    ("1.2-r9", "1.3-r1"),
    ("2.90-3", "2.91-1"),
    ("1.2", "1.2.1"),
    ("1.2~rc1", "1.2"),
    ("1.2~rc1-r1", "1.2~rc2-r1"),
    ("1.2_rc1-r1", "1.2-r1"),
    ("3.0.15-r1", "3.0.16-r1"),
    ("1.0", "1.0a"),
    ("1.0a", "1.0.1"),
    ("2024.10.16~38eccbb1-r1", "2025.01.02~00cbcbcb-r1"),
    ("20230311-r1", "20240203-r1"),
    ("25.021.30718~36b6107", "25.024.21113~4d6c9a4"),
    ("6.6.69-r1", "6.12.40-r1"),
    ("git-23.051.66410-a505bb1", "git-24.086.45142-09d5a38"),
]


@pytest.mark.parametrize(("older", "newer"), PACKAGES_OLDEST_FIRST)
def test_package_versions_are_ordered_as_the_package_managers_do(older: str, newer: str) -> None:
    """Numbers as numbers, `~` and candidates before the release, the packaging revision last."""
    assert is_older_package(older, newer)
    assert not is_older_package(newer, older)


@pytest.mark.parametrize("version", ["1", "1.2~rc1-r1", "", "-r1"])
def test_a_package_version_is_not_older_than_itself(version: str) -> None:
    """The same version is no downgrade."""
    assert not is_older_package(version, version)


@given(st.text(), st.text())
def test_any_two_texts_compare(one: str, other: str) -> None:
    """Clients send what they like as a version; of two texts at most one is older."""
    assert not (is_older_package(one, other) and is_older_package(other, one))


def test_a_number_may_be_as_long_as_a_client_likes() -> None:
    """Longer numbers are larger, and leading zeros mean nothing."""
    assert is_older_package("9" * 9_999, "1" + "0" * 9_999)
    assert not is_older_package("1.1", "1.0001")
    assert not is_older_package("1.0001", "1.1")
