"""Clients of the service, without a network, and a request to begin with."""

import json
from typing import Any

import pytest
from hypothesis import settings
from starlette.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments

# A busy machine can take long for one example, and that is no failure.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")

KERNEL = {"version": "6.12.78", "release": "1", "vermagic": "4362e98d"}


@pytest.fixture
def client() -> TestClient:
    """Return a client of a service with default settings whose downloads server cannot be
    reached.
    """
    return TestClient(
        create_app(Settings(), MemoryDocuments({}, down=True)), raise_server_exceptions=False
    )


@pytest.fixture
def documents() -> MemoryDocuments:
    """Return the metadata of a small downloads server: a Home Hub 5A and two routers that share a
    name, in 23.05 and 25.12.
    """
    old = release(
        "23.05.5",
        defaults=["base-files", "dnsmasq", "netifd", "opkg", "swconfig"],
        device=["kmod-ltq-vmmc"],
        packages=["luci", "luci-app-opkg", "vim", "opkg", "swconfig"],
    )
    new = release(
        "25.12.0",
        defaults=["apk-mbedtls", "base-files", "dnsmasq", "netifd"],
        device=[
            "kmod-dsa-gswip",
            "kmod-ltq-vmmc",
            "xrx200-rev1.1-phy11g-firmware",
            "xrx200-rev1.2-phy11g-firmware",
        ],
        packages=["luci", "luci-app-package-manager", "vim", "apk-mbedtls"],
    )
    versions = {
        "stable_version": "25.12.0",
        "oldstable_version": "23.05.5",
        "versions_list": ["23.05.5", "25.12.0"],
    }
    return MemoryDocuments({**old, **new, ".versions.json": json.dumps(versions).encode()})


@pytest.fixture
def informed(documents: MemoryDocuments) -> TestClient:
    """Return a client of a service that knows this metadata."""
    return TestClient(create_app(Settings(), documents), raise_server_exceptions=False)


def release(
    version: str, *, defaults: list[str], device: list[str], packages: list[str]
) -> dict[str, bytes]:
    """Return the documents of one release with one target."""
    devices = {
        "bt_homehub-v5a": {"device_packages": device, "supported_devices": ["bt,homehub-v5a"]},
        "zyxel_p-2812hnu-f1": {"device_packages": [], "supported_devices": ["zyxel,p-2812hnu"]},
        "zyxel_p-2812hnu-f3": {
            "device_packages": [],
            "supported_devices": ["zyxel,p-2812hnu", "zyxel,old-name"],
        },
    }
    profiles = {
        "version_code": "r1-1",
        "arch_packages": "mips_24kc",
        "linux_kernel": KERNEL,
        "default_packages": defaults,
        "profiles": devices,
    }
    target, feeds = (
        f"releases/{version}/targets/lantiq/xrx200",
        f"releases/{version}/packages/mips_24kc",
    )
    return {
        f"{target}/profiles.json": json.dumps(profiles).encode(),
        f"{target}/packages/index.json": index("kernel", "dnsmasq", "netifd"),
        f"{target}/kmods/{'-'.join(KERNEL.values())}/index.json": index(*device),
        f"{feeds}/feeds.conf": (
            b"src-git base https://example.org/base.git^0\nsrc-git luci"
            b" https://example.org/luci.git^0\n"
        ),
        f"{feeds}/base/index.json": index(*packages),
        f"{feeds}/luci/index.json": index("luci"),
    }


def index(*names: str) -> bytes:
    """Return an index.json with these packages in version 2-r1."""
    return json.dumps(
        {"version": 2, "architecture": "mips_24kc", "packages": dict.fromkeys(names, "2-r1")}
    ).encode()


@pytest.fixture
def home_hub() -> dict[str, Any]:
    """Return the request of a BT Home Hub 5A that goes from 24.10 to 25.12."""
    return {
        "from_version": "24.10.4",
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages": ["luci", "opkg", "-ppp"],
        "diff_packages": True,
    }
