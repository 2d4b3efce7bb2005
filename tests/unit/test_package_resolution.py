"""What a request leads to: real upgrades, the user's removals, and what must hold for every
request.
"""

from hypothesis import given
from hypothesis import strategies as st

from asu.resolution import PackageRequest, Resolution, Rule, RuleBook, Version, load_rules, resolve

RULES = load_rules()
TOUCHED = ["-" + name for name in RULES.by_name] + list(RULES.by_name)
OLD_LIST = (
    "firewall", "libustream-wolfssl", "px5g-wolfssl", "wpad-basic-wolfssl", "auc", "luci-app-opkg",
    "luci-i18n-opkg-de", "luci-i18n-base-en", "opkg",
)  # fmt: skip

names = st.one_of(
    st.sampled_from(TOUCHED),
    st.sampled_from(
        [
            "luci-i18n-opkg-de",
            "luci-i18n-opkg-en",
            "-luci-i18n-opkg-de",
            "luci-i18n-base-en",
            "-luci-i18n-base-en",
        ]
    ),
    st.sampled_from(
        [
            "owut",
            "-owut",
            "fitblk",
            "-fitblk",
            "kmod-dsa-gswip",
            "-kmod-dsa-gswip",
            "firewall4",
            "apk-mbedtls",
            "-apk-mbedtls",
        ]
    ),
    st.from_regex(r"-?[A-Za-z0-9][A-Za-z0-9_.+-]{0,12}", fullmatch=True),
)
versions = st.sampled_from(
    [
        "21.02.7",
        "22.03.0",
        "23.05.0-rc1",
        "23.05.5",
        "24.10-SNAPSHOT",
        "24.10.4",
        "25.12.0",
        "SNAPSHOT",
    ]
).map(Version.parse)
devices = st.sampled_from(
    [
        (rule.target or "x86/64", profile)
        for rule in RULES.rules
        for profile in sorted(rule.profiles or {"any"})
    ]
    + [("x86/64", "generic")]
)


@st.composite
def requests(draw: st.DrawFn) -> PackageRequest:
    """Return a request of any device for any list, as validation would let it through."""
    target, profile = draw(devices)
    packages = draw(st.lists(names, unique=True, max_size=40))
    promised = draw(
        st.dictionaries(
            names.map(lambda name: name.removeprefix("-")), st.just("1.0-r1"), max_size=5
        )
    )
    return PackageRequest(
        version=draw(versions),
        target=target,
        profile=profile,
        packages=tuple(packages or promised),
        packages_versions=promised,
        diff_packages=draw(st.booleans()),
        from_version=draw(st.none() | versions),
    )


def upgrade(
    *packages: str,
    to: str,
    since: str | None = None,
    device: tuple[str, str] = ("x86/64", "generic"),
) -> Resolution:
    """Resolve an upgrade of a device with these packages."""
    return resolve(
        PackageRequest(
            version=Version.parse(to),
            target=device[0],
            profile=device[1],
            packages=packages,
            from_version=Version.parse(since) if since else None,
        ),
        RULES,
    )


def test_a_home_hub_keeps_its_network() -> None:
    """The drivers that xrx200 lost to packages of their own in 25.12 are added, each with its
    reason.
    """
    resolution = upgrade(
        "luci", "opkg", to="25.12.0", since="24.10.4", device=("lantiq/xrx200", "bt_homehub-v5a")
    )

    assert resolution.packages == (
        "luci",
        "apk-mbedtls",
        "kmod-dsa-gswip",
        "xrx200-rev1.1-phy11g-firmware",
        "xrx200-rev1.2-phy11g-firmware",
    )
    assert "without it there is no LAN" in next(
        change.reason for change in resolution.changes if change.package == "kmod-dsa-gswip"
    )


def test_a_mikrotik_gets_its_ethernet_driver() -> None:
    """Every device of ath79/mikrotik needs kmod-ag71xx-legacy from 25.12 on."""
    assert (
        "kmod-ag71xx-legacy"
        in upgrade(
            to="25.12.0", since="24.10.4", device=("ath79/mikrotik", "mikrotik_routerboard-750")
        ).packages
    )


def test_an_e8450_gets_fitblk() -> None:
    """Every device of mediatek/mt7622 needs fitblk from 24.10 on."""
    assert upgrade(
        to="24.10.0", since="23.05.5", device=("mediatek/mt7622", "linksys_e8450-ubi")
    ).packages == ("fitblk",)


def test_a_jump_over_four_releases_applies_every_rule_on_its_way() -> None:
    """From 21.02 to 25.12 each old name is migrated or removed, each with a reason, in one
    answer.
    """
    resolution = upgrade(*OLD_LIST, to="25.12.0", since="21.02.7")

    assert resolution.packages == (
        "firewall4", "libustream-mbedtls", "px5g-mbedtls", "wpad-basic-mbedtls", "owut",
        "luci-app-package-manager",
        "luci-i18n-package-manager-de", "apk-mbedtls",
    )  # fmt: skip
    assert [change.package for change in resolution.changes] == list(OLD_LIST)
    assert all(change.reason for change in resolution.changes)


def test_a_short_jump_touches_only_what_had_changed_by_then() -> None:
    """From 21.02 to 22.03 only the firewall changed; English language packages never existed."""
    resolution = upgrade(*OLD_LIST, to="22.03.7", since="21.02.7")

    assert resolution.packages == (
        "firewall4",
        *(name for name in OLD_LIST[1:] if name != "luci-i18n-base-en"),
    )
    assert [change.rule for change in resolution.changes] == [
        "firewall-firewall4",
        "luci-i18n-en-removed",
    ]


def test_an_upgrade_within_a_branch_changes_nothing_again() -> None:
    """A device that is past a change and lacks the package lacks it on purpose."""
    assert upgrade(
        "luci", to="25.12.1", since="25.12.0", device=("lantiq/xrx200", "bt_homehub-v5a")
    ).packages == ("luci",)


def test_from_a_development_snapshot_every_rule_is_crossed() -> None:
    """SNAPSHOT does not tell how old it is, so nothing is taken for granted."""
    assert upgrade("auc", to="SNAPSHOT", since="SNAPSHOT").packages == ("owut",)


def test_what_the_user_took_away_is_not_added() -> None:
    """A rule never brings back what the request takes away."""
    assert upgrade(
        "-kmod-ag71xx-legacy", to="25.12.0", since="24.10.4", device=("ath79/mikrotik", "any")
    ).packages == ("-kmod-ag71xx-legacy",)


def test_a_removal_follows_its_package() -> None:
    """A user who removed the old default does not get the new one either."""
    resolution = upgrade("-wpad-basic-wolfssl", "wpad-openssl", to="23.05.0", since="22.03.0")

    assert resolution.packages == ("-wpad-basic-mbedtls", "wpad-openssl")
    assert resolution.changes[0].to_package == "-wpad-basic-mbedtls"


def test_a_removal_does_not_follow_onto_what_the_user_wants() -> None:
    """Who takes the old package away and asks for the new one gets the new one."""
    resolution = upgrade("-auc", "owut", to="24.10.0", since="23.05.0")

    assert resolution.packages == ("owut",)
    assert [(change.action, change.package) for change in resolution.changes] == [
        ("remove", "-auc")
    ]


def test_two_packages_that_become_one_do_not_contradict_each_other() -> None:
    """Where one name is wanted, another refused, and both become the same, the wish wins."""
    merged = [
        Rule(id=name, replace=name, with_package="ab", reason="Merged.") for name in ("a", "b")
    ]
    request = PackageRequest(
        version=Version.parse("25.12.0"), target="x86/64", profile="generic", packages=("a", "-b")
    )

    assert resolve(request, RuleBook(merged, {})).packages == ("ab",)


def test_a_chain_of_rules_is_followed_to_its_end() -> None:
    """A name that is replaced and then removed is gone, and both steps are told."""
    resolution = upgrade("luci-i18n-opkg-en", to="25.12.0", since="23.05.0")

    assert resolution.packages == ()
    assert [change.action for change in resolution.changes] == ["replace", "remove"]


def test_rules_in_a_circle_come_to_an_end() -> None:
    """A mistake in the rules costs a few steps, not the service."""
    circle = [Rule(id=a + b, replace=a, with_package=b, reason="Renamed.") for a, b in ("xy", "yx")]
    request = PackageRequest(
        version=Version.parse("25.12.0"), target="x86/64", profile="generic", packages=("x",)
    )

    assert len(resolve(request, RuleBook(circle, {})).packages) == 1


def test_versions_are_promised_for_the_names_that_remain() -> None:
    """A version that was promised for a replaced package says nothing about the new one."""
    request = PackageRequest(
        version=Version.parse("24.10.0"),
        target="x86/64",
        profile="generic",
        packages=("auc", "vim"),
        packages_versions={"auc": "1", "vim": "9"},
    )

    assert resolve(request, RULES).packages_versions == {"vim": "9"}


def test_versions_do_not_become_wishes() -> None:
    """A request whose packages all fall away does not begin to ask for those whose versions it
    knows.
    """
    request = PackageRequest(
        version=Version.parse("24.10.0"),
        target="x86/64",
        profile="generic",
        packages=("luci-i18n-base-en",),
        packages_versions={"vim": "9"},
    )
    resolution = resolve(request, RULES)

    assert (resolution.packages, resolution.packages_versions) == ((), {})


def test_a_downgrade_is_warned_of() -> None:
    """Settings of a newer release may not work in an older one, so the user is told."""
    resolution = upgrade("luci", to="23.05.5", since="24.10.4")

    assert resolution.packages == ("luci",)
    assert "downgrade" in resolution.warnings[0]


@given(requests())
def test_resolving_twice_is_resolving_once(request: PackageRequest) -> None:
    """What was resolved resolves to itself, without a change."""
    once = resolve(request, RULES)
    again = resolve(
        PackageRequest(
            version=request.version,
            target=request.target,
            profile=request.profile,
            packages=once.packages or tuple(once.packages_versions),
            packages_versions=once.packages_versions,
            diff_packages=once.diff_packages,
            from_version=request.from_version,
        ),
        RULES,
    )

    assert (again.packages, again.packages_versions, again.changes) == (
        once.packages,
        once.packages_versions,
        (),
    )


@given(requests())
def test_the_order_is_kept_and_nothing_is_doubled(request: PackageRequest) -> None:
    """Packages that no rule touches stay in the user's order; every name stands once."""
    resolution = resolve(request, RULES)
    arrived = {change.to_package for change in resolution.changes}
    untouched = [
        name for name in resolution.packages if name in request.packages and name not in arrived
    ]

    assert untouched == sorted(untouched, key=request.packages.index)
    assert len(resolution.packages) == len(set(resolution.packages))


@given(requests())
def test_every_difference_has_its_change(request: PackageRequest) -> None:
    """Nothing comes and nothing goes without a change that says why, and a change names nothing
    that did not happen.
    """
    resolution = resolve(request, RULES)
    gone, come = (
        set(request.packages) - set(resolution.packages),
        set(resolution.packages) - set(request.packages),
    )
    told_gone, told_come = (
        {change.from_package for change in resolution.changes},
        {change.to_package for change in resolution.changes},
    )

    assert gone <= told_gone
    assert come <= told_come
    assert all(change.reason and change.rule for change in resolution.changes)


@given(requests())
def test_what_is_taken_away_stays_away(request: PackageRequest) -> None:
    """No rule installs a package that the request takes away, unless the request asks for it
    itself.
    """
    refused = {name[1:] for name in request.packages if name.startswith("-")}
    arrived = set(resolve(request, RULES).packages) - set(request.packages)

    assert not refused & arrived
