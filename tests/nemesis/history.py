"""What happened, line by line: written while it happens, read by the judge. All times are seconds
since the run began.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TextIO

DIED = "died"  # A fault that nobody made: a part ended by itself.
Purpose = Literal["preview", "post", "poll", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request of a client and its answer. `status` is None where no answer came.

    `promised` are the images of a finished build with their sha256; `file` and `sha256` tell of a
    download; `retry_after` is the answer's, 0 where it has none; `place` is that in line, where the
    build waits. Session 0 is the survey at the end.
    """

    session: int
    wish: str
    purpose: Purpose
    began: float
    ended: float
    status: int | None
    key: str = ""
    code: str = ""
    fault: str = ""
    detail: str = ""
    retry_after: int = 0
    place: int | None = None
    promised: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """A client has what it came for, was told that it cannot have it, or was sent away when the run
    ended.
    """

    session: int
    wish: str
    at: float
    outcome: Literal["done", "user", "refused", "unfinished"]
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A fault, from its beginning until what it struck was well again."""

    kind: str
    target: str
    began: float
    ended: float
    how: str = ""

    def meets(self, began: float, ended: float) -> bool:
        """Whether any of it lies in that time."""
        return self.began <= ended and began <= self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A build's container, by its labels; it is alive if it runs or is paused."""

    key: str
    attempt: int
    state: str

    @property
    def is_alive(self) -> bool:
        """Whether something may run in it."""
        return self.state in {"running", "paused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All containers of the system at one moment."""

    at: float
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a build's record, in the order in which Redis wrote them down; `state` is `gone`
    for one that was deleted.
    """

    key: str
    state: str
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How things stood when all faults were healed and every client had ended or had waited long
    enough.
    """

    at: float
    records: Mapping[str, str]  # Key → state.
    store: Mapping[str, Mapping[str, str]]  # Key → name → sha256.
    containers: tuple[Container, ...]
    counted: Mapping[str, int]  # Outcome → builds, of the metrics.
    failures: int  # Of the metrics, all codes together.
    waiting: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A whole run, as the judge sees it."""

    exchanges: tuple[Exchange, ...] = ()
    ends: tuple[SessionEnd, ...] = ()
    windows: tuple[Window, ...] = ()
    samples: tuple[Sample, ...] = ()
    transitions: tuple[Transition, ...] = ()
    survey: Survey | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Sort events by their kind."""
        sorted_: dict[type[Event], list[Any]] = {}
        for event in events:
            sorted_.setdefault(type(event), []).append(event)
        surveys = sorted_.get(Survey, [])
        return cls(
            exchanges=tuple(sorted_.get(Exchange, ())),
            ends=tuple(sorted_.get(SessionEnd, ())),
            windows=tuple(sorted_.get(Window, ())),
            samples=tuple(sorted_.get(Sample, ())),
            transitions=tuple(sorted_.get(Transition, ())),
            survey=surveys[-1] if surveys else None,
        )


Event = Exchange | SessionEnd | Window | Sample | Transition | Survey
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Exchange, SessionEnd, Window, Sample, Transition, Survey)
}


class Recorder:
    """Writes events from several threads, each at once, so that a run that is broken off leaves
    what it saw.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return round(time.monotonic() - self._began, 3)

    def write(self, event: Event) -> None:
        """Add a line; after the end, nothing."""
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        with self._lock:
            if not self._file.closed:
                self._file.write(f"{line}\n")
                self._file.flush()

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._file.close()


def read_events(path: Path) -> list[Event]:
    """Read what a Recorder wrote."""
    with path.open(encoding="utf-8") as file:
        return [event_of(json.loads(line)) for line in file]


def event_of(raw: dict[str, Any]) -> Event:
    """Return the event of a line."""
    kind = KINDS[raw.pop("event")]
    if "containers" in raw:
        raw["containers"] = tuple(Container(**one) for one in raw["containers"])
    return kind(**raw)
