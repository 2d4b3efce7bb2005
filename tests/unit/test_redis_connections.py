"""What a Redis says that refuses to write, in the words of each version."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from asu.errors import MemoryFull, QueueUnavailable
from asu.records.redis_connections import redis_errors_translated

OLDER = (
    "Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed"
    " when used memory > 'maxmemory'."
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), MemoryFull),
        (ResponseError(OLDER), MemoryFull),
        (ResponseError("WRONGTYPE"), QueueUnavailable),
        (RedisConnectionError("gone"), QueueUnavailable),
    ],
)
def test_a_full_memory_is_told_from_a_redis_that_is_away(
    error: RedisError, told: type[QueueUnavailable]
) -> None:
    """Before version 7 a script's refusal came wrapped in a sentence."""
    with pytest.raises(QueueUnavailable) as caught, redis_errors_translated():
        raise error

    assert caught.type is told
