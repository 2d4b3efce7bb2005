"""What an operator's Redis is set to, as far as it decides whether builds are lost."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from redis import Redis

from asu.errors import QueueUnavailable
from asu.records.redis_connections import redis_errors_translated, sync_redis


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCondition:
    """What Redis says about itself.

    `eviction` is the policy for a full memory. `saves_snapshots` and `waits_for_disk` (a write is
    answered when it is on the disk) are None if Redis does not say. `is_writing` is False after a
    write to the disk has failed.
    """

    name: str
    version: tuple[int, ...]
    is_append_only: bool
    saves_snapshots: bool | None
    waits_for_disk: bool | None
    is_writing: bool
    eviction: str
    max_memory: int
    used_memory: int


def read_condition(url: str) -> RedisCondition:
    """Ask the Redis at `url`; raises QueueUnavailable, and ValueError if `url` is no address."""
    with closing(sync_redis(url)) as redis:
        with redis_errors_translated():
            info: Any = redis.info()
        return _condition(info, _setting(redis, "save"), _setting(redis, "appendfsync"))


def _condition(info: Any, save: str | None, appendfsync: str | None) -> RedisCondition:
    version = str(info.get("valkey_version") or info["redis_version"])
    return RedisCondition(
        name="Valkey" if "valkey_version" in info else "Redis",
        version=tuple(int(part) for part in version.split(".") if part.isdecimal()),
        is_append_only=bool(info["aof_enabled"]),
        saves_snapshots=None if save is None else bool(save),
        waits_for_disk=None if appendfsync is None else appendfsync == "always",
        is_writing=info["aof_last_write_status"] == "ok" and info["rdb_last_bgsave_status"] == "ok",
        eviction=str(info["maxmemory_policy"]),
        max_memory=int(info["maxmemory"]),
        used_memory=int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0)),
    )


def _setting(redis: Redis, name: str) -> str | None:
    try:
        with redis_errors_translated():
            found: Any = redis.config_get(name)
    except QueueUnavailable:  # A hosted Redis often refuses.
        return None
    return str(found.get(name, ""))
