"""What must hold for every request in every state of knowledge: ten thousand generated ones in
all.
"""

import random
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asu.resolution import (
    DeviceDefaults,
    Knowledge,
    PackageIndex,
    PackageRequest,
    Resolution,
    Version,
    load_rules,
    normalised_request,
    package_request,
    preview,
    resolve,
)

RULES = load_rules()
COUNT = 2_000  # Five properties, ten thousand requests.
MANY = settings(
    max_examples=COUNT,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
VERSIONS = (
    "21.02.7",
    "22.03.7",
    "23.05.6",
    "24.10.0-rc7",
    "24.10.7",
    "24.10-SNAPSHOT",
    "25.12.5",
    "SNAPSHOT",
)
DEVICES = [
    (rule.target or "x86/64", min(rule.profiles or {"any"})) for rule in RULES.rules if rule.add
] + [("x86/64", "generic")]
ADDED = sorted({name for rule in RULES.rules for name in rule.add})
WORDS = [
    *RULES.by_name, *ADDED, "owut", "firewall4", "apk-mbedtls", "luci-i18n-opkg-de",
    "luci-i18n-opkg-en", "luci-i18n-base-en", "wpad-openssl",
    "wpad-basic-mbedtls", "wpad-mesh-wolfssl", "dnsmasq", "dnsmasq-full", "nftables",
    "nftables-json", "nftables-nojson", "libustream-openssl",
    "base-files", "busybox", "kernel", "libc", "netifd", "procd", "luci", "vim", "libubox",
    "libubox20240329", "a", "kmod-x", "kmod-y", "kmod-z",
]  # fmt: skip
GONE = {
    version: {
        name
        for name in WORDS
        if any(rule.lies_between(None, Version.parse(version)) for rule in RULES.rules_for(name))
    }
    for version in VERSIONS
}
CHANGES = [rule.id for rule in RULES.rules] + [
    f"{kind}-{name}" for kind in ("new-default", "gone-default", "absent") for name in WORDS
]


def situation_of(seed: int) -> tuple[dict[str, Any], Knowledge]:
    """Return a request of any device for any list, and anything that may be known of it.

    Hypothesis draws a seed and the rest is made of it: ten thousand of these are to take seconds.
    """
    chance = random.Random(seed)  # noqa: S311 - No secret is made here.
    version, (target, profile) = chance.choice(VERSIONS), chance.choice(DEVICES)
    older = [name for name in VERSIONS if Version.parse(name) <= Version.parse(version)]
    releases = [
        _defaults(chance, name) for name in chance.sample(older, chance.randint(0, len(older)))
    ]
    now = _defaults(chance, version) if chance.random() < 0.8 else None
    begun = chance.choice(releases) if releases and chance.random() < 0.7 else None
    packages = (
        _names(chance, 8)
        + [f"-{name}" for name in _names(chance, 3)]
        + list(begun.defaults if begun else ())
    )
    chance.shuffle(packages)
    fields = {
        "version": version,
        "target": target,
        "profile": profile,
        "packages": packages,
        "packages_versions": dict.fromkeys(_names(chance, 3), "1.0-r1"),
        "diff_packages": chance.random() < 0.7,
        "from_version": (
            begun.version.text
            if begun and chance.random() < 0.5
            else chance.choice((None, *VERSIONS))
        ),
        "ignored_changes": chance.sample(CHANGES, chance.choice((0, 0, 5, 60))),
        "repositories": {"own": "https://example.org"} if chance.random() < 0.1 else {},
    }
    index, elsewhere, before = (_index(chance) if chance.random() < 0.7 else None for _ in range(3))
    unseen = None
    if chance.random() < 0.2:  # No older release has the device.
        releases = [release for release in releases if release.version.text == version]
        unseen = tuple(_defaults(chance, name) for name in older[:2])
    return normalised_request(fields), Knowledge(
        now, tuple(releases), index, elsewhere, before, unseen
    )


situations = st.integers(0, 2**32).map(situation_of)


def _names(chance: random.Random, most: int) -> list[str]:
    return chance.choices(WORDS, k=chance.randint(0, most))


def _defaults(chance: random.Random, version: str) -> DeviceDefaults:
    """Return any defaults but packages that the rules call gone by then: no release has those."""
    parsed = Version.parse(version)
    gone = GONE[version]
    lists = (
        [*_names(chance, 12), *(f"-{name}" for name in _names(chance, 1))],
        [*_names(chance, 4), *(f"-{name}" for name in _names(chance, 2))],
    )
    return DeviceDefaults.of(
        parsed, *([name for name in some if name not in gone] for some in lists)
    )


def _index(chance: random.Random) -> PackageIndex:
    return PackageIndex(
        tuple(dict.fromkeys(_names(chance, 20), "1.1-r1") for _ in range(2)),
        complete=chance.random() < 0.8,
    )


def decide(fields: dict[str, Any], known: Knowledge) -> tuple[PackageRequest, Resolution]:
    """Return a request as the core sees it, and what it leads to."""
    request = package_request(fields)
    return request, resolve(request, RULES, known)


def vetoed(request: PackageRequest, name: str) -> bool:
    """Whether the request wants a default neither added nor taken away by name."""
    return f"absent-{name}" in request.ignored_changes


@MANY
@given(situations)
def test_preparing_twice_is_preparing_once(situation: tuple[dict[str, Any], Knowledge]) -> None:
    """A prepared request leads to itself, without a change and under the same hash, whatever is
    known.
    """
    fields, known = situation
    first = preview(fields, decide(fields, known)[1])
    again = first["prepared_request"]
    second = preview(again, decide(again, known)[1])

    assert second["request_hash"] == first["request_hash"]
    assert second["resolved_packages"] == first["resolved_packages"]
    assert second["changes"] == [] or again["diff_packages"]


@MANY
@given(situations)
def test_the_order_is_kept_and_nothing_is_doubled(
    situation: tuple[dict[str, Any], Knowledge],
) -> None:
    """What no change touches stays in the user's order; every name stands once, and not beside its
    own removal.
    """
    fields, known = situation
    request, resolution = decide(fields, known)
    touched = {change.to_package for change in resolution.changes}
    untouched = [
        name for name in resolution.packages if name in request.packages and name not in touched
    ]
    contradicts_itself = any(f"-{name}" in request.packages for name in request.packages)

    assert untouched == sorted(untouched, key=request.packages.index)
    assert len(resolution.packages) == len(set(resolution.packages))
    assert contradicts_itself or not [
        name for name in resolution.packages if f"-{name}" in resolution.packages
    ]


@MANY
@given(situations)
def test_every_default_is_installed_or_taken_away_by_name(
    situation: tuple[dict[str, Any], Knowledge],
) -> None:
    """An explicit list leaves the builder no guess, and takes away nothing without a change that
    says so.
    """
    fields, known = situation
    request, resolution = decide(fields, known)
    removed = {name for name in resolution.packages if name.startswith("-")}

    if known.defaults is not None and request.diff_packages:
        named = {name.removeprefix("-") for name in resolution.packages}
        assert not [
            name
            for name in known.defaults.defaults
            if name not in named and not vetoed(request, name)
        ]
    told = {f"-{change.package}" for change in resolution.changes if change.action == "remove"} | {
        change.to_package for change in resolution.changes
    }
    assert removed <= set(request.packages) | told


@MANY
@given(situations)
def test_no_new_default_is_lost(situation: tuple[dict[str, Any], Knowledge]) -> None:
    """What no release that the device may come from had is installed, unless the request vetoes it
    or holds a variant of it.
    """
    fields, known = situation
    request, resolution = decide(fields, known)
    if (
        known.defaults is None
        or not request.diff_packages
        or resolution.from_version is None
        or not known.earlier
    ):
        return
    if not resolution.from_version.inferred and request.known_origin not in {
        release.version for release in known.earlier
    }:
        return  # Nothing is known of the origin, and the list may hold too little to infer it.
    had = {name for release in known.earlier for name in release.defaults}
    # -firewall becomes -firewall4.
    refused = {*request.packages, *(change.to_package for change in resolution.changes)}
    for name in known.defaults.defaults.keys() - had:
        reason = resolution.why(name) or ""
        assert (
            name in resolution.packages
            or f"-{name}" in refused
            or vetoed(request, name)
            or "ignore" in reason
            or "its place" in reason
        )


@MANY
@given(situations, st.randoms(use_true_random=False))
def test_spellings_of_one_request_meet_at_one_hash(
    situation: tuple[dict[str, Any], Knowledge], chance: random.Random
) -> None:
    """Order, doubles, comma or underscore, and empty or absent fields do not count.

    The order of a list that a person wrote counts for opkg.
    """
    fields, known = situation
    packages = (
        [*fields["packages"], *chance.choices(fields["packages"], k=2)]
        if fields["packages"]
        else []
    )
    chance.shuffle(packages)
    spelt = {
        "profile": fields["profile"].replace("_", ",", 1),
        "packages": packages,
        "defaults": "",
        "repository_keys": [],
    }
    is_of_a_device = fields["diff_packages"] or fields["packages_versions"]
    fields = {**fields, "any_order": not is_of_a_device}
    other = normalised_request({**fields, **spelt})
    one, two = (preview(request, decide(request, known)[1]) for request in (fields, other))

    assert one["request_hash"] == two["request_hash"]
    assert sorted(one["resolved_packages"]) == sorted(two["resolved_packages"])


def test_a_veto_only_leaves_out() -> None:
    """A request that ignores every change comes back with its own packages."""
    for version in VERSIONS:
        request = PackageRequest(
            version=Version.parse(version),
            target="x86/64",
            profile="generic",
            packages=("auc", "opkg", "firewall"),
        )
        assert (
            resolve(replace(request, ignored_changes=frozenset(CHANGES)), RULES).packages
            == request.packages
        )
