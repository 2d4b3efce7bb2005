"""A veto: each change of the defaults can be left out by its id, and the answer says so."""

import pytest

from asu.resolution import load_rules, resolve
from tests.unit.fixtures.small_world import COMMON, HOME_HUB, absolute, defaults, index, knowing

RULES = load_rules()
HUB_THEN = defaults("24.10.7", *COMMON, "opkg")
HUB_NOW = defaults("25.12.5", *COMMON, "apk-mbedtls", "kmod-dsa-gswip")
PC_THEN = defaults("24.10.7", *COMMON, "opkg", "kmod-old")
PC_NOW = defaults("25.12.5", *COMMON, "apk-mbedtls", "kmod-new")
VETOES = {
    "lantiq-xrx200-dsa-gswip": ("kmod-dsa-gswip", "-kmod-dsa-gswip"),
    "new-default-kmod-dsa-gswip": ("kmod-dsa-gswip", "-kmod-dsa-gswip"),
    "opkg-apk-mbedtls": (None, "opkg"),
    "gone-default-kmod-old": (None, "kmod-old"),
}


@pytest.mark.parametrize("veto", VETOES)
def test_each_change_can_be_vetoed(veto: str) -> None:
    """A change whose id the request ignores is left out, the answer says so, and all others
    remain.
    """
    then = defaults("24.10.7", *HUB_THEN.defaults, "kmod-old")
    known = knowing(HUB_NOW, then, index=index(*HUB_NOW.defaults, "opkg"))
    plain = resolve(
        absolute(then.defaults, "25.12.5", since="24.10.7", device=HOME_HUB), RULES, known
    )
    vetoed = resolve(
        absolute(
            then.defaults, "25.12.5", since="24.10.7", device=HOME_HUB, ignored_changes=[veto]
        ),
        RULES,
        known,
    )
    without, with_ = VETOES[veto]

    assert veto in vetoed.ignored
    assert without not in vetoed.packages
    assert with_ in vetoed.packages
    assert with_ not in plain.packages
    assert plain.ignored == ()


def test_a_removal_can_be_vetoed() -> None:
    """Who does not want the default to stay away gets it back: the list takes nothing away and the
    default is installed.
    """
    wanted = [name for name in PC_NOW.defaults if name != "dnsmasq"]

    request = absolute(wanted, "25.12.5", since="25.12.1", ignored_changes=["absent-dnsmasq"])

    resolution = resolve(request, RULES, knowing(PC_NOW, defaults("25.12.1", *PC_NOW.defaults)))

    assert (resolution.packages, resolution.changes, resolution.ignored) == (
        tuple(wanted),
        (),
        ("absent-dnsmasq",),
    )


@pytest.mark.parametrize(
    "veto", ["auc-owut", "new-default-vim", "gone-default-vim", "absent-vim", "no such rule"]
)
def test_a_veto_without_effect_is_not_reported(veto: str) -> None:
    """The answer names the changes that were left out, not those that would not have happened."""
    request = absolute(PC_THEN.defaults, "25.12.5", since="24.10.7", ignored_changes=[veto])

    assert resolve(request, RULES, knowing(PC_NOW, PC_THEN)).ignored == ()
