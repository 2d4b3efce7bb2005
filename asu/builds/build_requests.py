"""Builds as clients see them: asked for, polled, answered.

A known build is answered from its record, a new one is put in line. A poll is one Redis round trip
and a look for the files of a finished build; if they are gone, the build goes back in line.
"""

import asyncio
import contextlib
import gzip
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from asu.blocking import BlockingCalls, NoAnswerError
from asu.build_request import BUILD_KEY, KEY_DIGITS
from asu.caching import TtlCache
from asu.catalogue.resolver import ResolvedRequest
from asu.errors import (
    InternalError,
    Overloaded,
    QueueUnavailable,
    ShareExceeded,
    StoreFailed,
    UnknownBuild,
)
from asu.records.api_records import Records
from asu.records.build_plan import new_plan, pending_bodies
from asu.records.build_record import BuildRecord, Claimed, Holder, Revived, State
from asu.stores.presence import Presence
from asu.stores.store import Store

from .build_queue import BuildQueue
from .capacity import Capacity
from .eta import EtaEstimate, EtaReader
from .poll_answer import BuildAnswer, answer_of

log = logging.getLogger(__name__)

NOTED_SECONDS = 60.0  # What a full store keeps is decided over hours.
NOTED_BUILDS = 10_000  # 200 bytes for each.
FINISHED_SECONDS = 3.0  # An answer may be that much older than its record, never than its files.
FINISHED_BYTES = 8 << 20  # 400 answers with the output of a usual ImageBuilder.
SENT_BYTES = 4 << 20  # A thousand requests of devices with many packages.
TICKET_PATIENCE = 2.0  # Seconds; without a ticket, the build waits for the next sweep.
PAUSE = 0.5  # Seconds between two looks at a Redis that does not answer.
VANISHING = (
    "the images of this build vanish again and again; API and workers may see different stores"
)
ROUNDS = 3  # A record may change between the look and what follows from it.

T = TypeVar("T")


class Builds:
    """Requests for builds."""

    def __init__(
        self,
        *,
        records: Records,
        queue: BuildQueue,
        store: Store,
        capacity: Capacity,
        limit: int,
        share: float = 1.0,
        patience: float = 0.0,
    ) -> None:
        self._records, self._queue, self._capacity = records, queue, capacity
        self._presence = Presence(store)
        self._store, self._store_calls = store, BlockingCalls("failures", threads=4, patience=10.0)
        self._queue_calls = BlockingCalls("the queue", threads=4, patience=TICKET_PATIENCE)
        self._noted_uses = TtlCache[str, bool](NOTED_SECONDS, max_size=NOTED_BUILDS)
        self._finished = TtlCache[str, BuildAnswer](
            FINISHED_SECONDS, max_size=FINISHED_BYTES, size_of=lambda answer: len(answer.body)
        )
        self._sent = TtlCache[bytes, tuple[bytes, str]](
            FINISHED_SECONDS, max_size=SENT_BYTES, size_of=lambda sent: len(sent[0])
        )
        self._limit, self._patience = limit, patience
        self._places = max(1, int(limit * share))  # Of one client.
        self._eta = EtaReader(records, capacity)

    async def request(
        self, resolved: ResolvedRequest, request_id: str, client: str = "", sent: bytes = b""
    ) -> BuildAnswer:
        """Answer with the build of a resolved request, put in line if it is new.

        Raises its refusal, Overloaded, ShareExceeded, DiskFull, MemoryFull, QueueUnavailable, but
        never for a build that is known. `client` is who asks, empty if that is unknown. The request
        id goes into the plan, so log lines of worker, API and gateway can be matched. `sent` is the
        request as it came, for `sent_again`.
        """
        key = resolved.key
        holder = Holder(client, self._places) if client else None
        for _ in range(ROUNDS):
            record = await self._records.look(key)
            gone = (
                record is not None
                and record.state is State.DONE
                and not await self._presence.has(key, is_fresh=True)
            )
            if record is not None and not record.is_retried and not gone:
                if sent and record.state is State.DONE:
                    self._sent.put(sent, (sent, key))
                return await self._answer(key, record)
            outlook = await resolved.outlook()
            if outlook.refusal is not None:
                raise outlook.refusal
            await self._capacity.expect()
            plan = new_plan(key, resolved.fields, request_id, outlook.explained)
            claimed = await self._records.claim(
                key,
                plan=json.dumps(plan),
                bodies=pending_bodies(plan),
                limit=self._limit,
                renew=gone,
                holder=holder,
            )
            if claimed is Claimed.FULL:
                raise Overloaded(waiting=await self._records.waiting())
            if claimed is Claimed.SHARE:
                raise ShareExceeded(places=self._places)
            if claimed is Claimed.NEW:
                log.info("build %s is put in line, request %s", key, request_id)
                await self._wake_worker()
        raise InternalError(request_id=key)

    async def look(self, key: str) -> BuildAnswer:
        """Answer a poll; raises UnknownBuild, StoreFailed, and QueueUnavailable after `patience`.

        Clients take any answer but 200 and 202 for the end of their build, while a Redis that
        restarts has forgotten nothing.
        """
        if kept := await self.finished(key):
            return kept
        give_up = time.monotonic() + self._patience
        while True:
            try:
                return await self._look(key)
            except QueueUnavailable:
                if time.monotonic() >= give_up:
                    raise
                await asyncio.sleep(PAUSE)

    async def _look(self, key: str) -> BuildAnswer:
        """Answer a poll once.

        A finished build whose files are gone goes back in line, even beyond the limit. Without a
        plan it is unknown, so the client asks again. StoreFailed if its files vanish each time.
        """
        for _ in range(ROUNDS):
            record = await self._records.look(key)
            if record is None:
                break
            if record.state is not State.DONE or await self._presence.has(key):
                return await self._answer(key, record)
            revived = await self._records.revive(key)
            if revived is Revived.TOO_OFTEN:
                raise StoreFailed(reason=VANISHING)
            if revived is Revived.QUEUED:
                await self._wake_worker()
        raise UnknownBuild

    async def sent_again(self, sent: bytes) -> BuildAnswer | None:
        """Return the answer to a request that came some seconds ago and found a finished build.

        The same bytes were validated, resolved and hashed then. None if there was no such request.
        """
        _, key = self._sent.get(sent) or (b"", "")
        return await self.finished(key, is_fresh=True) if key else None

    async def finished(self, key: str, *, is_fresh: bool = False) -> BuildAnswer | None:
        """Return what was answered some seconds ago, if the build was finished.

        None where nothing is kept, and as soon as its files are gone.
        """
        answer = self._finished.get(key)
        if answer is None:
            return None
        if not await self._presence.has(key, is_fresh=is_fresh):
            self._finished.drop(key)
            return None
        await self.note_use(key)
        return answer

    async def find(self, digits: str) -> str:
        """Return the key of the one build that begins with these twelve digits or more.

        A kept failure counts as well. Raises UnknownBuild also where several builds begin so.
        """
        if BUILD_KEY.fullmatch(digits):
            return digits
        if KEY_DIGITS.fullmatch(digits) is None:
            raise UnknownBuild
        keys = await self._records.keys_like(digits)
        if not keys:
            keys = await self._ask_store(partial(self._store.failed_keys, digits))
        if len(keys) != 1:
            raise UnknownBuild
        return keys.pop()

    async def known(self, digits: str) -> dict[str, Any]:
        """Return the answer of a build, also of one that failed and that polls know no more.

        Raises as `find` and `look`.
        """
        key = await self.find(digits)
        try:
            return _read(await self.look(key))
        except UnknownBuild:
            kept = await self.failure(key)
            if kept is None:
                raise
            return kept

    async def failure(self, key: str) -> dict[str, Any] | None:
        """Return the answer of a failed build that the queue has forgotten; None without one."""
        document = await self._ask_store(partial(self._store.failure, key))
        return json.loads(gzip.decompress(document)) if document else None

    async def _ask_store(self, question: Callable[[], T]) -> T:
        try:
            return await self._store_calls.run(question)
        except NoAnswerError:
            raise StoreFailed(reason="it does not answer") from None

    async def _wake_worker(self) -> None:
        """Add a ticket for a build in line; if that fails, the next sweep adds one."""
        with contextlib.suppress(QueueUnavailable, TimeoutError):
            await self._queue_calls.run(self._queue.put)

    async def is_cached(self, key: str) -> bool:
        """Whether a request of this identity would be answered with a finished image at once."""
        record = await self._records.look(key)
        return record is not None and record.state is State.DONE and await self._presence.has(key)

    async def note_use(self, key: str) -> None:
        """Note that a build is of use, at most once a minute: a store that is full keeps those."""
        if not self._noted_uses.get(key):
            self._noted_uses.put(key, value=True)
            with contextlib.suppress(QueueUnavailable):  # The caller gets its answer all the same.
                await self._records.note_use(key)

    async def _answer(self, key: str, record: BuildRecord) -> BuildAnswer:
        answer = answer_of(record, await self._eta.get() if record.is_pending else EtaEstimate())
        if record.state is State.DONE:
            self._finished.put(key, answer)
            await self.note_use(key)
        return answer


def _read(answer: BuildAnswer) -> dict[str, Any]:
    """Return the answer; raises UnknownBuild for one into which somebody has written."""
    try:
        body: dict[str, Any] = json.loads(answer.body)
    except ValueError:
        raise UnknownBuild from None
    if "status" not in body:
        raise UnknownBuild
    return body
