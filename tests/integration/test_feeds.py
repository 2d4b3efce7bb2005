"""Builds with feeds of their own, through real make in a real container: what is in the image, and
what ends the build.

The feed is served over HTTP where containers reach this machine, else it lies in the builder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from asu.app import create_app
from asu.worker.podman_engine import PodmanEngine
from tests.imagebuilder.upstream_tree import Release
from tests.integration.podman_world import APK, OPKG, PodmanWorld
from tests.integration.test_image_content import has, opened
from tests.upstream.own_feeds import NEWEST_VIM, OTHER_PEM_KEY, OTHER_USIGN_KEY, PEM_KEY, USIGN_KEY
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asu.settings import Settings
    from tests.integration.worker_world import WorkerWorld

BOTH = pytest.mark.parametrize("version", [OPKG, APK])
KEYS = {OPKG: USIGN_KEY, APK: PEM_KEY}
OTHER_KEYS = {OPKG: OTHER_USIGN_KEY, APK: OTHER_PEM_KEY}


@dataclass(frozen=True)
class Feed:
    """The feed of one package manager that is not OpenWrt's; `requests` is empty where no server is
    needed.
    """

    root: str
    version: str
    requests: list[tuple[str, str]]

    @property
    def url(self) -> str:
        """Its directory."""
        return f"{self.root}/own/{'apk' if self.version == APK else 'opkg'}"


@pytest.fixture
def feed(podman: PodmanWorld, version: str) -> Iterator[Feed]:
    """Offer the feed that fits the version."""
    host = podman.podman.host_address
    if host is None:
        yield Feed("file:///upstream", version, [])
        return
    # Containers come over the network's gateway; all of it is generated.
    with UpstreamServer(podman.tree, bind="0.0.0.0") as server:  # noqa: S104
        yield Feed(f"http://{host}:{server.port}", version, server.requests)


def admitting(worker: WorkerWorld, feed: Feed) -> Settings:
    """Return the settings of a server that admits the feed; its address is a private one."""
    return worker.settings.model_copy(update={"repository_allow_list": (feed.root,)})


def build(worker: WorkerWorld, feed: Feed, **fields: Any) -> dict[str, Any]:
    """Build with the feed appended and its key, unless fields say otherwise."""
    wanted = {
        "repositories": {"own": feed.url},
        "repositories_mode": "append",
        "repository_keys": [KEYS[feed.version]],
        "filesystem": "squashfs",
    }
    return worker.build(
        with_settings=admitting(worker, feed),
        version=feed.version,
        packages=["own-tool", "vim"],
        **{**wanted, **fields},
    )


@BOTH
def test_an_appended_feed_is_really_used(worker: WorkerWorld, feed: Feed, tmp_path: Path) -> None:
    """Its packages are fetched, checked against its key and installed, beside those of OpenWrt's
    feeds.
    """
    body = build(worker, feed)

    assert body["status"] == 200, body
    root = opened(worker.images(body, "rootfs"), tmp_path)
    assert has(root, "own-tool")
    assert "of a feed of its own" in (root / "usr/bin/own-tool").read_text()
    assert NEWEST_VIM in (root / "usr/bin/vim").read_text()
    assert body["manifest"]["vim"] == NEWEST_VIM
    assert has(root, "dnsmasq")
    assert not feed.requests or any("own-tool" in path for _, path in feed.requests)


@BOTH
def test_feeds_that_replace_are_all_there_is(
    worker: WorkerWorld, feed: Feed, tmp_path: Path
) -> None:
    """With OpenWrt's feeds named but one, images are made, and a package of the one that was left
    out is not to be had.
    """
    release = Release(worker.podman.tree, feed.version, "x86/64")
    named = {
        name: f"file:///upstream/{path}"
        for name, path in release.feeds.items()
        if name != "packages"
    }
    fields: dict[str, Any] = {
        "repositories": {**named, "own": feed.url},
        "repositories_mode": "replace",
    }

    body = build(worker, feed, **fields)
    without = worker.build(
        with_settings=admitting(worker, feed),
        version=feed.version,
        packages=["own-tool", "tmux"],
        repository_keys=[KEYS[feed.version]],
        **fields,
    )

    assert body["status"] == 200, body
    root = opened(worker.images(body, "rootfs"), tmp_path)
    assert has(root, "own-tool")
    assert has(root, "dropbear")
    assert [(problem["package"], problem["kind"]) for problem in without["problems"]] == [
        ("tmux", "missing")
    ]


@BOTH
@pytest.mark.parametrize("keys", ["none", "another", "of the other package manager"])
def test_a_feed_that_is_not_trusted_ends_the_build(
    worker: WorkerWorld, feed: Feed, keys: str
) -> None:
    """Without its key, vim would come from OpenWrt's feed and nobody would know."""
    other = {
        "none": [],
        "another": [OTHER_KEYS[feed.version]],
        "of the other package manager": [KEYS[OPKG if feed.version == APK else APK]],
    }

    body = build(worker, feed, repository_keys=other[keys], packages_versions={})

    assert (body["code"], body["fault"]) == ("feed-untrusted", "user"), body
    assert "own (" in body["detail"]
    assert "no signature by a known key; `repository_keys` must hold its" in body["detail"]
    assert not worker.store.has(body["request_hash"])


@BOTH
def test_a_feed_that_is_not_there_ends_the_build(worker: WorkerWorld, feed: Feed) -> None:
    """The builder ends well without it, since vim is elsewhere too; the build does not."""
    fields: dict[str, Any] = {
        "repositories": {"own": f"{feed.url}/nowhere"},
        "repositories_mode": "append",
        "repository_keys": [KEYS[feed.version]],
    }

    body = worker.build(
        with_settings=admitting(worker, feed), version=feed.version, packages=["vim"], **fields
    )

    assert (body["code"], body["fault"]) == ("feed-unusable", "upstream"), body
    assert f"own ({feed.url}/nowhere" in body["detail"]
    assert "cannot be downloaded" in body["detail"]
    assert "make_seconds" in body
    assert "image" not in body["make_seconds"]


@BOTH
def test_a_feed_on_a_host_that_is_not_there_ends_the_build(worker: WorkerWorld, feed: Feed) -> None:
    """A name that nobody resolves is no reason to take packages from elsewhere."""
    body = build(worker, feed, repositories={"own": "http://no-such-host.invalid/own"})

    assert (body["code"], body["fault"]) == ("feed-unusable", "upstream"), body


@BOTH
def test_the_same_feeds_make_the_same_image(worker: WorkerWorld, feed: Feed) -> None:
    """However the request orders them: what is made does not depend on it."""
    second = feed.url.replace("/own/", "//own/")
    one = build(worker, feed, repositories={"own": feed.url, "second": second})
    other = build(worker, feed, repositories={"second": second, "own": feed.url})

    assert one["status"] == other["status"] == 200, (one["detail"], other["detail"])
    assert {image["sha256_unsigned"] for image in one["images"]} == {
        image["sha256_unsigned"] for image in other["images"]
    }


@BOTH
def test_a_feed_below_the_operators_list_reaches_the_image(
    worker: WorkerWorld, feed: Feed, tmp_path: Path
) -> None:
    """From the request through preview, API and queue to the image, opened; a feed beside the list
    is refused before any of it.
    """
    if not feed.url.startswith("http"):
        pytest.skip("containers cannot reach this machine, and the API admits no files")
    wanted = {
        "version": feed.version,
        "target": "x86/64",
        "profile": "generic",
        "packages": ["own-tool"],
        "filesystem": "squashfs",
    }
    own = {
        "repositories": {"own": f"{feed.url}/packages.adb" if feed.version == APK else feed.url},
        "repositories_mode": "append",
    }
    request = {**wanted, **own, "repository_keys": [KEYS[feed.version]]}
    with UpstreamServer(worker.podman.tree) as upstream:
        settings = worker.settings.model_copy(
            update={"upstream_url": upstream.url, "repository_allow_list": (f"{feed.root}/own",)}
        )
        with TestClient(create_app(settings)) as client:
            beside = client.post(
                "/api/v1/build",
                json={**request, "repositories": {"own": f"{feed.root}/other/packages.adb"}},
            )
            preview = client.post("/api/v1/build/prepare", json=request).json()
            accepted = client.post("/api/v1/build", json=request).json()
    key = accepted["request_hash"]
    worker.builder(PodmanEngine(settings, system=worker.system))()
    body = worker.body(key)

    assert (beside.status_code, beside.json()["code"]) == (400, "repository-not-allowed")
    assert preview["request_hash"] == key
    assert [problem["kind"] for problem in preview["problems"]] == []
    assert any(
        "own-tool is expected from the feed own" in warning for warning in preview["warnings"]
    )
    assert body["status"] == 200, body
    assert has(opened(worker.images(body, "rootfs"), tmp_path), "own-tool")
