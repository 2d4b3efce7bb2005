"""What cannot work: every name that does not exist, with what became of it, and packages that
exclude one another.
"""

from typing import Any

import pytest

from asu.resolution import Knowledge, PackageIndex, Problem, Resolution, load_rules, resolve
from asu.resolution.existence import MAX_SUGGESTIONS
from tests.unit.fixtures.small_world import COMMON, absolute, defaults, index, knowing, relative

RULES = load_rules()
NOW = defaults("25.12.5", *COMMON)
INDEX = index(
    *COMMON,
    "luci",
    "luci-app-sqm",
    "libusb-1.0",
    "libopenssl",
    "owut",
    "wpad-openssl",
    "dnsmasq-full",
    "libustream-mbedtls",
)


def checked(*packages: str, known: PackageIndex | None = INDEX, **fields: Any) -> Resolution:
    """Resolve a relative request with an index."""
    elsewhere = fields.pop("elsewhere", None)
    return resolve(
        relative(packages, "25.12.5", **fields),
        RULES,
        knowing(NOW, index=known, elsewhere=elsewhere),
    )


def only_problem(resolution: Resolution) -> Problem:
    """Return the one problem that there is."""
    (problem,) = resolution.problems
    return problem


def test_what_exists_is_no_problem() -> None:
    """A list of existing packages and removals is checked and fine, removals of unknown names
    included.
    """
    resolution = checked("luci", "libopenssl", "-dnsmasq", "-no-such-package")

    assert (resolution.problems, resolution.checked) == ((), True)


def test_an_unknown_name_comes_with_a_near_one() -> None:
    """A slip of the finger is recognised."""
    problem = only_problem(checked("luci-app-sqn"))

    assert (problem.kind, problem.package, problem.suggestion) == (
        "unknown",
        "luci-app-sqn",
        "luci-app-sqm",
    )
    assert (
        problem.detail
        == "There is no package luci-app-sqn in 25.12.5 for x86/64; did you mean luci-app-sqm?"
    )


def test_an_unknown_name_without_a_near_one_is_told_all_the_same() -> None:
    """No suggestion is better than a wild one."""
    problem = only_problem(checked("zzz"))

    assert (problem.kind, problem.suggestion) == ("unknown", None)


@pytest.mark.parametrize("since", [None, "23.05.6", "25.12.0"])
@pytest.mark.parametrize(
    ("name", "new", "rule"),
    [
        ("auc", "owut", "auc-owut"),
        ("libopenssl3", "libopenssl", "abi-libopenssl3"),
        ("libusb-1.0-0", "libusb-1.0", "abi-libusb-1.0-0"),
    ],
)
def test_a_name_that_is_gone_leads_to_its_successor(
    since: str | None, name: str, new: str, rule: str
) -> None:
    """Nobody can have meant a name that does not exist, wherever the device comes from."""
    resolution = checked("luci", name, since=since)

    assert (resolution.packages, resolution.problems) == (("luci", new), ())
    [change] = resolution.changes
    assert (change.type, change.from_package, change.to_package, change.rule) == (
        "migration",
        name,
        new,
        rule,
    )


def test_a_removed_name_is_left_out_wherever_the_device_comes_from() -> None:
    """Nothing took its place, and nothing could install it."""
    resolution = checked("luci", "kmod-nft-nat6", since="25.12.0")

    assert (resolution.packages, resolution.problems) == (("luci",), ())


def test_the_name_of_an_interface_that_exists_stays() -> None:
    """An index of an old release holds libraries under both names."""
    resolution = checked("libopenssl3", known=index("libopenssl", "libopenssl3"))

    assert resolution.packages == ("libopenssl3",)


def test_an_interface_can_be_insisted_on() -> None:
    """A user who ignores the change is shown the missing name."""
    resolution = checked("libopenssl3", ignored_changes=["abi-libopenssl3"])

    assert only_problem(resolution).package == "libopenssl3"


def test_a_name_that_only_the_old_release_has_was_removed() -> None:
    """The user did not mistype it."""
    request = relative(["luci-app-old"], "25.12.5", since="24.10.7")
    known = Knowledge(defaults=NOW, index=INDEX, before=index("luci-app-old"))
    problem = only_problem(resolve(request, RULES, known))

    assert (problem.kind, problem.suggestion) == ("removed", None)
    assert (
        problem.detail
        == "luci-app-old was in the release that the device runs and does not exist in 25.12.5 "
        "any more."
    )


@pytest.mark.parametrize(
    ("name", "rule", "kind", "suggestion", "detail"),
    [
        (
            "auc",
            "auc-owut",
            "renamed",
            "owut",
            "auc was replaced by owut. (since 24.10, rule auc-owut)",
        ),
        (
            "luci-i18n-opkg-de",
            "luci-i18n-opkg-package-manager",
            "renamed",
            "luci-i18n-package-manager-de",
            "(since 24.10, rule luci-i18n-opkg-package-manager)",
        ),
        (
            "kmod-nft-nat6",
            "kmod-nft-nat6-removed",
            "removed",
            None,
            "(since 23.05, rule kmod-nft-nat6-removed)",
        ),
    ],
)
def test_a_vetoed_rule_leaves_a_problem_that_says_why(
    name: str, rule: str, kind: str, suggestion: str | None, detail: str
) -> None:
    """A user who insists on the old name sees what became of it."""
    problem = only_problem(checked(name, ignored_changes=[rule]))

    assert (problem.kind, problem.suggestion) == (kind, suggestion)
    assert problem.detail.endswith(detail)


def test_a_rule_of_the_future_explains_nothing() -> None:
    """Opkg is no package of this index, but it was not replaced before 25.12."""
    resolution = resolve(
        relative(["opkg"], "24.10.7"), RULES, knowing(defaults("24.10.7", *COMMON), index=INDEX)
    )

    assert only_problem(resolution).kind == "unknown"


def test_a_package_of_another_target_is_elsewhere() -> None:
    """It exists in this version, but not here: that is no slip, and there is nothing to rename."""
    problem = only_problem(
        checked("kmod-e1000", elsewhere=index("kmod-e1000"), device=("ath79/nand", "any"))
    )

    assert (problem.kind, problem.suggestion) == ("elsewhere", None)
    assert problem.detail == "kmod-e1000 exists in 25.12.5, but not for ath79/nand."


def test_all_problems_come_in_one_answer_in_the_order_of_the_list() -> None:
    """Nobody has to ask twice."""
    resolution = checked(
        "nonsense",
        "luci",
        "auc",
        "kmod-nft-nat6",
        "kmod-e1000",
        since="25.12.0",
        ignored_changes=["auc-owut", "kmod-nft-nat6-removed"],
        elsewhere=index("kmod-e1000"),
    )

    assert [(problem.package, problem.kind) for problem in resolution.problems] == [
        ("nonsense", "unknown"),
        ("auc", "renamed"),
        ("kmod-nft-nat6", "removed"),
        ("kmod-e1000", "elsewhere"),
    ]


@pytest.mark.parametrize("known", [None, index("luci", complete=False)])
def test_without_a_whole_index_nothing_is_called_missing(known: PackageIndex | None) -> None:
    """What was not looked up everywhere may exist; the answer says that it was not checked."""
    resolution = checked("nonsense", "luci", known=known)

    assert (resolution.problems, resolution.checked) == ((), False)


def test_with_repositories_unknown_names_are_warnings() -> None:
    """The user's own repository may hold them."""
    resolution = checked("nonsense", "auc", since="25.12.0", feeds=("mine",))

    assert (resolution.problems, resolution.checked) == ((), True)
    assert resolution.warnings == (
        (
            "There is no package nonsense in 25.12.5 for x86/64. nonsense is expected from the feed"
            " mine."
        ),
        (
            "auc was replaced by owut. (since 24.10, rule auc-owut) auc is expected from the feed"
            " mine."
        ),
    )


def test_many_feeds_make_no_long_sentences() -> None:
    """A thousand warnings of sixteen long names each would be a preview that nobody reads."""
    [warning] = checked("nonsense", feeds=("a", "b", "c", "d", "e")).warnings

    assert warning.endswith("nonsense is expected from one of the feeds a, b, c and 2 more.")


@pytest.mark.parametrize("wanted", ["0.5", "2", "~"])
def test_a_version_that_the_release_has_not_is_a_problem(wanted: str) -> None:
    """A build would install everything and then refuse its own image."""
    known = PackageIndex(({"luci": "1", "vim": "9"},))
    found = checked("luci", "vim", known=known, packages_versions={"luci": wanted, "vim": "9"})

    [problem] = found.problems
    assert (problem.package, problem.kind) == ("luci", "version")
    assert problem.detail == f"luci is 1 in 25.12.5, not {wanted}."
    assert found.warnings == ()


def test_a_feed_of_ones_own_may_keep_a_promise() -> None:
    """The version that a request insists on may be the one that its own feed holds."""
    known = PackageIndex(({"luci": "1"},))
    found = checked("luci", known=known, packages_versions={"luci": "2"}, feeds=("mine",))

    assert found.problems == ()
    [warning] = found.warnings
    assert warning.startswith("Unless the feed mine brings these versions, the build would fail, ")
    assert "luci is 1, not 2" in warning


def test_an_index_that_is_not_whole_makes_no_version_a_problem() -> None:
    """Another index may have the version, too."""
    known = PackageIndex(({"luci": "1"},), complete=False)
    found = checked("luci", known=known, packages_versions={"luci": "2"})

    assert found.problems == ()
    assert any("luci is 1, not 2" in warning for warning in found.warnings)


@pytest.mark.parametrize(("wanted", "is_problem"), [("2", False), ("0.5", True)])
def test_the_index_of_a_snapshot_may_lag_behind(wanted: str, *, is_problem: bool) -> None:
    """It is made again every day; what is newer than the copy at hand may be there already."""
    known = knowing(NOW, index=PackageIndex(({"luci": "1"},)))
    request = relative(("luci",), "SNAPSHOT", packages_versions={"luci": wanted})
    found = resolve(request, RULES, known)

    assert bool(found.problems) is is_problem
    assert any("luci is 1, not 2" in warning for warning in found.warnings) is not is_problem


def test_feeds_in_the_place_of_openwrts_are_told() -> None:
    """Replacing is what a request means that does not say; the index that was looked at is then not
    the one that is used.
    """
    [warning] = checked("luci", feeds=("mine",), replaces_feeds=True).warnings

    assert (
        warning == "OpenWrt's own feeds are not used, as repositories_mode is replace: what the"
        " ImageBuilder lacks must come from the feed mine."
    )


def test_with_repositories_a_conflict_is_still_a_problem() -> None:
    """No repository makes two variants of one program fit beside each other."""
    assert only_problem(checked("wpad-openssl", feeds=("mine",))).kind == "conflict"


def test_what_nobody_has_can_be_left_out() -> None:
    """The change says why; other problems remain, and a left out name promises no version."""
    resolution = checked(
        "luci",
        "nonsense",
        "wpad-openssl",
        leave_out_missing=True,
        packages_versions={"luci": "1-r1", "nonsense": "2"},
    )

    assert resolution.packages == ("luci", "wpad-openssl")
    assert [problem.kind for problem in resolution.problems] == ["conflict"]
    assert resolution.packages_versions == {"luci": "1-r1"}
    [change] = resolution.changes
    assert (change.type, change.package, change.rule) == ("removal", "nonsense", "missing-nonsense")
    assert change.reason == "There is no package nonsense in 25.12.5 for x86/64."


def test_a_left_out_package_can_be_insisted_on() -> None:
    """Its change is ignored like any other."""
    resolution = checked("nonsense", leave_out_missing=True, ignored_changes=["missing-nonsense"])

    assert (resolution.packages, resolution.ignored) == (("nonsense",), ("missing-nonsense",))
    assert only_problem(resolution).kind == "unknown"


@pytest.mark.parametrize(
    "fields", [{"known": index("luci", complete=False)}, {"feeds": ("mine",)}], ids=str
)
def test_nothing_is_left_out_that_may_exist(fields: dict[str, Any]) -> None:
    """Neither without a whole index nor beside feeds of the request's own."""
    assert "nonsense" in checked("luci", "nonsense", leave_out_missing=True, **fields).packages


def test_what_the_image_builder_brings_is_in_no_index_and_exists() -> None:
    """Device lists name kernel, libc and base-files, which no feed holds."""
    known = index("luci")

    assert checked("kernel", "libc", "base-files", known=known).problems == ()


def test_defaults_of_the_device_exist() -> None:
    """What the release itself installs is no mistake of the user's, whatever an index says."""
    assert checked("dnsmasq", known=index("luci")).problems == ()


def test_a_variant_beside_the_default_one_is_a_conflict() -> None:
    """A relative request with wpad-openssl also gets the default wpad-basic-mbedtls; the answer
    says how to take it away.
    """
    problem = only_problem(checked("wpad-openssl"))

    assert (problem.package, problem.kind, problem.suggestion) == (
        "wpad-openssl",
        "conflict",
        "-wpad-basic-mbedtls",
    )
    assert "take it away with -wpad-basic-mbedtls" in problem.detail


@pytest.mark.parametrize(
    "packages",
    [
        ("wpad-openssl", "-wpad-basic-mbedtls"),
        ("dnsmasq-full", "-dnsmasq"),
        ("wpad-basic-mbedtls",),
    ],
)
def test_one_variant_alone_is_no_conflict(packages: tuple[str, ...]) -> None:
    """Who takes the default away, or asks for what is there anyway, is right."""
    assert checked(*packages).problems == ()


def test_two_wanted_variants_are_a_conflict_without_an_index_too() -> None:
    """The rules know them; no document is needed."""
    problem = only_problem(
        resolve(relative(["wpad-openssl", "wpad-basic-wolfssl"], "22.03.7"), RULES)
    )

    assert (problem.kind, problem.suggestion) == ("conflict", None)
    assert problem.detail.startswith(
        "wpad-openssl and wpad-basic-wolfssl: They are variants of one program"
    )
    assert problem.detail.endswith("Leave one of them out.")


def test_an_absolute_list_has_no_defaults_beside_it() -> None:
    """Exactly these packages means that no default comes to conflict with them."""
    wanted = ["wpad-openssl" if name == "wpad-basic-mbedtls" else name for name in COMMON]

    assert (
        resolve(
            absolute(wanted, "25.12.5", since="25.12.5"), RULES, knowing(NOW, NOW, index=INDEX)
        ).problems
        == ()
    )


def test_a_vetoed_removal_can_bring_a_conflict() -> None:
    """A default that the request does not want taken away stands beside the user's variant of
    it.
    """
    wanted = ["wpad-openssl" if name == "wpad-basic-mbedtls" else name for name in COMMON]
    request = absolute(
        wanted, "25.12.5", since="25.12.5", ignored_changes=["absent-wpad-basic-mbedtls"]
    )

    assert (
        only_problem(resolve(request, RULES, knowing(NOW, NOW, index=INDEX))).suggestion
        == "-wpad-basic-mbedtls"
    )


def test_a_list_of_inventions_costs_few_searches() -> None:
    """Near names are looked for a few times only, so that nobody can make an answer expensive."""
    problems = checked(*(f"luci-app-sq{letter}" for letter in "abcdefghijkl")).problems

    assert [bool(problem.suggestion) for problem in problems] == [True] * MAX_SUGGESTIONS + [
        False
    ] * (len(problems) - MAX_SUGGESTIONS)
    assert {problem.kind for problem in problems} == {"unknown"}


def test_the_versions_of_a_resolution_are_those_of_the_index() -> None:
    """Each package to be installed has the version that it will have; removals and unknown names
    have none.
    """
    known = PackageIndex(({"luci": "25.1", "vim": "9.1-r1"}, {"vim": "9.0-r1"}))

    assert checked("luci", "vim", "nonsense", "-dnsmasq", known=known).versions == {
        "luci": "25.1",
        "vim": "9.1-r1",
    }
