"""The cost of a decision: it grows with the packages of the request, not with rules or indexes."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from asu.resolution import (
    Knowledge,
    PackageIndex,
    PackageRequest,
    Rule,
    RuleBook,
    load_rules,
    resolve,
)
from misc.bench.defaults import Jump, cases, jumps
from misc.bench.report import Row, Section, at_most

TITLE = "cost of a decision"
TIMES = 10  # How many times more rules, packages and index entries.
# The first quartile counts, since other processes can only slow a round down; a round is long
# enough for the clock.
ROUNDS, LOOPS = 21, 20
USUAL = 159  # Packages of a device with a web interface, as its client lists them.
# Ten times the packages may cost ten times the time, and a little for the processor's caches that
# hold it no longer.
MAX_PACKAGES, MAX_OTHERS = 1.3 * TIMES, 1.3
MICROSECONDS = 1_000_000


def measure() -> Section:
    """Time one request plain, and with ten times the rules, the index and the packages."""
    rules = load_rules()
    request, knowledge = sample(jumps()[-1], USUAL)
    long, filled = sample(jumps()[-1], USUAL * TIMES)
    plain = microseconds(request, rules, knowledge)
    rows = [
        Row(
            what=f"a request of {len(request.packages)} packages, {len(rules.rules)} rules",
            value=plain,
            unit="us",
        ),
        at_most(
            f"{TIMES} x rules",
            microseconds(request, more_rules(rules), knowledge) / plain,
            MAX_OTHERS,
            "x",
            digits=2,
        ),
        at_most(
            f"{TIMES} x index",
            microseconds(request, rules, replace(knowledge, index=filled.index)) / plain,
            MAX_OTHERS,
            "x",
            digits=2,
        ),
        at_most(
            f"{TIMES} x packages",
            microseconds(long, rules, filled) / plain,
            MAX_PACKAGES,
            "x",
            digits=2,
        ),
    ]
    return Section(title=TITLE, rows=rows)


def sample(jump: Jump, packages: int) -> tuple[PackageRequest, Knowledge]:
    """Return a real device's upgrade with as many packages, some without a rule or default."""
    case = next(cases(jump, left_out=0, stated=False))
    invented = tuple(f"package-{number}" for number in range(packages - len(case.request.packages)))
    index = case.knowledge.index or PackageIndex(())
    return replace(case.request, packages=(*case.request.packages, *invented)), replace(
        case.knowledge, index=PackageIndex((*index.parts, dict.fromkeys(invented, "1")))
    )


def more_rules(rules: RuleBook) -> RuleBook:
    """Return the rules with ten times as many, the others about other packages and devices."""
    others = [_other(rule, copy) for copy in range(1, TIMES) for rule in rules.rules]
    return RuleBook([*rules.rules, *others], rules.branch_off_revisions, rules.exclusives)


def microseconds(request: PackageRequest, rules: RuleBook, knowledge: Knowledge) -> float:
    """Return how long a decision takes."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(LOOPS):
            resolve(request, rules, knowledge)
        times.append((time.perf_counter() - began) / LOOPS * MICROSECONDS)
    return statistics.quantiles(times, n=4)[0]


def _other(rule: Rule, copy: int) -> Rule:
    """Return a rule of the same kind about other packages, or about another device."""
    mark = f"{copy}-"
    return replace(
        rule,
        id=mark + rule.id,
        target=f"{mark}{rule.target}" if rule.target or rule.add else None,
        replace=rule.replace and mark + rule.replace,
        replace_prefix=rule.replace_prefix and mark + rule.replace_prefix,
        remove=rule.remove and mark + rule.remove,
        remove_pattern=rule.remove_pattern and mark + rule.remove_pattern,
    )
