"""What happens when: the requests and the faults of a run, as a pure function of its seed and
length.

A run can be replayed as far as its plan goes. How the system's processes interleave is the
machine's, so a violation may need several runs of the same seed to come again; the history tells
what happened.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import Any

from tests.nemesis.wishes import BY_NAME, WISHES

REQUESTS = 60
WORKERS = ("worker-1", "worker-2")
ASKING_SHARE = 0.85  # Of the run: who asks at the very end meets no fault any more.
PREVIEW_SHARE = 0.25  # So many clients ask for a preview first, as owut and LuCI do.
CALM = 4.0  # Seconds before the first fault, in which the first builds begin.
PAUSE = (3.0, 7.0)  # Seconds between two faults.

# Kind of fault → what it strikes and how many seconds it lasts. A frozen worker is away for about
# as long as its lease (20 s), so that it comes back now before, now after others have taken its
# build over. Redis and API are away no longer than pollers are made to wait (POLL_PATIENCE, 15 s).
TARGETS: dict[str, tuple[str, ...]] = {
    "kill-worker": WORKERS,
    "freeze-worker": WORKERS,
    "kill-redis": ("redis",),
    "restart-podman": ("podman",),
    "kill-container": ("container",),
    "kill-api": ("asu",),
    "fill-disk": ("store",),
    "break-upstream": ("upstream",),
}
LASTS: dict[str, tuple[float, float]] = {
    "kill-worker": (2.0, 12.0),
    "freeze-worker": (20.0, 24.0),
    "kill-redis": (0.5, 4.0),
    "restart-podman": (0.5, 3.0),
    "kill-container": (0.0, 0.0),
    "kill-api": (0.5, 4.0),
    "fill-disk": (4.0, 10.0),
    "break-upstream": (5.0, 12.0),
}
# How the downloads server is broken, in the words of its faults: errors, half files, answers that
# come late.
BREAKS = ("500", "503", "truncated", "slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A client begins: when, for what (the name of a wish), how often it polls, and whether it
    looks at a preview first.
    """

    session: int
    at: float
    wish: str
    body: dict[str, Any]
    poll_every: float
    has_preview: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault begins: when, what kind, where, for how many seconds, and `how` where there are
    several ways.
    """

    at: float
    kind: str
    target: str
    seconds: float
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A whole run."""

    seed: int
    seconds: float
    asks: tuple[Ask, ...]
    strikes: tuple[Strike, ...]

    def to_json(self) -> str:
        """Return it for people and for comparison."""
        return json.dumps(asdict(self), indent=1)


def make_schedule(seed: int, seconds: float) -> Schedule:
    """Return the run of a seed that lasts so long."""
    # Apart from each other, so that neither changes when the other draws one number more.
    # It must be foreseeable.
    for_asks, for_strikes = random.Random(f"asks {seed}"), random.Random(f"strikes {seed}")  # noqa: S311
    return Schedule(
        seed=seed,
        seconds=seconds,
        asks=_asks(for_asks, seconds),
        strikes=_strikes(for_strikes, seconds),
    )


def _asks(rng: random.Random, seconds: float) -> tuple[Ask, ...]:
    """Ask for each wish, and for some again.

    A third of the wishes is wanted by a crowd in the first moments, as on the day of a release; the
    others are new ones all along the run, since a fault that meets no build tells nothing.
    """
    wishes = rng.sample([wish.name for wish in WISHES], len(WISHES))
    early, late = wishes[: len(wishes) // 3], wishes[len(wishes) // 3 :]
    end = seconds * ASKING_SHARE
    first = {name: rng.uniform(0, CALM) for name in early}
    first |= {
        name: CALM + (end - CALM) * (place + rng.random()) / len(late)
        for place, name in enumerate(late)
    }
    wanted = [(at, name) for name, at in first.items()]
    wanted += [(rng.uniform(0, CALM), rng.choice(early)) for _ in range(REQUESTS // 3 - len(early))]
    for name in rng.choices(wishes, k=REQUESTS - len(wanted)):
        wanted.append((rng.uniform(first[name], end), name))
    return tuple(
        Ask(
            session=number,
            at=round(at, 3),
            wish=name,
            body=BY_NAME[name].body(rng),
            # auc; owut, twice; LuCI and the Firmware Selector.
            poll_every=rng.choice((1.0, 2.0, 2.0, 5.0)),
            has_preview=rng.random() < PREVIEW_SHARE,
        )
        for number, (at, name) in enumerate(sorted(wanted), start=1)
    )


def _strikes(rng: random.Random, seconds: float) -> tuple[Strike, ...]:
    """Break one thing after another: each kind once before any comes again, and nothing that is
    broken already.
    """
    strikes: list[Strike] = []
    busy: dict[str, float] = {}
    bag: list[str] = []
    at = CALM
    while at < seconds:
        if not bag:
            bag = rng.sample(list(TARGETS), len(TARGETS))
        kind, target = next(
            (kind, target)
            for kind in [*bag, *TARGETS]
            for target in rng.sample(TARGETS[kind], len(TARGETS[kind]))
            if busy.get(target, 0) <= at
        )
        if kind in bag:
            bag.remove(kind)
        lasts = round(rng.uniform(*LASTS[kind]), 3)
        busy[target] = at + lasts + 1.0  # It needs a moment to come up.
        strikes.append(
            Strike(
                at=round(at, 3),
                kind=kind,
                target=target,
                seconds=lasts,
                how=rng.choice(BREAKS) if kind == "break-upstream" else "",
            )
        )
        at += rng.uniform(*PAUSE)
    return tuple(strikes)
