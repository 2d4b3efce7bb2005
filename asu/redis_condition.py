"""What an operator's Redis is set to, as far as it decides whether builds are lost."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from .errors import QueueUnavailable

TIMEOUT = 3.0  # Seconds; a check has five in all.


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCondition:
    """What Redis tells of itself.

    `eviction` is the policy that applies when `max_memory` bytes are used, 0 without a limit; `saves_snapshots` is None where Redis does
    not tell; `is_writing` is False after a write to its disk has failed.
    """

    name: str
    version: tuple[int, ...]
    is_append_only: bool
    saves_snapshots: bool | None
    is_writing: bool
    eviction: str
    max_memory: int


def read_condition(url: str) -> RedisCondition:
    """Ask the Redis at `url`; raises QueueUnavailable, and ValueError for what is no address of a Redis."""
    with closing(Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0))) as redis:
        try:
            info: Any = redis.info()
            return _condition(info, _saves_snapshots(redis))
        except RedisError as error:
            raise QueueUnavailable from error


def _condition(info: Mapping[str, Any], saves_snapshots: bool | None) -> RedisCondition:  # noqa: FBT001  # A value that is passed on.
    version = str(info.get("valkey_version") or info["redis_version"])
    return RedisCondition(
        name="Valkey" if "valkey_version" in info else "Redis",
        version=tuple(int(part) for part in version.split(".") if part.isdecimal()),
        is_append_only=bool(info["aof_enabled"]),
        saves_snapshots=saves_snapshots,
        is_writing=info["aof_last_write_status"] == "ok" and info["rdb_last_bgsave_status"] == "ok",
        eviction=str(info["maxmemory_policy"]),
        max_memory=int(info["maxmemory"]),
    )


def _saves_snapshots(redis: Redis) -> bool | None:
    """Whether Redis writes its data to the disk now and then; hosted ones often do not tell."""
    try:
        told: Any = redis.config_get("save")
    except RedisError:
        return None
    return bool(told.get("save"))
