"""A name that exists was meant, unless the device comes from before the rule that replaces it."""

import pytest

from asu.resolution import Resolution, load_rules, resolve
from tests.unit.fixtures.small_world import COMMON, absolute, defaults, index, knowing, relative

RULES = load_rules()
OLD_PACKAGES = ("firewall", "wpad-basic-wolfssl", "libustream-wolfssl", "px5g-wolfssl")
NOW = defaults("23.05.6", *COMMON, "libustream-mbedtls", "px5g-mbedtls")
BEFORE = defaults(
    "21.02.7",
    *(name for name in COMMON if name not in ("firewall4", "nftables-json", "wpad-basic-mbedtls")),
    *OLD_PACKAGES,
    "iptables",
)
INDEX = index(*NOW.defaults, *OLD_PACKAGES, "wpad-openssl", "luci")
PAIRS = {
    "firewall": "firewall4",
    "wpad-basic-wolfssl": "wpad-basic-mbedtls",
    "libustream-wolfssl": "libustream-mbedtls",
    "px5g-wolfssl": "px5g-mbedtls",
}


def chosen(*packages: str, since: str | None = None, exists: bool = True) -> Resolution:
    """Resolve a relative list for 23.05.6, in which the old packages exist or not."""
    known = INDEX if exists else index(*NOW.defaults, "luci")
    return resolve(relative(packages, "23.05.6", since=since), RULES, knowing(NOW, index=known))


@pytest.mark.parametrize("since", [None, "21.02.7", "23.05.5"])
@pytest.mark.parametrize(("old", "new"), PAIRS.items(), ids=PAIRS)
def test_the_old_package_in_place_of_the_new_one(old: str, new: str, since: str | None) -> None:
    """A request that takes the new package away wants the old one, and gets it."""
    resolution = chosen("luci", old, f"-{new}", since=since)

    assert resolution.packages == ("luci", old, f"-{new}")
    assert (resolution.changes, resolution.problems, resolution.warnings) == ((), (), ())


@pytest.mark.parametrize(("old", "new"), PAIRS.items(), ids=PAIRS)
def test_a_device_from_before_the_rule_gets_the_new_package(old: str, new: str) -> None:
    """It had the old one because there was no other."""
    assert chosen(old, since="21.02.7").packages == (new,)


@pytest.mark.parametrize("since", [None, "23.05.5", "SNAPSHOT"])
@pytest.mark.parametrize("old", PAIRS)
def test_without_proof_of_its_age_an_existing_name_stays(old: str, since: str | None) -> None:
    """Nothing says that the user did not mean it."""
    assert chosen(old, since=since).packages == (old,)


@pytest.mark.parametrize(("old", "new"), PAIRS.items(), ids=PAIRS)
def test_a_name_that_does_not_exist_is_replaced(old: str, new: str) -> None:
    """It cannot have been meant."""
    assert chosen(old, exists=False).packages == (new,)


def test_defaults_of_an_old_release_prove_where_a_list_comes_from() -> None:
    """An absolute list of 21.02 has the old packages as defaults, without saying its version."""
    resolution = resolve(
        absolute([*BEFORE.defaults, "luci"], "23.05.6"),
        RULES,
        knowing(NOW, NOW, BEFORE, index=INDEX),
    )

    assert set(PAIRS.values()) <= set(resolution.packages)
    assert not set(PAIRS) & set(resolution.packages)


def test_an_absolute_list_of_the_same_release_may_hold_the_old_package() -> None:
    """The user exchanged a default for it; the default stays away by name."""
    wanted = [name for name in NOW.defaults if name != "firewall4"]
    resolution = resolve(
        absolute([*wanted, "firewall"], "23.05.6"), RULES, knowing(NOW, NOW, BEFORE, index=INDEX)
    )

    assert resolution.packages == (*wanted, "firewall", "-firewall4")
    assert resolution.warnings == ()


def test_the_old_package_beside_the_new_default_is_a_conflict() -> None:
    """The preview says how to have it."""
    [problem] = chosen("firewall").problems

    assert (problem.kind, problem.suggestion) == ("conflict", "-firewall4")


@pytest.mark.parametrize("also", [(), ("-firewall",)])
def test_a_request_for_neither_is_warned_in_capitals(also: tuple[str, ...]) -> None:
    """The list stays as it is, and nobody can miss what that means."""
    resolution = chosen("-firewall4", *also)

    assert set(resolution.packages) == {"-firewall4", *also}
    assert resolution.warnings == (
        "WITHOUT firewall4 and without firewall, the device has no firewall.",
    )


def test_another_variant_is_not_neither() -> None:
    """wpad-openssl is a Wi-Fi daemon, too."""
    assert chosen("-wpad-basic-mbedtls", "wpad-openssl").warnings == ()


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(("old", "new"), PAIRS.items(), ids=PAIRS)
# pytest passes parameters by name.
def test_no_change_leaves_neither(old: str, new: str, exists: bool) -> None:  # noqa: FBT001
    """Whatever the request wants of a pair, one of it is installed."""
    for entries in ((old,), (new,), (old, new), (f"-{old}", new)):
        for since in (None, "21.02.7", "23.05.5"):
            packages = chosen(*entries, since=since, exists=exists).packages

            assert {old, new} & set(packages), (entries, since)
