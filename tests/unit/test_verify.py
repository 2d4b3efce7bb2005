"""`asu verify` on files of this machine: what it confirms, and that nothing that differs gets past
it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from asu.__main__ import main
from asu.build_request import BuildRequest
from asu.keys.usign import read_public_key, read_secret_key
from asu.provenance.envelope import PROVENANCE_FILE, canonical, read_envelope, sealed
from asu.provenance.sources import MAX_PROVENANCE, DirectorySource, SourceError, open_source
from asu.provenance.verification import verify
from asu.records.build_record import PendingBodies
from asu.resolution import request_hash
from asu.worker.signing_key import make_signing_key
from tests.unit.job_world import WatchedRecords, World, new_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUEST = BuildRequest(
    version="24.10.4", target="ath79/generic", profile="tplink_archer-c7-v5", packages=["vim"]
).normalised()
KEY = request_hash(REQUEST)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """Return the directory of a signed build; its key is `key` beside the store."""
    make_signing_key(tmp_path / "key")
    return published(new_world(tmp_path / "store", build_key=tmp_path / "key"))


def published(world: World) -> Path:
    """Build a request under its own key, and return where it was published."""
    records = WatchedRecords()
    plan = {
        "version": 1,
        "key": KEY,
        "request": REQUEST,
        "enqueued_at": "2026-03-01T12:00:00+00:00",
    }
    asyncio.run(
        records.claim(
            KEY, plan=json.dumps(plan), bodies=PendingBodies(b"{}", b"{}"), limit=1, renew=False
        )
    )
    world.records = records
    world.builder().run()
    return world.settings.store_path / KEY


def image_of(build: Path) -> Path:
    """Return one of the images."""
    return next(build.glob("*sysupgrade*"))


def differences(build: Path, *files: Path, key: Path | None = None) -> list[str]:
    """Return what differs."""
    public = read_public_key(key.read_text()) if key else None
    return verify(DirectorySource(build), files=files, key=public).differences


def reseal(build: Path, change: Callable[[Any], None]) -> None:
    """Write another statement in the place of the provenance, without a signature, as somebody
    would who has no key.
    """
    statement = json.loads(read_envelope((build / PROVENANCE_FILE).read_bytes()).payload)
    change(statement)
    (build / PROVENANCE_FILE).write_bytes(sealed(statement, lambda _: []))


def test_a_build_as_it_was_published_is_good(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says who signed, what was built from what, and names each file; it ends well."""
    main(["verify", str(build), "--key", str(build.parents[1] / "key.pub")])

    told = capsys.readouterr().out
    assert "signature: by key " in told
    assert ", and good" in told
    assert "built: 24.10.4 for tplink_archer-c7-v5 (ath79/generic), " in told
    assert "revision r28959-29397011cc" in told
    assert f"{image_of(build).name}: as it was built" in told
    assert "DIFFERS" not in told


def test_single_files_are_checked_wherever_they_lie(build: Path, tmp_path: Path) -> None:
    """Whoever fetched one image needs no other; one that was changed on the way is found."""
    downloaded = tmp_path / image_of(build).name
    downloaded.write_bytes(image_of(build).read_bytes())
    assert differences(build, downloaded) == []

    downloaded.write_bytes(b"something else")

    [difference] = differences(build, downloaded)
    assert f"{downloaded.name} is not what was built" in difference


def test_a_changed_file_ends_the_command_with_one(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts see it by the exit code, people by the words."""
    image_of(build).write_bytes(b"something else")

    with pytest.raises(SystemExit) as end:
        main(["verify", str(build / PROVENANCE_FILE)])

    assert end.value.code == 1
    assert f"DIFFERS: {image_of(build).name} is not what was built" in capsys.readouterr().out


def test_a_missing_file_differs(build: Path) -> None:
    """A build is all of its files."""
    name = image_of(build).name
    image_of(build).unlink()

    assert differences(build) == [f"{name} is missing"]


def test_a_file_of_another_build_differs(build: Path, tmp_path: Path) -> None:
    """A name that the provenance does not know is nothing that was built."""
    (tmp_path / "other.bin").write_bytes(b"")

    assert differences(build, tmp_path / "other.bin") == [
        "other.bin is not among the files that were built"
    ]


@pytest.mark.parametrize("name", ["evil.bin", ".hidden", "two words.bin", "-"])
def test_a_file_that_is_not_named_is_found(build: Path, name: str) -> None:
    """Whoever takes the whole directory takes it along."""
    (build / name).write_bytes(b"")

    assert differences(build) == [
        f"{name} is beside the provenance, but not named in it: nothing is known about it"
    ]
    assert differences(build, image_of(build)) == []


def test_a_link_that_nobody_vouches_for_is_told(build: Path) -> None:
    """Whatever it leads to, now or later."""
    (build / "evil.bin").symlink_to("nowhere")

    assert [difference.partition(" ")[0] for difference in differences(build)] == ["evil.bin"]


def test_of_two_files_with_one_name_both_are_checked(build: Path, tmp_path: Path) -> None:
    """Neither hides the other, in whatever order they are given."""
    other = tmp_path / image_of(build).name
    other.write_bytes(b"something else")

    for files in ([other, image_of(build)], [image_of(build), other]):
        [difference] = differences(build, *files)
        assert f"{other.name} is not what was built" in difference


def test_a_provenance_of_nothing_is_none(build: Path) -> None:
    """It would differ from nothing."""
    reseal(build, lambda statement: statement.update(subject=[]))

    with pytest.raises(SystemExit, match="it names no file"):
        main(["verify", str(build)])


def test_a_false_statement_does_not_pass_the_key(build: Path) -> None:
    """The payload exchanged under the old signature, no signature, and the signature of somebody
    else.
    """
    key = build.parents[1] / "key.pub"
    envelope = json.loads((build / PROVENANCE_FILE).read_bytes())
    statement = json.loads(read_envelope((build / PROVENANCE_FILE).read_bytes()).payload)
    statement["predicate"]["runDetails"]["builder"]["id"] = "https://evil.example/"
    forged = json.loads(sealed(statement, lambda _: []))

    (build / PROVENANCE_FILE).write_bytes(
        canonical({**forged, "signatures": envelope["signatures"]})
    )
    [exchanged] = differences(build, key=key)
    (build / PROVENANCE_FILE).write_bytes(canonical(forged))
    [unsigned] = differences(build, key=key)
    (build / PROVENANCE_FILE).write_bytes(
        canonical({**forged, "signatures": [{"keyid": "0" * 16, "sig": "AAAA"}]})
    )
    [strangers] = differences(build, key=key)

    assert "is false" in exchanged
    assert "but not at all" in unsigned
    assert f"but by {'0' * 16}" in strangers


def test_a_signature_of_an_image_is_none_of_a_provenance(build: Path) -> None:
    """The key signs both; what it has signed as a bare message does not count."""
    secret = read_secret_key((build.parents[1] / "key").read_text())
    document = json.loads((build / PROVENANCE_FILE).read_bytes())
    payload = read_envelope((build / PROVENANCE_FILE).read_bytes()).payload
    assert secret.public.verifies(payload, secret.signature(payload))

    document["signatures"][0]["sig"] = base64.b64encode(secret.signature(payload)).decode()
    (build / PROVENANCE_FILE).write_bytes(canonical(document))

    assert "is false" in differences(build, key=build.parents[1] / "key.pub")[0]


def test_without_a_key_the_signature_is_not_called_good(build: Path) -> None:
    """What nobody checked is said to be unchecked."""
    told = verify(DirectorySource(build)).facts[0]

    assert "but not checked" in told


def test_a_provenance_of_another_build_does_not_pass(build: Path) -> None:
    """A server cannot answer for one key with what was built for another."""
    other = build.rename(build.with_name("0" * 64))

    assert differences(other) == [f"it is the provenance of build {KEY}, not of {'0' * 64}"]


def test_a_request_that_was_not_the_builds_is_found(build: Path) -> None:
    """The key is the hash of the request, so nothing can be added to it afterwards."""
    reseal(
        build,
        lambda statement: statement["predicate"]["buildDefinition"]["externalParameters"][
            "request"
        ].update(packages=["backdoor"]),
    )

    assert differences(build) == ["its request does not have the hash that is its key"]


def test_no_name_leads_out_of_the_directory(build: Path) -> None:
    """A provenance may come from anybody, and names what is read."""
    reseal(
        build,
        lambda statement: statement["subject"].append(
            {"name": "../../key", "digest": {"sha256": "0" * 64}}
        ),
    )

    with pytest.raises(SystemExit, match="one that no build has"):
        main(["verify", str(build)])


def test_words_of_strangers_do_not_steer_the_terminal(build: Path) -> None:
    """Nothing but printable letters is printed."""
    reseal(
        build,
        lambda statement: statement["predicate"]["runDetails"]["builder"].update(
            id="\x1b[2J\nsignature: good"
        ),
    )

    told = verify(DirectorySource(build)).in_words()

    assert "\x1b" not in told
    assert "\nsignature: good" not in told


def test_what_cannot_be_checked_is_said_in_a_line(build: Path, tmp_path: Path) -> None:
    """Nothing there, no provenance, no key: each ends the command with words."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="No such file"):
        main(["verify", str(tmp_path / "empty")])
    with pytest.raises(SystemExit, match="not a DSSE envelope"):
        main(["verify", str(image_of(build))])
    with pytest.raises(SystemExit, match="no public key file"):
        main(["verify", str(build), "--key", str(tmp_path / "key")])


def test_a_place_that_is_no_address_is_said_in_a_line() -> None:
    """Whatever a person or a list of addresses hands over."""
    with pytest.raises(SystemExit, match="asu verify: http://"):
        main(["verify", "http://["])


def test_a_document_without_end_is_not_read(tmp_path: Path) -> None:
    """What is larger than any provenance is none."""
    with (tmp_path / PROVENANCE_FILE).open("wb") as file:
        file.truncate(MAX_PROVENANCE + 1)

    with pytest.raises(SourceError, match="larger than any provenance"):
        open_source(str(tmp_path)).provenance()
