"""One device's upgrade through the gateway, step by step: changes, progress of the build, files.

The default is the upgrade that goes wrong most harmfully elsewhere: a Home Hub 5 on OpenWrt 23.05
asks for 25.12 with exactly the packages it has. Some of them were renamed since, and the drivers of
its network ports have become packages of their own, which its list cannot name.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from misc.native import web
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from misc.native.settings import Settings

OK, ACCEPTED = 200, 202
POLL_SECONDS = 0.5  # As owut does.
BUILD_SECONDS = 1800.0  # A real ImageBuilder with a slow mirror needs minutes, never this long.
ERROR_LINES = 20

HOME_HUB_PACKAGES = """
    ath10k-firmware-qca988x-ct auc base-files busybox ca-bundle dnsmasq dropbear
    dsl-vrx200-firmware-xdsl-a dsl-vrx200-firmware-xdsl-b-patch firewall4 fstools iwinfo
    kmod-ath10k-ct kmod-ath9k kmod-gpio-button-hotplug kmod-leds-gpio kmod-ltq-atm-vr9
    kmod-ltq-deu-vr9 kmod-ltq-ptm-vr9 kmod-ltq-vdsl-vr9 kmod-ltq-vdsl-vr9-mei kmod-nft-offload
    kmod-owl-loader kmod-usb-dwc2 libc libgcc libustream-mbedtls logd ltq-vdsl-vr9-app
    ltq-vdsl-vr9-vectoring-fw-installer luci luci-app-attendedsysupgrade luci-app-opkg
    luci-i18n-base-de luci-i18n-opkg-de mtd netifd nftables odhcp6c odhcpd-ipv6only opkg ppp
    ppp-mod-pppoa ppp-mod-pppoe procd procd-seccomp procd-ujail uci uclient-fetch urandom-seed urngd
    wpad-basic-mbedtls
"""
HOME_HUB: dict[str, Any] = {
    "version": "25.12.1",
    "target": "lantiq/xrx200",
    "profile": "bt,homehub-v5a",  # The board name, as the device itself spells it.
    "packages": HOME_HUB_PACKAGES.split(),
    "diff_packages": True,
    "from_version": "23.05.5",
    "client": "luci/git-23.339.51123-138595a",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to ask for, from the environment."""

    version: str | None
    target: str | None
    profile: str | None

    def request(self, settings: Settings) -> dict[str, Any]:
        """Return the build request: the Home Hub's, or a plain one for other settings."""
        if not (self.version or self.target or self.profile or settings.upstream_url):
            return dict(HOME_HUB)
        return {
            "version": self.version or _newest_version(settings),
            "target": self.target or "x86/64",
            "profile": self.profile or "generic",
            "packages": ["luci", "auc"],
            "client": "demo/1",
        }


def run_demo(settings: Settings, wish: Wish, say: Callable[[str], None]) -> None:
    """Ask for a preview and a build, follow it and check what comes out."""
    request = wish.request(settings)
    say(
        f"\n{request['profile']} ({request['target']}) asks for {request['version']} "
        f"with {len(request['packages'])} packages"
    )
    preview = _accepted(
        web.ask(f"{settings.gateway_url}/api/v1/build/prepare", body=request), "the preview"
    )
    _show_preview(preview, say)
    began = time.monotonic()
    answer = web.ask(
        f"{settings.gateway_url}/api/v1/build?skip_package_resolution=true",
        body=preview["prepared_request"],
    )
    was_there = answer.status == OK
    build = _follow(settings, answer, say)
    if was_there:
        say(
            f"the build is served from the cache, in {time.monotonic() - began:.2f} s: an equal "
            "request has been built before"
        )
    else:
        say(f"built in {time.monotonic() - began:.1f} s")
    _check_files(settings, build, say)


def _newest_version(settings: Settings) -> str:
    """Return the newest stable version that the server offers."""
    overview = _accepted(web.ask(f"{settings.gateway_url}/json/v1/overview.json"), "the overview")
    stable = [version for version in overview.get("latest", []) if "-rc" not in version]
    if not stable:
        raise Trouble(
            "the server offers no version; choose one: "
            "make demo VERSION=24.10.4 TARGET=x86/64 PROFILE=generic"
        )
    return str(stable[0])


def _show_preview(preview: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Say what will be installed differently from what was asked for, and why."""
    say(f"{len(preview['changes'])} changes:" if preview["changes"] else "nothing changes")
    signs = {"add": "+", "remove": "-", "replace": "~"}
    for change in preview["changes"]:
        sign = signs.get(change["action"], "?")
        names = (
            f"{change['from_package']} -> {change['to_package']}"
            if change["action"] == "replace"
            else _changed_name(change)
        )
        say(f"  {sign} {names}\n      {change['reason']}{_where(change)}")
    for problem in preview["problems"]:
        say(f"  ! {problem['package']}: {problem['detail']}")
    for warning in preview["warnings"]:
        say(f"  ! {warning}")


def _changed_name(change: Mapping[str, Any]) -> str:
    return str(change.get("package") or change.get("to_package") or change.get("from_package"))


def _where(change: Mapping[str, Any]) -> str:
    return f" ({change['reference']})" if change.get("reference") else ""


def _follow(settings: Settings, answer: web.Answer, say: Callable[[str], None]) -> dict[str, Any]:
    """Poll until the build has ended, with a line for each new state; return the finished build."""
    body, shown = answer.json(), ""
    deadline = time.monotonic() + BUILD_SECONDS
    began = time.monotonic()
    while answer.status == ACCEPTED:
        state = _state(body)
        if state != shown:
            say(f"  {time.monotonic() - began:5.1f} s  {state}")
            shown = state
        if time.monotonic() > deadline:
            raise Trouble(
                f"the build has not ended within {BUILD_SECONDS:.0f} s; the workers' logs are in "
                f"{settings.logs}"
            )
        time.sleep(POLL_SECONDS)
        answer = web.ask(f"{settings.gateway_url}/api/v1/build/{body['request_hash']}")
        body = answer.json()
    return _accepted(answer, "the build")


def _state(body: Mapping[str, Any]) -> str:
    """Put a build's state into words."""
    if "queue_position" in body:
        return f"queued, {body['queue_position']} ahead"
    return str(body.get("imagebuilder_status") or body.get("detail")).replace("_", " ")


def _accepted(answer: web.Answer, what: str) -> dict[str, Any]:
    """Return the body of a good answer; raises Trouble with the server's words for another."""
    body = answer.json()
    if answer.status == OK:
        return body
    output = "\n".join(
        f"  | {line}" for line in str(body.get("stderr") or "").splitlines()[-ERROR_LINES:]
    )
    detail = body.get("detail") or answer.body[:500].decode(errors="replace")
    raise Trouble(f"{what} failed with {answer.status}: {detail}\n{output}".rstrip())


def _check_files(settings: Settings, build: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Download each image through the gateway and compare it with what the server says about it."""
    if not build["images"]:
        raise Trouble("the build has no images")
    for image in build["images"]:
        path = f"/store/{build['bin_dir']}/{image['name']}"
        answer = web.ask(f"{settings.gateway_url}{path}")
        digest = hashlib.sha256(answer.body).hexdigest()
        if answer.status != OK or digest != image["sha256"]:
            raise Trouble(
                f"{settings.gateway_url}{path} answers {answer.status} with sha256 {digest}, "
                f"not {image['sha256']}"
            )
        file = settings.store / build["bin_dir"] / image["name"]
        say(f"  {settings.gateway_url}{path}\n      file {file}")
        say(f"      {image['type']}, {len(answer.body)} bytes, sha256 {digest} (checked)")
