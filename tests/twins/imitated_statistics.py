"""The real statistics, both sides in one, in an imitation of Redis of their own."""

import fakeredis

from asu.statistics.redis_statistics import RedisBuildStatistics, RedisStatistics


class ImitatedStatistics(RedisStatistics, RedisBuildStatistics):
    """The API's side and the worker's."""

    def __init__(self) -> None:
        server = fakeredis.FakeServer()
        RedisStatistics.__init__(self, fakeredis.FakeAsyncRedis(server=server))
        RedisBuildStatistics.__init__(self, fakeredis.FakeRedis(server=server))
