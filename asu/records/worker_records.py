"""The worker's side of the build records: one Lua script per transition (`redis_scripts.py`)."""

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from asu.errors import WorkerLost

from . import redis_scripts as scripts
from .build_plan import read_plan
from .build_record import (
    LEASE,
    LEASE_SECONDS,
    LOG,
    LOG_ENDED_SECONDS,
    PACE,
    PREFIX,
    RETRIES,
    RUNNING,
    SYSTEM,
    WAITING,
    Attempt,
    BuildRecord,
    PendingBodies,
    new_nonce,
)
from .redis_connections import redis_errors_translated

log = logging.getLogger(__name__)

# Keys of builds with a first-boot script, and whether its traces were removed within the hour.
SYSTEM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SCRIPTS, ERASED, ERASE_SECONDS = "asu:scripts", "asu:scripts-erased", 3600
ATTEMPTS = "asu:attempts"  # The counter that fencing tokens are drawn from.


class WorkerRecords:
    """What workers do with builds. Each method raises QueueUnavailable.

    A method that gets an attempt changes nothing and returns False if that is not the current one
    of its build.
    """

    def __init__(self, redis: Redis) -> None:
        self._connection, self._worker_script = redis, cache(redis.register_script)

    def _do(self, script: str, keys: list[str], *args: str | bytes | float) -> Any:
        with redis_errors_translated():
            return self._worker_script(script)(keys=keys, args=args)

    def system(self) -> str:
        """Return the name of this system, drawn once: several systems may share a podman."""
        with redis_errors_translated():
            # Each build asks, and a full Redis refuses writes.
            name = self._system_name()
            if name is None:
                self._connection.set(SYSTEM, secrets.token_hex(8), nx=True)
                name = self._system_name()
            if name is None:  # Somebody has written something else there.
                self._connection.set(SYSTEM, secrets.token_hex(8))
                name = self._system_name()
            return name or ""

    def _system_name(self) -> str | None:
        try:
            found: Any = self._connection.get(SYSTEM)
        except ResponseError:  # The key has another type.
            return None
        name = (found or b"").decode(errors="replace")
        return name if SYSTEM_NAME.fullmatch(name) else None

    def start_next(self, nonce: str | None = None) -> Attempt | None:
        """Begin the first waiting build that is due; None if there is none.

        Asked again with the same `nonce`, it returns the same attempt while that runs, and prolongs
        its lease.
        """
        nonce = nonce or new_nonce()
        keys = [WAITING, RUNNING, ATTEMPTS]
        started = self._do(scripts.START, keys, PREFIX, LEASE, LEASE_SECONDS, nonce)
        return _attempt(_texts(started[:1])[0], started[1:], nonce) if started else None

    def renew(self, attempt: Attempt) -> bool:
        """Prolong the lease."""
        keys = [PREFIX + attempt.key, LEASE + attempt.key, RUNNING]
        return bool(self._do(scripts.RENEW, keys, attempt.number, LEASE_SECONDS, attempt.key))

    def is_current(self, attempt: Attempt) -> bool:
        """Whether the attempt runs and is the current one of its build."""
        with redis_errors_translated():
            state, number = self._connection.hmget(PREFIX + attempt.key, ["state", "attempt"])
        return state == b"running" and number == b"%d" % attempt.number

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """Show a step in the answers to polls."""
        return bool(self._do(scripts.PROGRESS, [PREFIX + attempt.key], attempt.number, step, body))

    def append_log(self, attempt: Attempt, text: str, kept: int) -> bool:
        """Append lines to the log of the build, of which the newest `kept` entries stay."""
        keys = [PREFIX + attempt.key, LOG + attempt.key]
        return bool(self._do(scripts.APPEND_LOG, keys, attempt.number, text, kept))

    def end_log(self, key: str) -> None:
        """Let the log of a build end soon, since nothing is added to it any more."""
        with redis_errors_translated():
            self._connection.expire(LOG + key, LOG_ENDED_SECONDS)

    def tried(self, key: str) -> bytes:
        """Return the attempts that have ended, as `LiveFacts.tried`."""
        with redis_errors_translated():
            found: Any = self._connection.hget(PREFIX + key, "tried")
        return b"[%b]" % (found or b"")

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Keep the outcome for `ttl` seconds.

        Asked again, it returns True until the build is begun again.
        """
        return self._end(scripts.FINISH, attempt, record, ttl)

    def give_up(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Keep the failure of an abandoned attempt, as `finish` does; False if its lease runs."""
        return self._end(scripts.GIVE_UP, attempt, record, ttl)

    def _end(self, script: str, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        key = attempt.key
        outcome = (record.state.value, record.step, record.body, record.fault, ttl, key)
        keys = [PREFIX + key, RUNNING, LEASE + key, PACE]
        return bool(self._do(script, keys, attempt.number, *outcome, record.code, attempt.nonce))

    def note_script(self, key: str) -> None:
        """Remember that the record of a build holds a first-boot script."""
        with redis_errors_translated():
            self._connection.sadd(SCRIPTS, key)

    def erase_scripts(self) -> bool:
        """Have Redis rewrite its append-only file if records with a first-boot script have ended.

        The file still holds them. Return whether that was begun; once an hour is enough.
        """
        with redis_errors_translated():
            noted: Any = self._connection.smembers(SCRIPTS)
            ended = [
                key for key in noted if not self._connection.hexists(PREFIX + key.decode(), "plan")
            ]
            if not ended or not self._connection.set(ERASED, 1, nx=True, ex=ERASE_SECONDS):
                return False
            info: Any = self._connection.info("persistence")
            if info["aof_enabled"]:
                try:
                    self._connection.bgrewriteaof()
                except ResponseError as error:  # It is under way already, or forbidden.
                    log.info("Redis does not rewrite its append-only file: %s", error)
                    return False
            self._connection.srem(SCRIPTS, *ended)
            return True

    def abandoned(self) -> list[Attempt]:
        """Return the attempts whose lease has ended without an outcome."""
        keys = _texts(self._do(scripts.MEMBERS, [RUNNING]))
        found = []
        for key in keys:
            left = self._do(scripts.ABANDONED, [PREFIX + key, LEASE + key, RUNNING], key)
            attempt = _attempt(key, left, new_nonce()) if left else None
            if attempt:
                found.append(attempt)
        return found

    def requeue(self, key: str, number: int) -> bool:
        """Put an abandoned build back in line, before all that were never begun.

        False if it is not abandoned any more.
        """
        return bool(self._do(scripts.REQUEUE, _back_in_line(key), number, key, WorkerLost.code))

    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        """Put a build back in line as `requeue` does; it may begin after so many seconds.

        `code` is that of the error with which the attempt ended. Asked again, it returns True until
        the build is begun again.
        """
        args = (attempt.number, attempt.key, code, seconds, attempt.nonce)
        return bool(self._do(scripts.RETRY, _back_in_line(attempt.key), *args))

    def restore(
        self,
        key: str,
        record: BuildRecord,
        *,
        plan: str | None,
        bodies: PendingBodies | None,
        ttl: int,
    ) -> bool:
        """Keep the lost record of a finished build for `ttl` seconds; False if there is a record.

        Without a plan it is never revived.
        """
        outcome = (record.state.value, record.step, record.body, record.fault, ttl)
        again = () if plan is None or bodies is None else (plan, bodies.queued, bodies.started)
        return bool(self._do(scripts.RESTORE, [PREFIX + key], *outcome, *again))

    def idle(self, keys: Sequence[str]) -> dict[str, float]:
        """Return how many seconds ago each build was last used, for those with a noted use."""
        with redis_errors_translated(), self._connection.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for key in keys:
                pipeline.hget(PREFIX + key, "used")
            (now, _), *used = pipeline.execute()
        return {
            key: float(now - int(since))
            for key, since in zip(keys, used, strict=True)
            if since is not None and since.isdigit()
        }

    def forget(self, key: str, grace: float) -> bool:
        """Remove the record of a finished build, so that its files may be removed, too.

        False if they must stay: it waits, runs, or was used within `grace` seconds. True without a
        record, and for a failed build, whose record stays.
        """
        return bool(self._do(scripts.FORGET, [PREFIX + key], grace))

    def is_known(self, key: str) -> bool:
        """Whether there is a record, whatever it says."""
        with redis_errors_translated():
            return bool(self._connection.exists(PREFIX + key))

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """Return the plan of a waiting, running or finished build; failed ones keep none."""
        with redis_errors_translated():
            found: Any = self._connection.hget(PREFIX + key, "plan")
        return read_plan(found) if found else None

    def due_keys(self) -> list[str]:
        """Return the keys of the waiting builds that may begin now, in their order."""
        return _texts(self._do(scripts.DUE, [WAITING], PREFIX))


def _back_in_line(key: str) -> list[str]:
    return [PREFIX + key, LEASE + key, RUNNING, WAITING, RETRIES]


def _attempt(key: str, values: Any, nonce: str) -> Attempt | None:
    """Read number, tries and plan of an attempt; None if the record holds no such numbers."""
    number, tries, *plan = values
    try:
        return Attempt(
            key=key,
            number=int(number),
            tries=int(tries),
            plan=read_plan(plan[0] if plan else None),
            nonce=nonce,
        )
    except (TypeError, ValueError):
        # Somebody wrote into the record; no attempt has such a number, so none can do anything.
        log.error("build %s: its record is unreadable, so it is left alone", key)  # noqa: TRY400
        return None


def _texts(values: Any) -> list[str]:
    # A key that somebody wrote and that is no text must not hide the others.
    return [value.decode(errors="replace") for value in values]
