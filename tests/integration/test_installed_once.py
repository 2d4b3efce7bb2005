"""Packages are installed once, for the manifest, and the images are those of a plain `make
image`.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from asu.provenance.envelope import PROVENANCE_FILE
from asu.records.build_record import Attempt
from asu.worker.build_run import start_run
from asu.worker.builder_steps import inspect_builder, prepare
from asu.worker.copying import copy_out
from asu.worker.imagebuilder import output_directory
from asu.worker.podman_engine import PodmanEngine
from asu.worker.profiles_json import images_of
from asu.worker.progress import Progress
from tests.integration.podman_world import APK, FEEDS, OPKG
from tests.upstream.own_feeds import PEM_KEY, USIGN_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from asu.settings import Settings
    from tests.integration.worker_world import WorkerWorld

DEVICE = {"target": "ath79/generic", "profile": "tplink_archer-c7-v5"}
SCRIPT = "uci commit\n"
CASES: dict[str, dict[str, Any]] = {
    "all file systems and a size, opkg": {"version": OPKG, "rootfs_size_mb": 72},
    "all file systems and a size, apk": {"version": APK, "rootfs_size_mb": 72},
    "a file system, snapshot": {"version": "SNAPSHOT", "filesystem": "ext4"},
    "packages and a first-boot script, opkg": {
        "version": OPKG,
        **DEVICE,
        "packages": ["vim", "-ppp", "luci"],
        "defaults": SCRIPT,
    },
    "an absolute list and a first-boot script, apk": {
        "version": APK,
        **DEVICE,
        "packages": ["base-files", "busybox", "dropbear", "vim"],
        "diff_packages": True,
        "defaults": SCRIPT,
    },
    "a feed and a file system, opkg": {
        "version": OPKG,
        "packages": ["own-tool"],
        "filesystem": "squashfs",
        "repositories": {"own": f"{FEEDS}/own/opkg"},
        "repositories_mode": "append",
        "repository_keys": [USIGN_KEY],
    },
    "a feed, apk": {
        "version": APK,
        **DEVICE,
        "packages": ["own-tool"],
        "repositories": {"own": f"{FEEDS}/own/apk"},
        "repositories_mode": "append",
        "repository_keys": [PEM_KEY],
    },
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_the_images_are_those_of_make_image(
    worker: WorkerWorld, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """Equal files for every field of a request, but for the builder's throw-away signature."""
    settings = worker.settings.model_copy(
        update={"repository_allow_list": (FEEDS,), "allow_defaults": True}
    )

    body = worker.build(with_settings=settings, **fields)

    assert body["detail"] == "done", body
    assert body["image_cmd"][:3] == ["make", "-s", "prepare_rootfs"]
    published = worker.settings.store_path / body["bin_dir"]
    plain = made_at_once(worker, settings, body, tmp_path)
    assert files_of(published) == files_of(plain)


def made_at_once(
    worker: WorkerWorld, settings: Settings, body: dict[str, Any], directory: Path
) -> Path:
    """Return a directory with what a plain `make image` makes in a container of its own."""
    made = directory / "plain"
    made.mkdir()
    key = body["bin_dir"]
    plan = worker.records.plan(key)
    assert plan
    engine = PodmanEngine(settings, system=worker.system)
    with ExitStack() as aftermath:
        run = start_run(
            Attempt(key=key, number=1, plan=plan),
            settings,
            Progress(plan),
            show=lambda _: None,
            engine=lambda: engine,
            aftermath=aftermath,
        )
        run = prepare(inspect_builder(run))
        done = run.container.run(body["build_cmd"], deadline=120)
        assert done.exit_code == 0, done.stderr
        copy_out(run.container.read_out(output_directory(key), deadline=60), made, max_bytes=2**31)
    return made


def files_of(directory: Path) -> dict[str, Any]:
    """Return what is in each file of a build; of an image, what profiles.json says without
    signature.
    """
    files: dict[str, Any] = {}
    profiles = json.loads((directory / "profiles.json").read_text())
    for image in images_of(profiles):
        files[image["name"]] = image["sha256_unsigned"]
        del image["sha256"]
        image.pop("size", None)
    for profile in profiles["profiles"].values():
        profile["images"].sort(key=lambda image: image["name"])  # The builder's order is random.
    files["profiles.json"] = profiles
    for path in directory.iterdir():
        if path.name.startswith(".") or path.name in {PROVENANCE_FILE, *files}:
            continue
        lines = path.read_bytes().splitlines()
        files[path.name] = [line[64:] for line in lines] if path.name == "sha256sums" else lines
    return files
