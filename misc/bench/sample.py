"""One realistic request: a Home Hub 5 with 159 packages upgrades from 23.05 to 25.12.

Its owner has added VPN, statistics and tools. Some packages were renamed since, and some drivers
became packages of their own, so that prepare has its usual work to do.
"""

from __future__ import annotations

from typing import Any

NAMES = """
    adblock ath10k-firmware-qca988x-ct attendedsysupgrade-common auc base-files bash block-mount
    bmon busybox ca-bundle ca-certificates cgi-io collectd collectd-mod-cpu collectd-mod-interface
    collectd-mod-iwinfo collectd-mod-load collectd-mod-memory collectd-mod-network
    collectd-mod-rrdtool coreutils coreutils-sort curl ddns-scripts ddns-scripts-services
    dnsmasq-full dropbear dsl-vrx200-firmware-xdsl-a dsl-vrx200-firmware-xdsl-b-patch e2fsprogs
    ethtool f2fsck firewall4 fstools fwtool getrandom hostapd-common htop iftop ip-full iperf3 iw
    iwinfo jansson4 jshn jsonfilter kernel kmod-ath10k-ct kmod-ath9k kmod-cfg80211 kmod-fs-ext4
    kmod-fs-vfat kmod-gpio-button-hotplug kmod-leds-gpio kmod-ltq-atm-vr9 kmod-ltq-deu-vr9
    kmod-ltq-ptm-vr9 kmod-ltq-vdsl-vr9 kmod-ltq-vdsl-vr9-mei kmod-mac80211 kmod-nft-core
    kmod-nft-nat kmod-nft-offload kmod-nls-cp437 kmod-nls-iso8859-1 kmod-nls-utf8 kmod-owl-loader
    kmod-sched-cake kmod-tun kmod-usb-core kmod-usb-dwc2 kmod-usb-storage kmod-usb-storage-uas
    kmod-wireguard libc libgcc libmbedtls libopenssl3 libpthread librt libustream-mbedtls lm-sensors
    logd lsblk ltq-vdsl-vr9-app ltq-vdsl-vr9-vectoring-fw-installer luci luci-app-adblock
    luci-app-attendedsysupgrade luci-app-ddns luci-app-firewall luci-app-nlbwmon luci-app-opkg
    luci-app-sqm luci-app-statistics luci-app-upnp luci-app-wol luci-base luci-compat
    luci-i18n-adblock-de luci-i18n-base-de luci-i18n-ddns-de luci-i18n-firewall-de
    luci-i18n-nlbwmon-de luci-i18n-opkg-de luci-i18n-sqm-de luci-i18n-statistics-de
    luci-i18n-upnp-de luci-lib-uqr luci-mod-admin-full luci-mod-network luci-mod-status
    luci-mod-system luci-proto-ipv6 luci-proto-ppp luci-proto-wireguard luci-ssl
    luci-theme-bootstrap luci-theme-material miniupnpd-nftables mkf2fs mtd mtr nano netifd
    nftables-json nlbwmon odhcp6c odhcpd-ipv6only openssh-sftp-server openssl-util opkg ppp
    ppp-mod-pppoa ppp-mod-pppoe procd procd-seccomp procd-ujail px5g-mbedtls rpcd rpcd-mod-file
    rpcd-mod-iwinfo rpcd-mod-luci rpcd-mod-ucode rsync screen socat sqm-scripts swconfig tcpdump
    tmux ubox ubus uci uhttpd uhttpd-mod-ubus urngd wireguard-tools wpad-basic-mbedtls
"""
PACKAGES = tuple(NAMES.split())

REQUEST: dict[str, Any] = {
    "version": "25.12.1",
    "version_code": "",
    "target": "lantiq/xrx200",
    "profile": "bt_homehub-v5a",
    "packages": list(PACKAGES),
    "diff_packages": True,
    "filesystem": "squashfs",
    "from_version": "23.05.5",
    "client": "luci/git-23.339.51123-138595a",
}


def manifest() -> dict[str, str]:
    """Return a manifest of the request's size."""
    return {
        name: f"2025.12.{number % 28 + 1}~1aa36ee7-r{number % 9 + 1}"
        for number, name in enumerate(PACKAGES)
    }


def builder_output() -> str:
    """Return what an ImageBuilder prints: for each package a line on installing and configuring."""
    versions = manifest()
    installing = [
        f"({number}/{len(versions)}) Installing {name} ({version})"
        for number, (name, version) in enumerate(versions.items(), 1)
    ]
    configuring = [f"Executing {name}-{version}.post-install" for name, version in versions.items()]
    return "\n".join([*installing, *configuring, f"OK: 41 MiB in {len(versions)} packages", ""])
