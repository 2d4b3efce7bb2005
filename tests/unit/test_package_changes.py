"""The shipped rules: well formed, consistent with OpenWrt's revisions, and each with an effect."""

import pytest

from asu.resolution import PackageRequest, Rule, RuleBook, Version, load_rules, resolve
from asu.resolution.rule_files import read_rules

RULES = load_rules()
every_rule = pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)


def crossing(rule: Rule, packages: tuple[str, ...]) -> PackageRequest:
    """Return a request of a device that the rule concerns, upgraded from before the rule to its
    first version.
    """
    profile = min(rule.profiles) if rule.profiles else "some_device"
    version = rule.since or Version.parse("25.12.0")
    return PackageRequest(
        version=version,
        target=rule.target or "some/target",
        profile=profile,
        packages=packages,
        from_version=Version.parse("21.02.0"),
    )


def example(rule: Rule) -> tuple[str, ...]:
    """Return packages to which the rule applies."""
    if rule.add:
        return ("luci",)
    if rule.replace_prefix:
        return (f"{rule.replace_prefix}de",)
    return (rule.replace or rule.remove or (rule.remove_pattern or "").replace("*", "base"),)


@every_rule
def test_each_rule_applies_to_its_own_example(rule: Rule) -> None:
    """A device that crosses the version of a rule gets what the rule says, with its reason."""
    resolution = resolve(
        crossing(rule, example(rule)), RuleBook([rule], RULES.branch_off_revisions)
    )

    assert {change.rule for change in resolution.changes} == {rule.id}
    assert all(change.reason == rule.reason for change in resolution.changes)
    assert resolution.packages != example(rule)
    assert set(rule.add) <= set(resolution.packages)


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES.rules if rule.since], ids=lambda rule: rule.id
)
def test_no_rule_applies_before_its_time(rule: Rule) -> None:
    """An upgrade that stays below the version of a rule is left alone by it."""
    request = crossing(rule, example(rule))
    earlier = PackageRequest(
        version=Version.parse("21.02.7"),
        target=request.target,
        profile=request.profile,
        packages=request.packages,
        from_version=None,
    )

    assert resolve(earlier, RuleBook([rule], {})).packages == request.packages


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES.rules if rule.revision], ids=lambda rule: rule.id
)
def test_the_version_of_a_rule_follows_from_its_revision(rule: Rule) -> None:
    """A change of the main branch is first in the branch that left main after it."""
    revision = rule.revision or 0
    containing = [
        Version.parse(branch)
        for branch, left_at in RULES.branch_off_revisions.items()
        if revision <= left_at
    ]

    assert rule.since == min(containing, default=Version.parse("SNAPSHOT"))


def test_ids_are_unique_and_can_be_sent_by_clients() -> None:
    """Clients name rules by id, so ids are plain and stand for one rule each."""
    ids = [rule.id for rule in RULES.rules]

    assert len(ids) == len(set(ids))
    assert all(
        rule_id.replace("-", "").replace("_", "").replace(".", "").isalnum()
        and rule_id == rule_id.lower()
        for rule_id in ids
    )


@every_rule
def test_each_reason_is_a_sentence(rule: Rule) -> None:
    """Users read the reason, so it is a sentence."""
    assert rule.reason.endswith(".")
    assert " " in rule.reason


def test_no_rule_adds_what_another_takes_away() -> None:
    """Otherwise preparing twice would differ from preparing once."""
    added = {name for rule in RULES.rules for name in rule.add}

    assert not [rule for name in added for rule in RULES.rules_for(name)]


def test_what_is_read_is_kept_in_the_order_of_the_file() -> None:
    """The order of the file is the order in which rules apply, prefix rules included."""
    book = read_rules("""
        branch_off_revision = {}
        rule = [
            {id = "first", replace_prefix = "foo-", with = "bar-", reason = "Renamed."},
            {id = "second", remove = "foo-x", reason = "Removed."},
            {id = "third", remove_pattern = "f*-x", reason = "Removed."},
        ]
    """)

    assert [rule.id for rule in book.rules_for("foo-x")] == ["first", "second", "third"]
    assert [rule.id for rule in book.rules_for("foo-y")] == ["first"]
    assert [rule.id for rule in book.rules_for("fx-x")] == ["third"]
    assert not book.rules_for("other")


@pytest.mark.parametrize(
    "entry",
    [
        '{id = "wrong", reason = "Nothing to do."}',
        '{id = "wrong", remove = "a", add = ["b"], reason = "Two things."}',
        '{id = "wrong", replace = "a", reason = "By nothing."}',
        '{id = "wrong", remove = "a", with = "b", reason = "With nothing to replace."}',
        '{id = "wrong", remove = "a", reason = "Unknown key.", becaus = "b"}',
        '{id = "wrong", remove = "a"}',
    ],
)
def test_a_malformed_rule_is_refused_by_name(entry: str) -> None:
    """Whoever writes a rule is told which one is wrong."""
    with pytest.raises(ValueError, match="wrong"):
        read_rules(f"branch_off_revision = {{}}\nrule = [{entry}]")


def test_an_id_that_stands_twice_is_refused() -> None:
    """A change is told by the id of its rule, so two rules cannot share one."""
    with pytest.raises(ValueError, match="two rules have the id 'a'"):
        read_rules(
            'branch_off_revision = {}\nrule = [{id = "a", remove = "x", reason = "R."}, {id = "a",'
            ' remove = "y", reason = "R."}]'
        )


def test_every_branch_of_a_rule_is_a_known_one() -> None:
    """A `since` that is no release branch would be a slip of the pen."""
    known = {*RULES.branch_off_revisions, "SNAPSHOT"}

    assert {
        bound.branch for rule in RULES.rules for bound in (rule.since, rule.until) if bound
    } <= known


@pytest.mark.parametrize(
    ("name", "others", "rival"),
    [
        ("wpad-basic-mbedtls", ["luci", "wpad-openssl"], "wpad-openssl"),
        ("wpad-basic-mbedtls", ["wpad-openssl", "wpad-mesh-wolfssl"], "wpad-mesh-wolfssl"),
        ("wpad-basic-mbedtls", ["wpad-mesh-wolfssl", "wpad-openssl"], "wpad-mesh-wolfssl"),
        ("wpad-openssl", ["wpad-openssl", "hostapd"], None),
        ("nftables", ["nftables-json"], "nftables-json"),
        ("nftables-json", ["nftables"], None),
        ("dnsmasq", ["-dnsmasq-full"], None),
        ("luci", ["luci-ssl"], None),
    ],
)
def test_a_variant_finds_its_rival_whatever_the_order(
    name: str, others: list[str], rival: str | None
) -> None:
    """Variants of one program take each other's place, and that of the name which all of them
    provide.
    """
    assert RULES.rival(name, RULES.variants(others)) == rival


def test_every_exclusive_says_why() -> None:
    """Its reason is part of a sentence that users read."""
    assert all(exclusive.reason.endswith(".") for exclusive in RULES.exclusives)


def test_no_rule_leads_to_two_variants() -> None:
    """What rules add to a device and what they replace by can be installed together."""
    added = [name for rule in RULES.rules for name in rule.add]

    assert not [name for name in added if RULES.rival(name, added)]
