"""A first-boot script does not outlive its record in the file that Redis appends to."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from redis import Redis

from asu.records.build_record import PREFIX
from asu.records.worker_records import SCRIPTS, WorkerRecords
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.worker_world import WorkerWorld

PATIENCE = 60.0
KEY, OTHER = "a" * 64, "b" * 64


def holds(directory: Path, text: str) -> bool:
    """Whether any file below a directory has a text in it."""
    return any(text.encode() in path.read_bytes() for path in directory.rglob("*.aof"))


def test_the_file_is_rewritten_after_a_record_with_a_script_has_ended(tmp_path: Path) -> None:
    """Not while the record is there, once for all that have ended, and never for other builds."""
    secret = secrets.token_hex(32)
    server = RedisServer(tmp_path)
    server.start()
    try:
        with Redis.from_url(server.url) as redis:
            records = WorkerRecords(redis)
            redis.hset(PREFIX + KEY, "plan", f"defaults: {secret}")
            redis.hset(PREFIX + OTHER, "plan", "none")
            records.note_script(KEY)

            assert not records.erase_scripts(), "its record is there"
            redis.delete(PREFIX + KEY)
            assert holds(tmp_path, secret)
            assert records.erase_scripts()
            give_up = time.monotonic() + PATIENCE
            while holds(tmp_path, secret):
                assert time.monotonic() < give_up
                time.sleep(0.1)
            assert not redis.exists(SCRIPTS)
            redis.delete(PREFIX + OTHER)
            assert not records.erase_scripts()
    finally:
        server.stop()


def test_workers_remember_which_builds_have_a_script(worker: WorkerWorld) -> None:
    """Whatever becomes of them."""
    plain = worker.ask(packages=["vim"])
    key = worker.ask(defaults="echo first boot", packages=["vim", "luci"])
    worker.build(packages=["tmux"])

    noted = {member.decode() for member in worker.client.smembers(SCRIPTS)}

    assert key in noted
    assert plain not in noted
