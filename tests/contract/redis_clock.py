"""Time for tests with Redis: what would have ended is ended, and all other times lie further
back.
"""

from typing import Any

from redis import Redis

from asu.records.build_record import PREFIX

TIMES = ("begun", "since", "due", "used")  # Of a build record, in seconds since 1970.


def let_pass(redis: Redis, seconds: float) -> None:
    """Let as many seconds pass for every key with a lifetime, and for the times in build
    records.
    """
    keys: Any = redis.keys("*")
    for key in keys:
        left: Any = redis.ttl(key)
        if 0 <= left <= seconds:
            redis.delete(key)
            continue
        if left > 0:
            redis.expire(key, round(left - seconds))
        if key.startswith(PREFIX.encode()) and redis.type(key) == b"hash":
            times: Any = redis.hmget(key, TIMES)
            for name, time in zip(TIMES, times, strict=True):
                if time is not None:
                    back = float(time) - seconds
                    redis.hset(key, name, f"{back:.6f}" if b"." in time else f"{back:.0f}")
