"""An absolute list and the defaults: what became default arrives, what the user removed stays away,
what is gone is dropped.
"""

from dataclasses import replace

import pytest

from asu.resolution import PackageIndex, Resolution, load_rules, resolve
from tests.unit.fixtures.small_world import (
    COMMON,
    HOME_HUB,
    PC,
    absolute,
    defaults,
    index,
    knowing,
    relative,
)

RULES = load_rules()
PHY_FIRMWARE = ("xrx200-rev1.1-phy11g-firmware", "xrx200-rev1.2-phy11g-firmware")
HUB_OWN = ("kmod-ath10k-ct", "kmod-usb-dwc2")
HUB_THEN = defaults("24.10.7", *COMMON, "opkg", own=HUB_OWN)
HUB_NOW = defaults(
    "25.12.5", *COMMON, "apk-mbedtls", "kmod-dsa-gswip", own=(*HUB_OWN, *PHY_FIRMWARE)
)
PC_THEN = defaults("24.10.7", *COMMON, "opkg", "kmod-old")
PC_NOW = defaults("25.12.5", *COMMON, "apk-mbedtls", "kmod-new")
SINCE = pytest.mark.parametrize("since", ["24.10.7", None])


def rules_of(resolution: Resolution) -> list[str]:
    """Return the id of each change, in order."""
    return [change.rule for change in resolution.changes]


@SINCE
def test_a_home_hub_keeps_its_network(since: str | None) -> None:
    """The switch driver and both firmware packages that became defaults in 25.12 arrive, each with
    its rule and its reason.
    """
    request = absolute(["luci", *HUB_THEN.defaults], "25.12.5", since=since, device=HOME_HUB)

    resolution = resolve(
        request,
        RULES,
        knowing(HUB_NOW, HUB_NOW, HUB_THEN) if since is None else knowing(HUB_NOW, HUB_THEN),
    )

    assert {"kmod-dsa-gswip", *PHY_FIRMWARE} <= set(resolution.packages)
    assert rules_of(resolution) == [
        "opkg-apk-mbedtls",
        "lantiq-xrx200-dsa-gswip",
        "lantiq-xrx200-phy11g",
        "lantiq-xrx200-phy11g",
    ]
    assert "without it there is no LAN" in (resolution.why("kmod-dsa-gswip") or "")
    assert not resolution.diff_packages


def test_a_mikrotik_keeps_its_ethernet_driver() -> None:
    """The driver that ath79/mikrotik has as a package of its own since 25.12 arrives with its
    reason.
    """
    then, now = defaults("24.10.7", *COMMON), defaults("25.12.5", *COMMON, "kmod-ag71xx-legacy")
    request = absolute(
        COMMON,
        "25.12.5",
        since="24.10.7",
        device=("ath79/mikrotik", "mikrotik_routerboard-951g-2hnd"),
    )

    resolution = resolve(request, RULES, knowing(now, then))

    assert resolution.packages == (*COMMON, "kmod-ag71xx-legacy")
    assert rules_of(resolution) == ["ath79-mikrotik-ag71xx-legacy"]


def test_an_e8450_keeps_its_upgrades() -> None:
    """The tool without which mediatek/mt7622 cannot upgrade from 24.10 on arrives with its
    reason.
    """
    own = (*COMMON, "kmod-mt7622-firmware")
    then, now = defaults("23.05.6", *own), defaults("24.10.7", *own, "fitblk")
    request = absolute(own, "24.10.7", device=("mediatek/mt7622", "linksys_e8450-ubi"))

    resolution = resolve(request, RULES, knowing(now, now, then))

    assert resolution.packages == (*own, "fitblk")
    assert rules_of(resolution) == ["mediatek-mt7622-fitblk"]


@SINCE
def test_a_new_default_that_no_rule_knows_arrives(since: str | None) -> None:
    """The defaults of both releases tell what is new, without a rule written by hand."""
    resolution = resolve(
        absolute(PC_THEN.defaults, "25.12.5", since=since),
        RULES,
        knowing(PC_NOW, PC_THEN, *([] if since else [PC_NOW])),
    )

    assert "kmod-new" in resolution.packages
    assert (
        resolution.why("kmod-new") == "kmod-new is a new default package of this device in 25.12."
    )
    assert "new-default-kmod-new" in rules_of(resolution)


@SINCE
def test_what_the_user_removed_stays_removed(since: str | None) -> None:
    """A default of both releases that the list lacks was removed on purpose and becomes an explicit
    removal.
    """
    wanted = [name for name in PC_THEN.defaults if name not in ("dnsmasq", "dropbear")]

    resolution = resolve(
        absolute(wanted, "25.12.5", since=since),
        RULES,
        knowing(PC_NOW, PC_THEN, *([] if since else [PC_NOW])),
    )

    assert resolution.packages[-2:] == ("-dnsmasq", "-dropbear")
    assert not {"dnsmasq", "dropbear"} & set(resolution.packages)
    assert resolution.why("dnsmasq") == "removed by the user before the upgrade"


def test_a_default_that_is_only_a_dependency_now_is_left_alone() -> None:
    """24.10 lists busybox and procd no longer, yet they are packages; neither is dropped, taken
    away or warned of.
    """
    then, now = (
        defaults("23.05.6", *COMMON),
        defaults("24.10.7", *(name for name in COMMON if name not in ("busybox", "procd"))),
    )

    resolution = resolve(
        absolute(COMMON, "24.10.7", since="23.05.6"),
        RULES,
        knowing(now, then, index=index(*COMMON)),
    )

    assert (resolution.packages, resolution.changes, resolution.problems, resolution.warnings) == (
        COMMON,
        (),
        (),
        (),
    )


def test_lacking_what_is_only_a_dependency_now_is_no_removal() -> None:
    """A list of 24.10 lacks busybox; that must not become -busybox, or nothing would start."""
    then, now = (
        defaults("23.05.6", *COMMON),
        defaults("24.10.7", *(name for name in COMMON if name != "busybox")),
    )

    resolution = resolve(absolute(now.defaults, "24.10.7"), RULES, knowing(now, now, then))

    assert resolution.packages == tuple(now.defaults)
    assert "WITHOUT" not in str(resolution.warnings)


def test_a_default_that_exists_no_more_is_dropped_with_a_reason() -> None:
    """Who had it only as a default did not ask for it, and nothing could install it."""
    resolution = resolve(
        absolute(PC_THEN.defaults, "25.12.5", since="24.10.7"),
        RULES,
        knowing(PC_NOW, PC_THEN, index=index(*PC_NOW.defaults)),
    )

    assert "kmod-old" not in resolution.packages
    assert (
        resolution.why("kmod-old")
        == "kmod-old was a default package in 24.10.7 and does not exist in 25.12.5 any more."
    )
    assert resolution.problems == ()


@pytest.mark.parametrize(
    "known", [None, index(*PC_NOW.defaults, complete=False), index(*PC_NOW.defaults, "kmod-old")]
)
def test_an_old_default_stays_unless_it_surely_exists_no_more(known: object) -> None:
    """The user may use it: without a complete index, or with one that holds it, it is kept."""
    resolution = resolve(
        absolute(PC_THEN.defaults, "25.12.5", since="24.10.7"),
        RULES,
        knowing(PC_NOW, PC_THEN, index=known),  # type: ignore[arg-type]
    )

    assert "kmod-old" in resolution.packages


def test_repositories_of_ones_own_may_hold_an_old_default() -> None:
    """Where the request brings repositories, nobody knows that a package is nowhere."""
    request = absolute(PC_THEN.defaults, "25.12.5", since="24.10.7", feeds=("mine",))

    assert (
        "kmod-old"
        in resolve(request, RULES, knowing(PC_NOW, PC_THEN, index=index(*PC_NOW.defaults))).packages
    )


def test_the_origin_is_inferred_with_its_evidence() -> None:
    """The answer says which release was taken for the old one, and why."""
    told = resolve(
        absolute(PC_THEN.defaults, "25.12.5"), RULES, knowing(PC_NOW, PC_NOW, PC_THEN)
    ).from_version

    assert told is not None
    assert (told.version, told.inferred) == ("24.10.7", True)
    assert (
        told.evidence
        == "The list holds 13 of the 13 default packages of 24.10.7 for this device, more like it"
        " than any other."
    )


def test_the_origin_that_the_client_tells_is_believed() -> None:
    """With from_version there is nothing to infer."""
    told = resolve(
        absolute(PC_THEN.defaults, "25.12.5", since="24.10.7"), RULES, knowing(PC_NOW, PC_THEN)
    ).from_version

    assert told is not None
    assert (told.version, told.inferred, told.evidence) == ("24.10.7", False, None)


@pytest.mark.parametrize("order", [(PC_NOW, PC_THEN), (PC_THEN, PC_NOW)])
def test_the_order_of_the_candidates_does_not_matter(order: tuple[object, ...]) -> None:
    """Any replica infers the same."""
    found = resolve(
        absolute(PC_THEN.defaults, "25.12.5"),
        RULES,
        knowing(PC_NOW, *order),  # type: ignore[arg-type]
    ).from_version

    assert found is not None
    assert found.version == "24.10.7"


def test_where_two_releases_explain_a_list_nearly_as_well_a_driver_is_kept() -> None:
    """A list that lacks one default of the newest release may come from the release before it, so
    that package is installed.
    """
    resolution = resolve(
        absolute([name for name in PC_NOW.defaults if name != "kmod-new"], "25.12.5"),
        RULES,
        knowing(PC_NOW, PC_NOW, PC_THEN),
    )
    near = defaults("24.10.7", *COMMON, "apk-mbedtls")
    cautious = resolve(absolute(near.defaults, "25.12.5"), RULES, knowing(PC_NOW, PC_NOW, near))

    assert "-kmod-new" in resolution.packages
    assert "kmod-new" in cautious.packages


def test_without_evidence_the_list_is_honoured_as_it_stands() -> None:
    """A list that holds hardly any default of any release is taken literally, with a warning and
    with every removal named.
    """
    resolution = resolve(
        absolute(["luci", "vim"], "25.12.5"), RULES, knowing(PC_NOW, PC_NOW, PC_THEN)
    )

    assert resolution.packages == ("luci", "vim", *(f"-{name}" for name in PC_NOW.defaults))
    assert resolution.from_version is None
    assert "too few default packages of any release" in resolution.warnings[0]


def test_without_metadata_the_builder_is_left_to_subtract() -> None:
    """If upstream's metadata cannot be had the list stays absolute and the answer says so."""
    resolution = resolve(absolute(["luci", "opkg"], "25.12.5"), RULES)

    assert (resolution.packages, resolution.diff_packages, resolution.checked) == (
        ("luci", "apk-mbedtls"),
        True,
        False,
    )
    assert "not known at the moment" in resolution.warnings[0]


@pytest.mark.parametrize(
    ("name", "consequence"),
    [
        ("base-files", "the device will not start"),
        ("libc", "the device will not start"),
        ("kernel", "the device will not start"),
        ("procd", "the device will not start"),
        ("busybox", "the device will not start"),
        ("netifd", "the device will have no network"),
        ("kmod-ath10k-ct", "needs for its own hardware"),
    ],
)
def test_removing_what_the_device_needs_is_warned_of(name: str, consequence: str) -> None:
    """The warning names the package and what its absence means, in an absolute list and in a
    relative one.
    """
    now = defaults("25.12.5", *COMMON, "kernel", own=HUB_OWN)
    lists = (
        absolute(
            [other for other in now.defaults if other != name],
            "25.12.5",
            since="25.12.5",
            device=HOME_HUB,
        ),
        relative([f"-{name}", *PHY_FIRMWARE], "25.12.5", device=HOME_HUB),
    )

    warnings = [resolve(request, RULES, knowing(now, now)).warnings for request in lists]

    assert warnings[0] == warnings[1]
    assert name in warnings[0][0]
    assert consequence in warnings[0][0]


def test_removing_anything_else_is_the_users_own_business() -> None:
    """A warning that comes every time is read by nobody."""
    known = replace(knowing(PC_NOW), index=PackageIndex(({},)))

    assert resolve(relative(["-dnsmasq"], "25.12.5"), RULES, known).warnings == ()


def test_the_users_own_variant_takes_the_place_of_a_new_default() -> None:
    """Who has wpad-openssl does not get wpad-basic-mbedtls beside it, which could not be installed
    together.
    """
    then, now = (
        defaults("22.03.7", *COMMON[:-1], "wpad-basic-wolfssl"),
        defaults("23.05.6", *COMMON),
    )

    resolution = resolve(
        absolute([*COMMON[:-1], "wpad-openssl"], "23.05.6", since="22.03.7"),
        RULES,
        knowing(now, then),
    )

    assert resolution.packages == (*COMMON[:-1], "wpad-openssl", "-wpad-basic-mbedtls")
    assert (
        resolution.why("wpad-basic-mbedtls")
        == "wpad-openssl, which the list holds, takes its place."
    )
    assert resolution.problems == ()


def test_a_new_default_takes_the_place_of_the_old_default_variant() -> None:
    """Who had the old variant only as a default gets the new one in its place, and is told."""
    then, now = defaults("24.10.7", *COMMON), defaults("25.12.5", *COMMON[:-1], "wpad-openssl")

    resolution = resolve(
        absolute([*COMMON, "luci"], "25.12.5", since="24.10.7"), RULES, knowing(now, then)
    )

    assert resolution.packages == (*COMMON[:-1], "wpad-openssl", "luci")
    assert [
        (change.type, change.from_package, change.to_package) for change in resolution.changes
    ] == [("migration", "wpad-basic-mbedtls", "wpad-openssl")]


def test_a_release_that_never_was_the_devices_own_explains_nothing() -> None:
    """Without any release that lists the device there is no evidence, and nothing fails."""
    assert resolve(absolute(COMMON, "25.12.5"), RULES, knowing(PC_NOW)).from_version is None


def test_within_a_branch_nothing_that_is_missing_comes_back() -> None:
    """A device that is past the change lacks the package on purpose."""
    earlier = defaults("25.12.1", *PC_NOW.defaults)
    wanted = [name for name in PC_NOW.defaults if name != "kmod-new"]

    assert resolve(
        absolute(wanted, "25.12.5", since="25.12.1"), RULES, knowing(PC_NOW, earlier)
    ).packages == (*wanted, "-kmod-new")


def test_from_a_snapshot_to_the_next_the_origin_is_inferred() -> None:
    """SNAPSHOT does not tell how old it is: what its defaults are now is no proof that the user
    removed the newest of them.
    """
    old, now = defaults("25.12.5", *COMMON), defaults("SNAPSHOT", *COMMON, "kmod-newest")

    resolution = resolve(
        absolute(COMMON, "SNAPSHOT", since="SNAPSHOT"), RULES, knowing(now, now, old)
    )

    assert "kmod-newest" in resolution.packages


def test_doubled_defaults_count_once() -> None:
    """Official lists hold doubles; neither the list nor the removals do."""
    now = defaults("25.12.5", *COMMON, *COMMON, own=("kmod-usb3", "kmod-usb3"))

    assert list(now.defaults) == [*COMMON, "kmod-usb3"]
    assert (
        len(resolve(absolute(["x"], "25.12.5", device=PC), RULES, knowing(now, now)).packages)
        == len(COMMON) + 2
    )


def test_a_profile_may_take_a_default_away() -> None:
    """Realtek switches have no dnsmasq: it is no default there, so lacking it is no removal and
    nothing installs it.
    """
    now = defaults("25.12.5", *COMMON, own=("-dnsmasq", "kmod-switch"))
    wanted = [name for name in COMMON if name != "dnsmasq"]

    assert now.device_packages == {"kmod-switch"}
    assert resolve(
        absolute([*wanted, "kmod-switch"], "25.12.5"), RULES, knowing(now, now)
    ).packages == (*wanted, "kmod-switch")


def test_a_version_is_not_promised_for_a_variant_that_gave_way() -> None:
    """The version of the old variant says nothing about the new one."""
    then, now = defaults("24.10.7", *COMMON), defaults("25.12.5", *COMMON[:-1], "wpad-openssl")
    request = absolute(
        COMMON,
        "25.12.5",
        since="24.10.7",
        packages_versions={"wpad-basic-mbedtls": "1", "dnsmasq": "2"},
    )

    assert resolve(request, RULES, knowing(now, then)).packages_versions == {"dnsmasq": "2"}


@pytest.mark.parametrize(
    ("default", "variant"),
    [
        ("nftables", "nftables-json"),
        ("dnsmasq", "dnsmasq-full"),
        ("wpad-basic-mbedtls", "wpad-openssl"),
    ],
)
def test_a_variant_in_the_list_explains_why_the_default_is_not(default: str, variant: str) -> None:
    """Lists of installed packages name nftables-json where lists of defaults say nftables; the user
    removed nothing.
    """
    common = [name for name in COMMON if name not in ("nftables-json", default)]
    then, now = defaults("24.10.7", *common, default), defaults("25.12.5", *common, default)

    resolution = resolve(
        absolute([*common, variant], "25.12.5", since="24.10.7"), RULES, knowing(now, then)
    )

    assert resolution.packages == (*common, variant, f"-{default}")
    assert resolution.why(default) == f"{variant}, which the list holds, takes its place."
