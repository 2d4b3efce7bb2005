"""Hostile values against the real make: what they would do, and that they never get there.

The first test shows that the stand-in is as vulnerable as the genuine builder; without it the
second would prove nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import AsuError
from asu.worker.imagebuilder import (
    BuilderInfo,
    image_command,
    manifest_command,
    parse_info,
    selection,
)
from tests.integration.podman_world import APK, BASE, OPKG, PodmanWorld, builder_image, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asu.worker.container import BuildContainer

CANARY = "/builder/canary"
KEY = "0123456789abcdef" * 4
TOUCH = f"touch {CANARY}"

PACKAGE_PAYLOADS = {
    "backticks": f"`{TOUCH}`",
    "make function": f"$(shell {TOUCH})",
    "escaped substitution": f"$$({TOUCH})",
    "double quote": f'x";{TOUCH};"',
    "semicolon": f"tmux;{TOUCH}",
    "pipe": f"tmux|{TOUCH}",
    "ampersand": f"tmux&{TOUCH}",
    "redirection": f"tmux>{CANARY}",
}
PROFILE_PAYLOADS = {"single quote": f"x'; {TOUCH}; '", "make function": f"$(shell {TOUCH})"}
# These run nothing, and still mean something to make: a pattern empties the list or chooses
# profiles, a newline breaks its quoting.
OTHERS = {
    "pattern of removals": "-%",
    "pattern": "%",
    "newline": f"tmux\n{TOUCH}",
    "path": "/builder/x.ipk",
    "version pin": "tmux=1.0",
}


@pytest.fixture(scope="module", params=[OPKG, APK])
def builder(podman: PodmanWorld, request: pytest.FixtureRequest) -> Iterator[BuildContainer]:
    """Start one builder of each package manager."""
    with started(podman.engine(), builder_image(f"{BASE}:x86-64-v{request.param}")) as container:
        yield container


@pytest.fixture(scope="module")
def info(builder: BuildContainer) -> BuilderInfo:
    """Return what the builder says of itself."""
    return parse_info(builder.run(["make", "info"], deadline=60).stdout)


def has_canary(builder: BuildContainer) -> bool:
    """Whether a payload ran; the canary is taken away."""
    found = builder.run(["test", "-e", CANARY], deadline=60).exit_code == 0
    builder.run(["rm", "-f", CANARY], deadline=60)
    return found


def wanted(**values: Any) -> dict[str, Any]:
    """Return a plan's request."""
    return {
        "version": "24.10.4",
        "profile": "generic",
        "packages": [],
        "diff_packages": False,
        "rootfs_size_mb": None,
        "defaults": None,
        "filesystem": None,
        **values,
    }


@pytest.mark.parametrize("payload", PACKAGE_PAYLOADS.values(), ids=PACKAGE_PAYLOADS)
def test_the_builder_runs_what_stands_in_packages(builder: BuildContainer, payload: str) -> None:
    """An argument list protects nothing: make and two shells evaluate the value."""
    builder.run(
        ["make", "manifest", "PROFILE=generic", f"PACKAGES={payload}", "STRIP_ABI=1"], deadline=120
    )

    assert has_canary(builder)


@pytest.mark.parametrize("payload", PROFILE_PAYLOADS.values(), ids=PROFILE_PAYLOADS)
def test_the_builder_runs_what_stands_in_profile(builder: BuildContainer, payload: str) -> None:
    """The profile is evaluated in other quotes, and all the same."""
    builder.run(
        ["make", "manifest", f"PROFILE={payload}", "PACKAGES=", "STRIP_ABI=1"], deadline=120
    )

    assert has_canary(builder)


def test_a_pattern_means_something_to_make(builder: BuildContainer) -> None:
    """With a pattern the list of packages is not what was asked for, and nothing complains."""
    plain = builder.run(
        ["make", "manifest", "PROFILE=generic", "PACKAGES=", "STRIP_ABI=1"], deadline=120
    )
    emptied = builder.run(
        ["make", "manifest", "PROFILE=generic", "PACKAGES=-%", "STRIP_ABI=1"], deadline=120
    )

    assert plain.exit_code == 0
    assert emptied.stdout != plain.stdout


@pytest.mark.parametrize(
    "payload", [*PACKAGE_PAYLOADS.values(), *OTHERS.values()], ids=[*PACKAGE_PAYLOADS, *OTHERS]
)
def test_packages_are_refused_before_make_sees_them(
    builder: BuildContainer, info: BuilderInfo, payload: str
) -> None:
    """The same values end at the admission, on each of the ways to make, and nothing runs."""
    with pytest.raises(AsuError):
        builder.run(
            manifest_command(wanted(), selection(wanted(packages=[payload]), info)), deadline=120
        )
    with pytest.raises(AsuError):
        builder.run(manifest_command(wanted(), [payload]), deadline=120)
    with pytest.raises(AsuError):
        builder.run(image_command(wanted(), [payload], KEY), deadline=120)

    assert not has_canary(builder)


@pytest.mark.parametrize(
    "payload", [*PROFILE_PAYLOADS.values(), "%", "generic generic", "DEVICE_generic"]
)
def test_profiles_are_refused_before_make_sees_them(
    builder: BuildContainer, info: BuilderInfo, payload: str
) -> None:
    """A profile is an exact one of the builder's or none."""
    with pytest.raises(AsuError):
        builder.run(
            manifest_command(wanted(profile=payload), selection(wanted(profile=payload), info)),
            deadline=120,
        )

    assert not has_canary(builder)


@pytest.mark.parametrize("payload", PACKAGE_PAYLOADS.values(), ids=PACKAGE_PAYLOADS)
def test_the_key_cannot_carry_a_command(builder: BuildContainer, payload: str) -> None:
    """What ends up in file names and directories is a hash or nothing."""
    with pytest.raises(AsuError):
        builder.run(image_command(wanted(), [], payload), deadline=120)

    assert not has_canary(builder)


def test_a_first_boot_script_is_only_a_file(builder: BuildContainer) -> None:
    """The script holds whatever it wants; building with it runs none of it."""
    script = "\n".join([*PACKAGE_PAYLOADS.values(), TOUCH])
    builder.put("asu-files/etc/uci-defaults/99-asu-defaults", script.encode(), 0o755)

    result = builder.run(image_command(wanted(defaults=script), [], KEY), deadline=240)

    assert result.exit_code == 0, result.stderr
    assert not has_canary(builder)
