"""Says in words why a selection cannot be installed, and whose fault that is."""

from collections.abc import Collection, Iterable, Sequence

from asu_prepare.resolution.outcome import Problem

from .universe import Obstacle

MAX_OTHERS = 5  # Packages that are offered as a choice.


def problems_of(
    obstacles: Iterable[Obstacle],
    *,
    version: str,
    target: str,
    wanted: Collection[str],
    named: Collection[str],
) -> list[Problem]:
    """Return a problem for each obstacle; those of `named` are in the answer already."""
    problems = []
    for obstacle in obstacles:
        is_wanted = obstacle.package in wanted
        if not obstacle.chain and obstacle.kind == "missing-dependency":
            if obstacle.package not in named:
                problems.append(_missing_default(obstacle, version, target))
        elif obstacle.kind == "conflict":
            problems.append(_conflict(obstacle, wanted))
        else:
            where = f"{version} for {target}"
            problems.append(_missing(obstacle, where, is_wanted=is_wanted))
    return list(dict.fromkeys(problems))


def hidden_conflict(obstacle: Obstacle) -> str:
    """Return the warning about a conflict that opkg overlooks."""
    return (
        f"{obstacle.chain[-1]} conflicts with {obstacle.what}, but in this order opkg does not see "
        "it and installs both. One of them may not work."
    )


def shared_files(members: Sequence[str], reason: str, wanted: Collection[str]) -> Problem:
    """Return the problem of packages with the same files; opkg finds it while it installs."""
    first = next((name for name in members if name in wanted), members[0])
    # What is there although it was taken away is needed by something else.
    other = next((one for one in members if not {one, f"-{one}"} & set(wanted)), "")
    advice = f"Take one of them away, such as with -{other}." if other else "Leave one of them out."
    detail = f"{' and '.join(members)}: {reason} {advice}"
    return Problem(first, "conflict", f"-{other}" if other else None, detail)


def _conflict(obstacle: Obstacle, wanted: Collection[str]) -> Problem:
    at, other = obstacle.chain[-1] if obstacle.chain else obstacle.package, obstacle.what
    is_implied = other not in wanted
    advice = f"Take one of them away, such as with -{other}." if is_implied else "Leave one out."
    detail = f"{_way(obstacle)}{at} and {other} cannot be installed together. {advice}"
    return Problem(obstacle.package, "conflict", f"-{other}" if is_implied else None, detail)


def _missing_default(obstacle: Obstacle, version: str, target: str) -> Problem:
    detail = (
        f"There is no package {obstacle.package} in {version} for {target}, although the device "
        "needs it. OpenWrt's feeds are the cause, not your selection."
    )
    return Problem(obstacle.package, "missing-dependency", None, detail)


def _missing(obstacle: Obstacle, where: str, *, is_wanted: bool) -> Problem:
    at = obstacle.chain[-1] if obstacle.chain else obstacle.package
    if obstacle.kind == "choice":
        several = ", ".join(obstacle.others[:MAX_OTHERS])
        needs = f"{at} needs {obstacle.what}" if obstacle.chain else f"You ask for {obstacle.what}"
        detail = f"{needs}, which {several} can provide. apk does not choose: add one of them."
        suggestion = obstacle.others[0] if len(obstacle.others) == 1 else None
        return Problem(obstacle.package, "missing-dependency", suggestion, detail)
    advice = (
        f"leave {obstacle.package} out" if is_wanted else f"take it away with -{obstacle.package}"
    )
    detail = (
        f"{_way(obstacle)}{at} needs {obstacle.what}, which {where} does not have. OpenWrt's feeds "
        f"are the cause, not your selection; {advice} until that is mended."
    )
    return Problem(obstacle.package, "missing-dependency", None, detail)


def _way(obstacle: Obstacle) -> str:
    """Return the chain before its last package: `a needs b, b needs c; `."""
    steps = zip(obstacle.chain, obstacle.chain[1:], strict=False)
    words = ", ".join(f"{one} needs {other}" for one, other in steps)
    return f"{words}; " if words else ""
