"""What the container's profiles.json cannot say: a package's script may write anything there, and
only known facts get into an answer.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from asu.builds.eta import EtaEstimate
from asu.builds.poll_answer import answer_of
from asu.provenance.envelope import PROVENANCE_FILE, read_envelope
from asu.provenance.statement import Provenance, read_statement
from asu.records.build_record import State
from asu.stores.manifest import ACCOUNT, MANIFEST
from asu.worker.container import CommandResult
from asu.worker.profiles_json import MAX_PROFILES
from asu.worker.signing_key import make_signing_key
from tests.stored import stored_bytes
from tests.twins.memory_container import regular
from tests.unit.job_world import World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path

FORGED = "sha256:" + "0" * 64
# All that this server says of a build by itself, in whatever state of it.
OURS: dict[str, Any] = (
    {"attempts": [], "notice": "evil", "queue_position": 3, "eta_seconds": 9, "workers_alive": 99}
    | {
        "status": 500,
        "detail": "evil",
        "imagebuilder_status": "failed",
        "fault": "infra",
        "code": "evil",
        "title": "evil",
        "retry_after": 1,
    }
    | {
        "errors": [],
        "problems": [{"package": "evil"}],
        "too_big": [{}],
        "stdout": "evil",
        "stderr": "evil",
    }
    | {
        "request": {"packages": ["evil"]},
        "request_hash": "0" * 64,
        "enqueued_at": "yesterday",
        "build_at": "yesterday",
    }
    | {
        "manifest": {"evil": "1"},
        "build_cmd": ["evil"],
        "builder_digest": FORGED,
        "provenance": "evil",
        "bin_dir": "..",
        "id": "evil",
    }
    | {
        "make_seconds": {"image": 1e6},
        "target": "evil/evil",
        "version_code": "r1-evil",
        "error": "evil",
        "no_such_key": "evil",
    }
)
# What an ImageBuilder writes, in shapes that it has nowhere.
OF_TARGET: dict[str, Any] = {
    "arch_packages": 17,
    "default_packages": [["luci"]],
    "linux_kernel": [],
    "metadata_version": True,
    "source_date_epoch": 10**18,
}
OF_PROFILE: dict[str, Any] = {
    "device_packages": {"vim": 1},
    "file_size_limits": "none",
    "image_prefix": None,
    "supported_devices": "all",
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store and an audit log."""
    return new_world(tmp_path / "store", audit_log=tmp_path / "audit.jsonl")


def provenance_of(world: World, key: str) -> Provenance:
    """Return what the published provenance says."""
    return read_statement(read_envelope(stored_bytes(world.store, key, PROVENANCE_FILE)).payload)


@pytest.mark.parametrize("place", ["target_facts", "profile_facts"])
def test_what_the_server_says_is_not_for_a_script_to_say(tmp_path: Path, place: str) -> None:
    """Answer, audit log and provenance are those of an honest build, whatever stands in
    profiles.json, at its top or in its profile.
    """
    honest, hostile = (
        new_world(tmp_path / name, audit_log=tmp_path / f"{name}.jsonl")
        for name in ("honest", "hostile")
    )
    getattr(hostile.script, place).update(OURS)

    wanted, found = body_of(honest.build()), body_of(hostile.build())

    # Not the same, but measured here.
    assert found.pop("make_seconds")["image"] < wanted.pop("make_seconds")["image"] + 1000
    assert found == wanted
    key = found["request_hash"]
    assert provenance_of(hostile, key).packages == wanted["manifest"]
    assert provenance_of(hostile, key).builder == provenance_of(honest, key).builder
    payload = (hostile.settings.store_path / key / PROVENANCE_FILE).read_bytes()
    assert b"evil" not in read_envelope(payload).payload
    [line] = (tmp_path / "hostile.jsonl").read_text().splitlines()
    assert json.loads(line)["builder_digest"] == wanted["builder_digest"] != FORGED


def test_no_key_stands_twice_in_an_answer(world: World) -> None:
    """Two readers of an answer must not read two things."""
    world.script.target_facts.update(OURS)

    body = answer_of(world.build(), EtaEstimate()).body

    names: list[str] = []
    json.loads(body, object_pairs_hook=lambda pairs: names.extend(name for name, _ in pairs))
    assert names.count("attempts") == 1


@pytest.mark.parametrize("name", [*OF_TARGET, *OF_PROFILE])
def test_a_known_fact_in_a_shape_that_it_never_has_is_left_out(world: World, name: str) -> None:
    """Clients and statistics meet either what they know or nothing; all else of the build is as it
    was.
    """
    if name in OF_TARGET:
        world.script.target_facts[name] = OF_TARGET[name]
    else:
        world.script.profile_facts[name] = OF_PROFILE[name]

    record = world.build()

    assert record.state is State.DONE
    assert name not in body_of(record)
    assert body_of(record)["build_at"].endswith("Z")


@pytest.mark.parametrize(
    "facts",
    [{"size": 10**30}, {"size": True}, {"filesystem": ["x"]}, {"sha256_unsigned": {}}, {"evil": 1}],
)
def test_an_image_has_nothing_but_what_images_have(world: World, facts: dict[str, Any]) -> None:
    """The list of images is read by every client."""
    world.script.image_facts.update(facts)

    images = body_of(world.build())["images"]

    assert len(images) == 2
    assert all(image.get(name) != value for image in images for name, value in facts.items())


@pytest.mark.parametrize(
    "facts",
    [
        {"sha256": ["x"]},
        {"name": {}},
        {"type": 3},
        {"name": PROVENANCE_FILE},
        {"name": "profiles.json"},
    ],
)
def test_an_image_that_is_none_fails_the_build(world: World, facts: dict[str, Any]) -> None:
    """By the ImageBuilder's fault, or of what ran in it: no other worker would see another
    outcome.
    """
    world.script.image_facts.update(facts)

    body = body_of(world.build())

    assert (body["code"], body["fault"]) == ("build-failed", "user")


def test_an_image_that_is_told_twice_must_be_right_each_time(world: World) -> None:
    """A false hash beside the right one would be told to clients."""
    world.script.falsely_told = "0" * 64

    assert body_of(world.build())["code"] == "build-disrupted"


@pytest.mark.parametrize(
    "content",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"[" * 50_000 + b"]" * 50_000,
        b"1" * 5_000,
        b'"\xff"',
        b'"' + b"x" * MAX_PROFILES + b'"',
    ],
)
def test_what_is_no_plain_json_of_a_plain_size_ends_the_build_at_once(
    tmp_path: Path, content: bytes
) -> None:
    """It costs little memory, is begun no second time, and nothing of it gets into the record."""
    world = new_world(tmp_path, retry_delays=(1.0,))
    world.script.raw_fact = content

    record = world.build()

    body = body_of(record)
    assert (record.state, body["code"], body["fault"]) == (State.FAILED, "build-failed", "user")
    assert "profiles.json" in body["detail"]
    assert len(record.body) < 10_000


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("sums", [b"", b"\xff\n" * 300_000, b"0" * 64 + b" *../etc/passwd\n"])
def test_the_list_of_checksums_is_that_of_the_files(
    tmp_path: Path, sums: bytes, *, is_signed: bool
) -> None:
    """Whatever a script wrote there: each published file once, with the hash of its bytes."""
    make_signing_key(tmp_path / "key")
    key = tmp_path / "key" if is_signed else None
    world = new_world(tmp_path / "store", build_key=key)
    world.script.extra.append((regular("out/sha256sums", sums), sums))

    assert body_of(world.build())["status"] == 200

    directory = world.settings.store_path / world.key
    files = {path.name: path for path in directory.iterdir()}
    listed = [line.split(" *")[::-1] for line in files["sha256sums"].read_text().splitlines()]
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    others = {"sha256sums", PROVENANCE_FILE, MANIFEST, ACCOUNT}
    assert dict(listed) == {name: sha for name, sha in hashes.items() if name not in others}
    assert len(listed) == len(dict(listed))


HOSTILE_TEXTS = ("x" * 257, "evil\x1b[2J", "line\nfeed", "<script>", "\u202egpj.exe")


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_what_an_answer_says_of_the_device_comes_from_the_builder(world: World, text: str) -> None:
    """Names and version are known before any package is there, and all else is short and plain."""
    world.script.target_facts |= {"version_number": text, "arch_packages": text}
    world.script.profile_facts |= {
        "titles": [
            {"title": text},
            {"vendor": "TP-Link", "model": "Archer C7", "variant": "v5", text: text},
            {"title": "TP-Link Archer C7 v5", "vendor": text},
            {"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"},
        ],
        "supported_devices": [text] * 257,
        "file_size_limits": {text: 1},
    }
    world.script.image_facts |= {"filesystem": text}

    body = body_of(world.build())

    assert body["version_number"] == "24.10.4"
    assert body["titles"][-1] == {"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"}
    assert text not in str(body["titles"])
    assert "supported_devices" not in body
    assert all("filesystem" not in image for image in body["images"])
    assert len(json.dumps(body)) < 10_000


@pytest.mark.parametrize("titles", [[], "x", [{"title": "evil"}], [{"title": ["x"]}], None])
def test_a_device_always_has_a_name(world: World, titles: Any) -> None:
    """Web clients show nothing without one."""
    world.script.profile_facts["titles"] = titles

    assert body_of(world.build())["titles"] == [{"title": "TP-Link Archer C7 v5"}]


def test_a_list_of_packages_with_a_hole_in_it_is_none(tmp_path: Path) -> None:
    """Of an output that is too long the middle is dropped; a manifest and a provenance without some
    packages would be false.
    """
    world = new_world(tmp_path, retry_delays=(1.0,))
    world.script.failures["manifest"] = CommandResult(
        0, "".join(f"package-{number} - 1.0-r1\n" for number in range(10_000)), ""
    )

    record = world.build()

    body = body_of(record)
    assert (record.state, body["code"], body["fault"]) == (State.FAILED, "build-failed", "user")
    assert "list of packages is longer" in body["detail"]
    assert "manifest" not in body
    assert world.goals() == ["info", "manifest"]


def test_a_feed_is_not_silently_without_its_hash(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the indexes cannot be hashed, the build ends by our fault, and may go better next
    time.
    """
    world.script.failures["find"] = CommandResult(
        1, "", "sha256sum: dl/openwrt_base: Permission denied\n"
    )

    body = body_of(world.build())

    assert (body["code"], body["fault"]) == ("container-failed", "infra")
    assert "feeds cannot be hashed" in caplog.text
    assert "your request is not the cause" in body["detail"]
