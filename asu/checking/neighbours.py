"""Checks of the services around: Redis, workers, downloads server, asu-prepare, the API's port."""

import asyncio
import errno
import json
import math
import os
import socket
from collections.abc import Callable

from asu import __version__
from asu.disk_space import MIB
from asu.errors import QueueUnavailable
from asu.operations.health import memory_words
from asu.operations.redis_condition import RedisCondition
from asu.records.redis_memory import PENDING_BYTES, RESERVED_PART, MemoryUse, reserve
from asu.upstream.http_client import WebAnswer, WebClient, WebError, WebPrivateError

from .findings import Finding, fine, problem, warning

Judge = Callable[[RedisCondition], Finding]

OLDEST_REDIS = (5, 0)  # Older ones forbid scripts that ask for the time before they write.
DEADLINE = 4.0  # Seconds of an exchange; a check has five in all.
MAX_BYTES = 1024 * 1024
HTTP_OK = 200


def judge_redis(condition: RedisCondition) -> Finding:
    """Say whether Redis can run our scripts and write."""
    said = f"{condition.name} {'.'.join(map(str, condition.version))} answers"
    if condition.version < OLDEST_REDIS and condition.name == "Redis":
        return problem(f"{said}, which is too old", "Upgrade Redis to 5.0 or newer, or use Valkey.")
    if not condition.is_writing:
        return problem(
            f"{said}, but its last write to the disk failed",
            "See its log; usually its disk is full. It may refuse new builds.",
        )
    return fine(said)


def judge_persistence(condition: RedisCondition) -> Finding:
    """Say whether builds that wait outlive a restart of Redis, or a crash."""
    if condition.is_append_only and condition.waits_for_disk is False:
        return warning(
            "the append-only file is on, but is written up to two seconds after a build was "
            "accepted; a crash loses those builds",
            "Set `appendfsync always`, unless the disk is too slow: polls wait for it.",
        )
    if condition.is_append_only:
        unknown = ", but Redis does not say whether `appendfsync always` is set"
        said = "the append-only file is on: a restart loses nothing"
        return fine(said if condition.waits_for_disk else said + unknown)
    advice = "Set `appendonly yes` in its configuration, and give its directory a disk that stays."
    if condition.saves_snapshots:
        lost = "a crash loses the builds of the last minutes"
        return warning(f"only snapshots are saved: {lost}", advice)
    if condition.saves_snapshots is None:
        unknown = "Redis does not say whether it saves snapshots"
        return warning(f"the append-only file is off, and {unknown}", advice)
    return problem("nothing is saved: a restart of Redis loses all builds that wait", advice)


def judge_eviction(condition: RedisCondition) -> Finding:
    """Say whether Redis may drop keys."""
    policy, advice = condition.eviction, "Set `maxmemory-policy noeviction`."
    if policy == "noeviction":
        return fine("nothing is dropped when memory runs out")
    if not condition.max_memory:
        return warning(f"policy {policy} would drop builds once `maxmemory` is set", advice)
    return problem(f"policy {policy} drops builds, leases and queue when memory runs out", advice)


def judge_memory(places: int, condition: RedisCondition) -> Finding:
    """Say whether Redis has memory for `places` waiting builds, and as much for finished ones."""
    use = MemoryUse(used=condition.used_memory, limit=condition.max_memory)
    if not use.has_room(0):
        return problem(
            f"{memory_words(use)}, and new builds are refused",
            "Raise `maxmemory` (REDIS_MEMORY with the compose files), or shorten BUILD_TTL.",
        )
    if use.limit and reserve(use.limit, places) > use.limit / 2:
        enough = math.ceil(places * PENDING_BYTES / (0.5 - RESERVED_PART) / MIB)
        return warning(
            f"{memory_words(use)}, too few for MAX_PENDING_JOBS={places}: new builds may be "
            "refused although there are places in line",
            f"Set `maxmemory` (REDIS_MEMORY with the compose files) to {enough} MiB or more.",
        )
    return fine(memory_words(use))


def check_workers(count: Callable[[], int]) -> Finding:
    """Say whether a worker is alive."""
    try:
        alive = count()
    except QueueUnavailable:
        return problem("not known, because Redis does not answer", "See the check `redis`.")
    if alive:
        return fine(f"{alive} alive")
    return problem("no worker is alive: builds are accepted and wait", "Start one: `asu worker`.")


def check_upstream(url: str, *, may_be_private: bool) -> Finding:
    """Say whether the downloads server lists its versions."""
    advice = "Set UPSTREAM_URL to a downloads server, such as https://downloads.openwrt.org."
    try:
        answer = _get(f"{url.rstrip('/')}/.versions.json", may_be_private=may_be_private)
        if answer.status != HTTP_OK:
            return problem(f"{url} answers {answer.status} for .versions.json", advice)
        listed = len(json.loads(answer.body)["versions_list"])
    except WebPrivateError as error:
        return problem(
            f"{url} is not asked ({error})",
            "Set UPSTREAM_IS_PRIVATE if the server is your own, or correct UPSTREAM_URL.",
        )
    except WebError as error:
        return problem(f"{url} does not answer ({error})", advice)
    except (ValueError, KeyError, TypeError):
        return problem(f"{url} answers, but is not a downloads server", advice)
    return fine(f"{url} lists {listed} versions")


def check_prepare(url: str | None) -> Finding:
    """Say whether the prepare service answers, if one is set."""
    if url is None:
        return fine("previews are resolved by the API itself")
    advice = (
        "Start asu-prepare there, correct PREPARE_SERVICE_URL, or leave it out: then the API "
        "resolves previews itself."
    )
    try:
        if _service(url) == "asu-prepare":
            return fine(f"{url} answers")
    except WebError as error:
        instead = "the API answers previews itself, with less in them"
        return warning(f"{url} does not answer ({error}); {instead}", advice)
    return problem(f"{url} is not asu-prepare", advice)


def check_port(host: str, port: int) -> Finding:
    """Say whether the API can listen, or does so already."""
    refusal = _refusal(host, port)
    if refusal is None:
        return fine(f"port {port} is free")
    if refusal != errno.EADDRINUSE:
        return problem(
            f"{host} port {port} cannot be listened on ({os.strerror(refusal)})",
            "Choose an address of this machine and a port of 1024 or more: `--host`, `--port` of "
            "`asu api` and `asu check`.",
        )
    try:
        if _service(f"http://{host}:{port}") == "asu":
            return fine(f"port {port} is asu's own")
    except WebError:
        pass
    return problem(
        f"port {port} is taken by another program",
        "End that program, or choose another port: `asu api --port`, `asu check --port`.",
    )


def _refusal(host: str, port: int) -> int | None:
    """Return the number of the error with which listening fails; None if it works."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the API does: connections that an earlier process left open do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno
    return None


def _service(url: str) -> str | None:
    """Return the name that a service has in /version, None without one; raises WebError."""
    answer = _get(f"{url.rstrip('/')}/version", may_be_private=True)
    try:
        return str(json.loads(answer.body)["service"])
    except (ValueError, KeyError, TypeError):
        return None


def _get(url: str, *, may_be_private: bool) -> WebAnswer:
    async def fetch() -> WebAnswer:
        private, agent = [url] if may_be_private else [], f"asu/{__version__}"
        async with WebClient(user_agent=agent, connections=1, private_urls=private) as client:
            return await client.get(url, headers={}, max_bytes=MAX_BYTES, deadline=DEADLINE)

    return asyncio.run(fetch())
