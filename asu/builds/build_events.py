"""What happens to a build, as a stream of server-sent events for people who watch it.

    state  where it is: place in line, ETA, attempts         end  the answer of the ended build
    step   the ImageBuilder's step, and how long others took  log  {"lines": […]} of its output

A build that is watched is read twice a second, once for all who watch it. Only `log` has ids, those
of the Redis stream: `Last-Event-ID` gives each line once, whichever process answers.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from asu.errors import AsuError, QueueUnavailable, TooManyListeners
from asu.records.api_records import Records

from .build_requests import Builds
from .poll_answer import BuildAnswer

log = logging.getLogger(__name__)

EVERY = 0.5  # Seconds between two looks.
QUIET = 15.0  # Seconds without an event until a comment shows proxies that the stream is alive.
MOST_LISTENERS = 2_000  # Of one process; others poll.
BEHIND = 64  # Events that one who does not read may be behind before it is dropped.
MOST_ENTRIES = 512  # LOG_BYTES in the smallest batches; the stream itself has no more.
PENDING = 202
STATE = ("detail", "queue_position", "eta_seconds", "workers_alive", "notice", "attempts")
STEP = ("imagebuilder_status", "make_seconds")


@dataclass(eq=False, slots=True)
class Listener:
    """One who watches; `after` is the last log entry that it has."""

    after: str
    events: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(BEHIND + 1))

    def give(self, event: bytes | None) -> bool:
        """Hand an event on, or the end of the stream; False if it is too far behind."""
        if event is not None and self.events.qsize() >= BEHIND:
            return False
        self.events.put_nowait(event)
        return True


@dataclass(eq=False, slots=True)
class Watch:
    """A build that is watched: what was last seen of it, and its listeners."""

    listeners: set[Listener] = field(default_factory=set)
    seen: dict[str, bytes] = field(default_factory=dict)
    entries: list[tuple[str, str]] = field(default_factory=list)  # The log so far.

    def publish(self, event: bytes) -> None:
        """Give an event to all; drop those that do not read. They come back for the rest."""
        for listener in [each for each in self.listeners if not each.give(event)]:
            self.leave(listener)

    def publish_log(self, entries: list[tuple[str, str]]) -> None:
        """Give new log entries to all, each only those that it does not have."""
        whole = _log_event(entries)
        for listener in list(self.listeners):
            has_none = _place(listener.after) < _place(entries[0][0])
            own = whole if has_none else _log_event(_later(entries, listener.after))
            if own and not listener.give(own):
                self.leave(listener)

    def leave(self, listener: Listener) -> None:
        """End the stream of a listener."""
        if listener in self.listeners:
            self.listeners.discard(listener)
            listener.give(None)


class BuildEvents:
    """The builds that are watched through this process."""

    def __init__(self, builds: Builds, records: Records, most: int = MOST_LISTENERS) -> None:
        self._builds, self._records, self._most = builds, records, most
        self._watches: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def log(self, key: str) -> list[tuple[str, str]]:
        """Return id and lines of what the build has printed lately; raises QueueUnavailable."""
        return await self._records.log_after(key, "0")

    async def listen(self, key: str, after: str) -> AsyncIterator[bytes]:
        """Return the events of a build until it has ended, its log from `after` on ("0": all).

        Raises UnknownBuild, QueueUnavailable, StoreFailed and TooManyListeners.
        """
        await self._builds.look(key)
        if sum(len(watch.listeners) for watch in self._watches.values()) >= self._most:
            raise TooManyListeners
        return self._stream(key, Listener(after))

    async def _stream(self, key: str, listener: Listener) -> AsyncIterator[bytes]:
        watch = self._join(key, listener)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(listener.events.get(), QUIET)
                except TimeoutError:
                    yield b": \n\n"
                    continue
                if event is None:
                    return
                yield event
        finally:
            watch.listeners.discard(listener)

    def _join(self, key: str, listener: Listener) -> Watch:
        """Add a listener, with what was seen so far. No other task runs meanwhile."""
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch()
            task = asyncio.create_task(self._watch(key, watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for event in watch.seen.values():
            listener.give(event)
        if kept := _log_event(_later(watch.entries, listener.after)):
            listener.give(kept)
        watch.listeners.add(listener)
        return watch

    async def _watch(self, key: str, watch: Watch) -> None:
        """Look at a build until it has ended or nobody watches."""
        try:
            while watch.listeners:
                if await self._has_ended(key, watch):
                    return
                await asyncio.sleep(EVERY)
        except AsuError as error:  # It has been forgotten: a poll says what is left of it.
            log.info("build %s is watched no more: %s", key, error.detail)
        finally:
            del self._watches[key]
            for listener in list(watch.listeners):
                watch.leave(listener)

    async def _has_ended(self, key: str, watch: Watch) -> bool:
        """Look once. The answer is read before the log, so the end comes after the last line."""
        try:
            answer = await self._builds.look(key)
            last = watch.entries[-1][0] if watch.entries else "0"
            new = await self._records.log_after(key, last)
        except QueueUnavailable:
            return False
        if new:
            watch.entries = [*watch.entries, *new][-MOST_ENTRIES:]
            watch.publish_log(new)
        return _publish_answer(watch, answer)


def _publish_answer(watch: Watch, answer: BuildAnswer) -> bool:
    """Publish what changed since the last look; return whether the build has ended."""
    body: dict[str, Any] = json.loads(answer.body)
    if answer.status != PENDING:
        watch.publish(_event("end", body))
        return True
    for name, fields in (("state", STATE), ("step", STEP)):
        shown = {each: body[each] for each in fields if each in body}
        event = _event(name, shown)
        if shown and watch.seen.get(name) != event:
            watch.seen[name] = event
            watch.publish(event)
    return False


def _event(name: str, data: object, number: str = "") -> bytes:
    marked = f"id: {number}\n" if number else ""
    return f"{marked}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _log_event(entries: list[tuple[str, str]]) -> bytes:
    """Return one event with all lines of some entries; nothing for none."""
    if not entries:
        return b""
    lines = [line for _, text in entries for line in text.split("\n")]
    return _event("log", {"lines": lines}, entries[-1][0])


def _later(entries: list[tuple[str, str]], after: str) -> list[tuple[str, str]]:
    return [entry for entry in entries if _place(entry[0]) > _place(after)]


def _place(number: str) -> tuple[int, ...]:
    """Return an id of a Redis stream as what it is compared by."""
    return tuple(map(int, number.split("-")))
