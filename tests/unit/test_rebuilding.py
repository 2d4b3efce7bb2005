"""A build that is made once more to be compared: what is the same, what is told of a difference,
and that nothing else hears of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from asu.build_request import BuildRequest
from asu.errors import QueueUnavailable
from asu.provenance.envelope import PROVENANCE_FILE
from asu.records.build_record import BuildRecord, PendingBodies, State
from asu.resolution import request_hash
from asu.worker.rebuilding import CannotRebuild, Comparison, rebuild
from asu.worker.signing_key import make_signing_key
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_container import MemoryEngine
from tests.unit.job_world import REQUEST, SCRIPT, WatchedRecords, World, new_world

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class AbsentRecords(ImitatedRecords):
    """Records in a Redis that is down."""

    # The signature is the protocol's.
    def plan(self, key: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        """See WorkerRecords."""
        raise QueueUnavailable


def published(world: World, **fields: Any) -> str:
    """Build a request under its own key, which is returned."""
    common = {
        "version": "24.10.4",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5",
        "packages": ["vim"],
    }
    request = BuildRequest.model_validate({**common, **fields}).normalised()
    key = request_hash(request)
    plan = {
        "version": 1,
        "key": key,
        "request": request,
        "enqueued_at": "2026-03-01T12:00:00+00:00",
    }
    asyncio.run(
        world.records.claim(
            key, plan=json.dumps(plan), bodies=PendingBodies(b"{}", b"{}"), limit=1, renew=False
        )
    )
    world.builder().run()
    record = asyncio.run(world.records.look(key))
    assert record
    assert record.state is State.DONE
    return key


def again(world: World, key: str, records: ImitatedRecords | None = None) -> Comparison:
    """Build it once more, with another engine on the same builders."""
    engine = MemoryEngine(world.script)
    return rebuild(
        world.settings,
        key,
        records=records or world.records,
        store=world.store,
        engine=lambda: engine,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a worker that signs and keeps an audit log."""
    make_signing_key(tmp_path / "key")
    return new_world(
        tmp_path / "store", build_key=tmp_path / "key", audit_log=tmp_path / "audit.jsonl"
    )


def test_the_same_builder_makes_the_same_images(world: World) -> None:
    """Compared without signatures, which only the first build has."""
    key = published(world)

    comparison = again(world, key)

    assert not comparison.differs
    assert len(comparison.lines) == 2
    assert all(line.startswith("equal: openwrt-") for line in comparison.lines)


def test_an_image_that_comes_out_differently_is_told(world: World) -> None:
    """With what may explain it: the builder and the packages of then and now."""
    key = published(world)
    world.script.versions["vim"], world.script.revision = "9.2-r1", "r29000-0123456789"

    comparison = again(world, key)

    assert comparison.differs
    assert comparison.in_words().count("DIFFERS: openwrt-") == 2
    assert "package vim: then 1.0-r1, now 9.2-r1\n" in comparison.in_words()
    assert "the ImageBuilder is another one: then sha256:" in comparison.in_words()


def test_an_image_that_is_not_made_any_more_differs(world: World) -> None:
    """Neither build may have an image that the other has not."""
    key = published(world)
    world.script.image_types = ("sysupgrade",)

    comparison = again(world, key)

    assert comparison.differs
    assert ", now none" in comparison.in_words()


def test_nothing_else_hears_of_it(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Published files, records, statistics and the audit log stay as they were, and no workplace is
    left.
    """
    caplog.set_level(logging.DEBUG)
    key = published(world, defaults=SCRIPT)
    files = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    audit, finished = (
        (tmp_path / "audit.jsonl").read_bytes(),
        asyncio.run(world.statistics.totals()),
    )

    again(world, key)

    assert {
        path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()
    } == files
    assert list((tmp_path / "store" / ".incoming").iterdir()) == []
    assert (tmp_path / "audit.jsonl").read_bytes() == audit
    assert asyncio.run(world.statistics.totals()) == finished
    assert "do not tell" not in caplog.text


def test_a_script_is_built_again_while_its_record_lives(world: World) -> None:
    """Only the record has the script; without it there is no such image, and the words say so."""
    key = published(world, defaults=SCRIPT)
    assert not again(world, key).differs

    with pytest.raises(CannotRebuild, match="the first-boot script, which is kept nowhere else"):
        again(world, key, WatchedRecords())


@pytest.mark.parametrize("records", [ImitatedRecords, AbsentRecords])
def test_without_a_record_the_provenance_tells_what_it_was(
    world: World, records: type[ImitatedRecords]
) -> None:
    """The record may have ended, or Redis be away: store and builder are enough."""
    key = published(world, filesystem="squashfs", rootfs_size_mb=128)

    assert not again(world, key, records()).differs


def test_a_provenance_that_tells_another_request_is_not_followed(
    world: World, tmp_path: Path
) -> None:
    """Whoever can write into a bucket cannot have something else built under this key."""
    key, other = published(world), published(world, packages=[])
    there, theirs = (
        tmp_path / "store" / key / PROVENANCE_FILE,
        (tmp_path / "store" / other / PROVENANCE_FILE).read_bytes(),
    )
    # One of another size would not be taken for what was published at all.
    there.write_bytes(theirs.ljust(there.stat().st_size))

    with pytest.raises(CannotRebuild, match="not the one that leads to its key"):
        again(world, key, WatchedRecords())


def test_a_record_that_tells_another_request_is_not_followed(world: World) -> None:
    """Nor can whoever writes into Redis; what such a build is compared with would look changed."""
    key, records = published(world), WatchedRecords()
    plan = {
        "version": 1,
        "key": key,
        "request": {**REQUEST, "packages": ["backdoor"]},
        "enqueued_at": "2026-03-01T12:00:00+00:00",
    }
    asyncio.run(
        records.claim(
            key, plan=json.dumps(plan), bodies=PendingBodies(b"{}", b"{}"), limit=1, renew=False
        )
    )

    with pytest.raises(CannotRebuild, match="in its record is not the one that leads to its key"):
        again(world, key, records)


@pytest.mark.parametrize("key", ["0" * 64, "no key", "../.."])
def test_what_is_not_in_the_store_cannot_be_compared(world: World, key: str) -> None:
    """A key that never was, or whose files are gone."""
    with pytest.raises(CannotRebuild, match="no images of this build"):
        again(world, key)


def test_a_build_that_fails_now_is_told_with_its_reason(world: World) -> None:
    """The reason is the one that a client would hear."""
    key = published(world)
    world.script.wrong_hash = True

    with pytest.raises(
        CannotRebuild, match="cannot be built any more: The build did not run to its end"
    ):
        again(world, key)


def test_a_failed_record_holds_no_plan(world: World) -> None:
    """It is as if there were none; the provenance of an earlier life serves."""
    key = published(world)
    records = WatchedRecords()
    asyncio.run(
        records.claim(
            key, plan='{"request": {}}', bodies=PendingBodies(b"{}", b"{}"), limit=1, renew=False
        )
    )
    attempt = records.start_next()
    assert attempt
    records.finish(
        attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user"), 100
    )

    assert not again(world, key, records).differs
