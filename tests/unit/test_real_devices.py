"""Every device of eight real targets, over every jump between three releases: nothing that became
default is lost.
"""

import pytest

from misc.bench.defaults import LEFT_OUT, MAX_BACK, MAX_LOST, Case, Jump, cases, jumps, releases

JUMPS = pytest.mark.parametrize("jump", jumps(), ids=str)
TOLD = pytest.mark.parametrize("stated", [True, False], ids=["told", "inferred"])
# What was default in 23.05 and is a package no more: the board files of two devices.
GONE = {
    ("ipq40xx/generic", "teltonika_rutx50"): "ipq-wifi-teltonika_rutx",
    ("ipq40xx/generic", "zte_mf289f"): "ipq-wifi-zte_mf289f",
}


def is_explicit(case: Case) -> bool:
    """Whether a resolution names each default, as wanted or as taken away, and no package twice."""
    packages = case.resolution.packages
    named = {name.removeprefix("-") for name in packages}
    return (
        named >= case.after.defaults.keys()
        and len(named) == len(packages)
        and not case.resolution.diff_packages
    )


@TOLD
@JUMPS
def test_an_upgrade_loses_nothing_that_became_default(jump: Jump, *, stated: bool) -> None:
    """The old release's defaults, sent as an absolute list, become the new release's."""
    found = list(cases(jump, left_out=0, stated=stated))

    assert len(found) > 190
    assert [(case.device, case.lost) for case in found if case.lost] == []
    assert all(is_explicit(case) for case in found)


@TOLD
@JUMPS
def test_an_unchanged_list_takes_nothing_away(jump: Jump, *, stated: bool) -> None:
    """A user who removed nothing is told of no removal but that of packages which exist no more,
    and of no problem.
    """
    for case in cases(jump, left_out=0, stated=stated):
        assert not [name for name in case.resolution.packages if name.startswith("-")], case.device
        assert {
            change.package for change in case.resolution.changes if change.type == "removal"
        } == case.dropped
        assert case.resolution.problems == ()
        assert case.resolution.checked


@JUMPS
def test_what_a_user_left_out_stays_away_where_the_origin_is_told(jump: Jump) -> None:
    """With from_version each of five removed defaults comes back as an explicit removal, and no
    driver is lost.
    """
    found = list(cases(jump, left_out=LEFT_OUT, stated=True))

    assert [(case.device, case.lost, case.back) for case in found if case.lost or case.back] == []
    assert all(is_explicit(case) for case in found)


@JUMPS
def test_what_a_user_left_out_rarely_misleads_where_the_origin_is_inferred(jump: Jump) -> None:
    """Without from_version a list can look like another release's: who removed just what tells two
    apart. That is rare.
    """
    found = list(cases(jump, left_out=LEFT_OUT, stated=False))

    assert sum(bool(case.lost) for case in found) <= MAX_LOST * len(found)
    assert sum(bool(case.back) for case in found) <= MAX_BACK * len(found)
    assert all(is_explicit(case) for case in found)


@TOLD
def test_what_exists_nowhere_any_more_is_dropped_with_a_reason(*, stated: bool) -> None:
    """A literal list of these two devices fails to build; the answer drops what is gone and says
    why.
    """
    found = {
        case.device: case for case in cases(Jump("23.05.6", "24.10.7"), left_out=0, stated=stated)
    }

    assert {device: case.dropped for device, case in found.items() if case.dropped} == {
        device: {name} for device, name in GONE.items()
    }
    for device, name in GONE.items():
        assert (
            found[device].resolution.why(name)
            == f"{name} was a default package in 23.05.6 and does not exist in 24.10.7 any more."
        )


@JUMPS
def test_most_origins_are_inferred_rightly(jump: Jump) -> None:
    """Where releases have the same defaults for a device, the older one is taken, which has more to
    gain.
    """
    for case in cases(jump, left_out=0, stated=False):
        told = case.resolution.from_version
        assert told is not None
        assert told.inferred
        assert releases()[told.version][case.device].defaults.keys() == case.before.defaults.keys()
