"""Signatures judged by another program of the same format, and builds in real containers that a
worker signs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asu.keys.usign import read_secret_key
from asu.provenance.envelope import PROVENANCE_FILE
from asu.records.build_record import State
from asu.stores.manifest import ACCOUNT, MANIFEST
from asu.worker.signing_key import make_signing_key, read_signing_key
from tests.integration.podman_world import APK, OPKG, ROOT
from tests.requirements import required_program
from tests.signed_images import read_signed
from tests.stored import stored_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.worker_world import WorkerWorld

DEVICE = {"target": "ath79/generic", "profile": "tplink_archer-c7-v5"}
# Those of the stand-in's targets.
SIGNED_TYPES = {"sysupgrade", "factory", "combined", "combined-efi"}
BUILD_SECONDS = 60


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a new key to sign with."""
    path = tmp_path / "key-build"
    make_signing_key(path)
    return path


def signify(*arguments: str | Path) -> str:
    """Run OpenBSD's signify, which reads and writes the files of usign; return what it says."""
    return subprocess.run(
        [required_program("signify-openbsd"), *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def signed_build(worker: WorkerWorld, key: Path, **fields: Any) -> dict[str, Any]:
    """Build with a worker that signs; return the answer."""
    body = worker.build(
        with_settings=worker.settings.model_copy(update={"build_key": key}), **fields
    )
    assert body["status"] == 200, body
    return body


def served(worker: WorkerWorld, body: dict[str, Any], name: str) -> bytes:
    """Return the bytes of a published file."""
    return stored_bytes(worker.store, body["bin_dir"], name)


def test_signify_makes_the_same_signature_with_a_new_key(key: Path, tmp_path: Path) -> None:
    """A key of ours, in the hands of another program, signs in the same bytes as in ours; so the
    file is in the genuine format.
    """
    message, theirs, secret = (
        tmp_path / "message",
        tmp_path / "message.sig",
        tmp_path / "key-build.sec",
    )
    message.write_bytes(b"image" * 1000)
    secret.write_bytes(key.read_bytes())  # signify wants the ending .sec.

    signify("-S", "-s", secret, "-m", message, "-x", theirs)

    ours = read_signing_key(key).secret.sign(message.read_bytes())
    assert ours.decode().splitlines()[1] == theirs.read_text().splitlines()[1]


def test_a_key_of_signify_is_read(tmp_path: Path) -> None:
    """A key that another program made is taken as it is, and the signature is good by its public
    key.
    """
    public, secret, message, signature = (
        tmp_path / name for name in ("key.pub", "key.sec", "message", "message.sig")
    )
    signify("-G", "-n", "-p", public, "-s", secret)
    message.write_bytes(b"image")

    signature.write_bytes(read_secret_key(secret.read_text()).sign(message.read_bytes()))

    assert signify("-V", "-p", public, "-m", message, "-x", signature) == "Signature Verified\n"


@pytest.mark.parametrize("version", [OPKG, APK])
@pytest.mark.parametrize("fields", [DEVICE, {}], ids=["ath79", "x86"])
def test_signed_images_are_what_was_built_with_a_good_signature(
    worker: WorkerWorld, key: Path, tmp_path: Path, version: str, fields: dict[str, Any]
) -> None:
    """With either package manager each image to flash carries our chain and a signature that
    signify verifies over what was built.
    """
    body = signed_build(worker, key, version=version, **fields)

    to_flash = [image for image in body["images"] if image["type"] in SIGNED_TYPES]
    assert to_flash
    message, signature = tmp_path / "message", tmp_path / "message.sig"
    for image in to_flash:
        signed = read_signed(served(worker, body, image["name"]))
        message.write_bytes(signed.message)
        signature.write_bytes(signed.signature)
        assert hashlib.sha256(signed.message).hexdigest() == image["sha256_unsigned"]
        assert signed.chain == key.with_name("key-build.ucert").read_bytes()
        assert signed.kinds == ([1, 0] if fields and image["type"] == "sysupgrade" else [0])
        assert (
            signify("-V", "-p", key.with_name("key-build.pub"), "-m", message, "-x", signature)
            == "Signature Verified\n"
        )


@pytest.mark.parametrize("version", [OPKG, APK])
def test_all_lists_tell_the_hashes_of_the_bytes_served(
    worker: WorkerWorld, key: Path, version: str
) -> None:
    """The answer, profiles.json and sha256sums agree with the files, the size is the file's, and no
    other file lies about.
    """
    body = signed_build(worker, key, version=version, **DEVICE)

    directory = worker.settings.store_path / body["bin_dir"]
    sums = dict(
        reversed(line.split(" *")) for line in (directory / "sha256sums").read_text().splitlines()
    )
    assert {MANIFEST, ACCOUNT, PROVENANCE_FILE, "profiles.json", "sha256sums", *sums} == {
        path.name for path in directory.iterdir()
    }
    assert {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in sums
    } == sums
    assert {image["name"]: image["sha256"] for image in body["images"]}.items() <= sums.items()
    assert all(
        image.get("size", size) == size
        for image in body["images"]
        for size in [(directory / image["name"]).stat().st_size]
    )
    assert (
        json.loads((directory / "profiles.json").read_text())["profiles"][body["id"]]["images"]
        == body["images"]
    )


def test_the_same_request_is_signed_in_the_same_bytes(worker: WorkerWorld, key: Path) -> None:
    """Each opkg container signs with a key of its own; ours takes its place, so two builds of one
    request are one image.
    """
    first, second = (
        {
            image["type"]: (image["sha256_unsigned"], image["sha256"])
            for image in signed_build(worker, key, version=OPKG, **DEVICE)["images"]
        }
        for _ in range(2)
    )

    assert first == second


def test_a_worker_process_signs_with_the_key_that_it_is_given(
    lone_worker: WorkerWorld, key: Path
) -> None:
    """BUILD_KEY in the environment of `asu worker` is all that an operator sets."""
    lone_worker.settings_values["build_key"] = key
    lone_worker.start_worker()
    waiting = lone_worker.ask(version=APK, **DEVICE)
    lone_worker.wake_worker()

    record = lone_worker.wait_until_ended(waiting, seconds=BUILD_SECONDS)

    assert record.state is State.DONE, record.body
    body = json.loads(record.body)
    [name] = [image["name"] for image in body["images"] if image["type"] == "sysupgrade"]
    assert (
        read_signed(served(lone_worker, body, name)).chain
        == key.with_name("key-build.ucert").read_bytes()
    )


def test_a_worker_process_does_not_start_with_an_unusable_key(key: Path) -> None:
    """It ends before it takes a build, with one line that says what to do."""
    key.with_name("key-build.ucert").unlink()

    environment = {**os.environ, "BUILD_KEY": str(key), "ASU_CONFIG": os.devnull}
    ended = subprocess.run(
        [sys.executable, "-m", "asu", "worker"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert (
        ended.stderr
        == f"asu worker: BUILD_KEY: {key}.ucert: No such file or directory; `asu key` makes a key"
        " with its certificate\n"
    )
