"""A preview in words, in the order of harm: what stops the build, dangers, changes, versions."""

from collections.abc import Mapping
from typing import Any

from .terminal import BOLD, DIM, GREEN, RED, YELLOW, Terminal, size

UNCHANGED, CHANGES, PROBLEMS = 0, 2, 3  # Exit codes of `asu prepare`.
_SIGNS = {"replace": "~", "add": "+", "remove": "-"}


def exit_code(preview: Mapping[str, Any]) -> int:
    """Return what `asu prepare` ends with."""
    if preview.get("problems"):
        return PROBLEMS
    return CHANGES if preview.get("changes") else UNCHANGED


def show_preview(terminal: Terminal, preview: Mapping[str, Any]) -> None:
    """Print a preview."""
    changes, problems = preview.get("changes") or [], preview.get("problems") or []
    terminal.line(f"{len(changes)} changes, {len(problems)} problems", BOLD)
    for problem in problems:
        instead = f" Use {problem['suggestion']} instead." if problem.get("suggestion") else ""
        terminal.line(f"! {problem['package']}: {problem['detail']}{instead}", RED)
    for warning in preview.get("warnings") or []:
        terminal.line(f"! {warning}", YELLOW)
    for change in changes:
        terminal.line(f"{_in_words(change)}", GREEN if change["action"] == "add" else "")
        terminal.line(f"    {change['reason']} (--ignore {change['rule']})", DIM)
    _show_versions(terminal, preview.get("manifest_diff") or {})
    _show_fit(terminal, preview.get("size") or {})
    if preview.get("cache_available"):
        terminal.line("The image is ready.", GREEN)


def _in_words(change: Mapping[str, Any]) -> str:
    sign = _SIGNS.get(change["action"], "*")
    if change["action"] == "replace":
        return f"{sign} {change.get('from_package')} -> {change.get('to_package')}"
    return f"{sign} {change.get('package') or change.get('to_package')}"


def _show_versions(terminal: Terminal, diff: Mapping[str, Any]) -> None:
    counts = [
        f"{len(diff[kind])} {kind}" for kind in ("added", "removed", "upgraded") if diff.get(kind)
    ]
    if counts:
        terminal.line(f"In the whole image: {', '.join(counts)}.")
    for name, versions in (diff.get("downgraded") or {}).items():
        terminal.line(f"! {name} becomes older: {versions}", YELLOW)


def _show_fit(terminal: Terminal, fit: Mapping[str, Any]) -> None:
    estimate, limit = fit.get("image_estimate"), fit.get("image_limit")
    if not estimate or fit.get("fits") in {None, "unknown"}:
        return
    words = {"yes": "fits", "tight": "may not fit", "no": "does not fit"}[fit["fits"]]
    style = {"yes": GREEN, "tight": YELLOW, "no": RED}[fit["fits"]]
    room = f" of {size(limit)}" if limit else ""
    terminal.line(f"The image {words}: about {size(estimate)}{room}.", style)
