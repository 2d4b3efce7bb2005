"""The judge: what a history must not hold. A pure function, so that it can be shown to find each
kind of violation.

Each check yields one sentence per violation. What a fault excuses is written down beside the check
that excuses it, and nothing else is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.nemesis.containers import longest_overlap, two_containers
from tests.nemesis.history import DIED, Exchange, History, Window
from tests.nemesis.places import compared_places, places_never_rise
from tests.nemesis.schedule import WORKERS
from tests.nemesis.wishes import BY_NAME

OK, ACCEPTED, FAILED = 200, 202, 500
TOO_MANY = 429
# What a client hears while there is no API behind the gateway, or when its connection breaks with
# it.
AWAY = {None, 502, 503, 504}
# How a request may be put off: limits, upstream or Redis away, the disk, the queue.
TRY_AGAIN = {TOO_MANY, 503, 507, 529}
OWN_MISTAKE = "internal-error"
FAULTS = {"user", "upstream", "infra"}
ENDED = {"done", "failed"}
OUTCOMES = ("done", "user", "upstream", "infra")


def judge(history: History) -> list[str]:
    """Return every violation, in words."""
    checks = (
        nothing_dies,
        every_request_ends,
        nobody_is_blamed,
        polls_are_answered,
        requests_are_answered,
        files_are_as_promised,
        promises_are_kept,
        one_build_each,
        records_end_once,
        places_never_rise,
        two_containers,
        store_and_records_agree,
        metrics_agree,
    )
    return [violation for check in checks for violation in check(history)]


def nothing_dies(history: History) -> Iterator[str]:
    """Find parts that ended by themselves, because another one was away."""
    yield from (
        f"{window.target} ended by itself at {window.began:.1f}"
        for window in history.windows
        if window.kind == DIED
    )


def every_request_ends(history: History) -> Iterator[str]:
    """Find clients without the image, or the failure, that their request deserves, and what still
    waits or runs when all is quiet.
    """
    for end in history.ends:
        expected = "user" if BY_NAME[end.wish].code else "done"
        if end.outcome != expected:
            yield (
                f"client {end.session} ({end.wish}, build {end.key or 'never accepted'}) ended as"
                f" {end.outcome} at {end.at:.1f}, not as {expected}"
            )
    answered = {exchange.session for exchange in history.exchanges} - {0}
    for session in sorted(answered - {end.session for end in history.ends}):
        yield f"client {session} never came to an end"
    if history.survey is None:
        yield "the run was broken off before its survey"
        return
    for key, state in history.survey.records.items():
        if state not in ENDED:
            yield f"build {key} is still {state} at the end"
    for key in sorted(_accepted(history) - set(history.survey.records)):
        if not _is_forgotten_failure(history, key):
            yield f"build {key} was accepted and has no record at the end"


def nobody_is_blamed(history: History) -> Iterator[str]:
    """Find failures of fine requests that are called the user's, and bad requests that end as an
    image or as something else than they are.
    """
    for exchange in history.exchanges:
        wish = BY_NAME.get(exchange.wish)
        if wish is None or exchange.purpose == "file":
            continue
        # A poll that is refused is found by another check.
        is_refused = (
            exchange.purpose != "poll"
            and exchange.status in range(400, FAILED)
            and exchange.status != TOO_MANY
        )
        if wish.code is None and (exchange.fault == "user" or is_refused):
            yield f"{_told(exchange)}: the request is fine"
        if wish.code is not None and exchange.fault == "user" and exchange.code != wish.code:
            yield f"{_told(exchange)}: not {wish.code}"
        if wish.code is not None and exchange.promised:
            yield f"{_told(exchange)}: it can never be built"


def polls_are_answered(history: History) -> Iterator[str]:
    """Find polls of accepted builds that are told neither 200, 202 nor how the build failed, while
    the API was not away.
    """
    for exchange in history.exchanges:
        if exchange.purpose != "poll" or exchange.status in {OK, ACCEPTED}:
            continue
        is_failed_build = exchange.status == FAILED and exchange.fault in FAULTS
        if not is_failed_build and not _is_excused(history, exchange):
            yield _told(exchange)


def requests_are_answered(history: History) -> Iterator[str]:
    """Find requests that are neither taken, told how they failed, nor put off; a mistake of the
    server's own is never an answer.
    """
    for exchange in history.exchanges:
        if exchange.code == OWN_MISTAKE:
            yield f"{_told(exchange)}: a mistake of the server's own"
        if exchange.purpose not in {"post", "preview"} or _is_put_off(exchange):
            continue
        is_failed_build = exchange.status == FAILED and exchange.fault in FAULTS
        is_server_error = exchange.status is None or exchange.status >= FAILED
        if is_server_error and not is_failed_build and not _is_excused(history, exchange):
            yield _told(exchange)


def files_are_as_promised(history: History) -> Iterator[str]:
    """Find files of finished builds that do not come through the gateway, or with another sha256
    than the client had been told.
    """
    promised: dict[tuple[int, str, str], str] = {}
    for exchange in history.exchanges:
        promised |= {
            (exchange.session, exchange.key, name): digest
            for name, digest in exchange.promised.items()
        }
        if exchange.purpose != "file":
            continue
        wanted = promised.get((exchange.session, exchange.key, exchange.file), "nothing")
        if exchange.status == OK and exchange.sha256 != wanted:
            yield (
                f"{_told(exchange)}: {exchange.file} has sha256 {exchange.sha256}, promised was"
                f" {wanted}"
            )
        if exchange.status != OK and not _is_excused(history, exchange):
            yield f"{_told(exchange)}: {exchange.file} does not come"


def promises_are_kept(history: History) -> Iterator[str]:
    """Find finished builds that show another sha256 than before: no fault takes files away, so
    nothing is legitimately built anew.
    """
    shown: dict[tuple[str, str], str] = {}
    for exchange in history.exchanges:
        for name, digest in exchange.promised.items():
            before = shown.setdefault((exchange.key, name), digest)
            if before != digest:
                yield f"{_told(exchange)}: {name} has become {digest}, it was {before}"


def one_build_each(history: History) -> Iterator[str]:
    """Find equal requests that are two builds, unlike ones that are one, and builds that nobody
    asked for.
    """
    wishes: dict[str, set[str]] = defaultdict(set)
    for exchange in history.exchanges:
        if exchange.purpose == "post" and exchange.key:
            wishes[exchange.key].add(exchange.wish)
    for key, names in wishes.items():
        if len(names) > 1:
            yield f"build {key} stands for {' and '.join(sorted(names))}"
    counted = Counter(name for names in wishes.values() for name in names)
    yield from (
        f"{count} builds were made of one request: {name}"
        for name, count in counted.items()
        if count > 1
    )
    seen = {transition.key for transition in history.transitions} | {
        one.key for sample in history.samples for one in sample.containers
    }
    if history.survey is not None:
        seen |= {*history.survey.records, *history.survey.store}
    yield from (f"nobody has asked for build {key}" for key in sorted(seen - set(wishes)))


def records_end_once(history: History) -> Iterator[str]:
    """Find what was done and did not stay so, failures of the user's that did not (they outlive a
    run), and ends without a beginning.
    """
    records: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for transition in history.transitions:
        records[transition.key].append((transition.state, transition.fault))
    for key, states in records.items():
        for (before, fault), (after, _) in pairwise([("gone", ""), *states]):
            if before == "done":
                yield f"build {key} was done and became {after}"
            elif before == "failed" and fault == "user":
                yield f"build {key} failed by the user's fault and became {after}"
            elif after in ENDED and before != "running":
                yield f"build {key} became {after} and had not begun, it was {before}"


def store_and_records_agree(history: History) -> Iterator[str]:
    """Find files without a record, finished records without their files as they were promised, and
    containers that are left over.
    """
    if history.survey is None:
        return
    records, store = history.survey.records, history.survey.store
    yield from (
        f"there are files of build {key} and no record" for key in sorted(set(store) - set(records))
    )
    promised = {
        exchange.key: exchange.promised for exchange in history.exchanges if exchange.promised
    }
    for key in sorted(key for key, state in records.items() if state == "done"):
        if key not in store:
            yield f"build {key} is done and has no files"
        if key not in promised:
            yield f"build {key} is done and nobody was ever shown its images"
        for name, digest in promised.get(key, {}).items():
            if key in store and store[key].get(name) != digest:
                yield (
                    f"build {key}: {name} in the store has sha256 {store[key].get(name)}, promised"
                    f" was {digest}"
                )
    for container in history.survey.containers:
        yield (
            f"a container of build {container.key} attempt {container.attempt} is left over"
            f" ({container.state})"
        )


def metrics_agree(history: History) -> Iterator[str]:
    """Compare the metrics with the ends that Redis has written down: each must be counted once.

    A worker counts a build after its record has the outcome. So each kill of a worker may lose one
    count, of the build that ended in that moment, and each kill of Redis one for each worker; a
    worker that repeats what a dying Redis has not confirmed may count twice, again once for each
    kill and worker.
    """
    if history.survey is None:
        return
    killed = Counter(window.kind for window in history.windows)
    by_redis = killed["kill-redis"] * len(WORKERS)
    ends = Counter(
        transition.fault or "done"
        for transition in history.transitions
        if transition.state in ENDED
    )
    counted = history.survey.counted
    lost = sum(max(0, ends[outcome] - counted.get(outcome, 0)) for outcome in OUTCOMES)
    doubled = sum(max(0, counted.get(outcome, 0) - ends[outcome]) for outcome in OUTCOMES)
    told = f"{dict(ends)} against {dict(counted)}"
    if lost > (allowed := killed["kill-worker"] + by_redis):
        yield f"{lost} ends are not counted by the metrics, at most {allowed} may be lost: {told}"
    if doubled > by_redis:
        yield f"{doubled} ends are counted too often, at most {by_redis} may be: {told}"
    failures = sum(value for outcome, value in counted.items() if outcome != "done")
    if failures != history.survey.failures:
        yield (
            f"the metrics count {failures} failures by fault and {history.survey.failures} by code"
        )
    if history.survey.waiting or history.survey.running:
        yield (
            f"the metrics say that {history.survey.waiting} builds wait and"
            f" {history.survey.running} run when all have ended"
        )


def summary(history: History) -> Iterator[str]:
    """Say in a few lines what was in a run, so that a verdict can be weighed."""
    answers = Counter(f"{exchange.purpose} {exchange.status}" for exchange in history.exchanges)
    yield f"clients   {dict(Counter(end.outcome for end in history.ends))}"
    yield f"answers   {dict(sorted(answers.items()))}"
    yield f"faults    {dict(Counter(window.kind for window in history.windows))}"
    failures = Counter(
        f"{one.code} ({one.fault})"
        for one in history.exchanges
        if one.purpose == "poll" and one.fault
    )
    yield f"failures  {dict(failures)} as polls were told"
    states = Counter(f"{one.state} {one.fault}".strip() for one in history.transitions)
    yield (
        f"records   {dict(states)} written by Redis,"
        f" {dict(history.survey.counted) if history.survey else {}} counted by the metrics"
    )
    most = max((len(one.containers) for one in history.samples), default=0)
    overlap = longest_overlap(history)
    yield (
        f"samples   {len(history.samples)}, at most {most} containers at once, two of one build for"
        f" at most {overlap:.0f} s"
    )
    yield f"places    {compared_places(history)} polls were told one"


def _is_put_off(exchange: Exchange) -> bool:
    """Whether a request is to come again later: by its status, or since its answer says when and is
    no mistake of the server's own.
    """
    return exchange.status in TRY_AGAIN or (
        exchange.retry_after > 0 and exchange.code != OWN_MISTAKE
    )


def _is_excused(history: History, exchange: Exchange) -> bool:
    """Whether an answer is that of an API which is away, and it was."""
    return exchange.status in AWAY and any(
        _is_api(window) and window.meets(exchange.began, exchange.ended)
        for window in history.windows
    )


def _is_api(window: Window) -> bool:
    return window.kind == "kill-api"


def _accepted(history: History) -> set[str]:
    return {
        exchange.key
        for exchange in history.exchanges
        if exchange.purpose == "post" and exchange.key and exchange.status in {OK, ACCEPTED}
    }


def _is_forgotten_failure(history: History, key: str) -> bool:
    """Whether the last that clients heard of a build is a failure: such a record ends by itself."""
    heard = [
        exchange
        for exchange in history.exchanges
        if exchange.key == key and exchange.purpose != "file" and exchange.status is not None
    ]
    return heard[-1].fault in FAULTS


def _told(exchange: Exchange) -> str:
    what = (
        f"{exchange.status} {exchange.code} {exchange.fault}".strip()
        if exchange.status is not None
        else "no answer"
    )
    return (
        f"client {exchange.session} at {exchange.began:.1f}-{exchange.ended:.1f},"
        f" {exchange.purpose} of {exchange.key or exchange.wish}: {what} ({exchange.detail})"
    )
