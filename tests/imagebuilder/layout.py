"""Puts the rules of the Makefile at the line numbers that the genuine one has, since error messages
name them.

A line `##@ A B` stands before a rule: the next line gets number A in an opkg builder and B in an
apk builder.
"""

from __future__ import annotations

DIRECTIVE = "##@ "


def lay_out(text: str, *, apk: bool) -> str:
    """Return the Makefile with each directive replaced by as many empty lines as it takes."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith(DIRECTIVE):
            lines.append(line)
            continue
        number = int(line.removeprefix(DIRECTIVE).split()[apk])
        while lines and not lines[-1]:
            lines.pop()
        if len(lines) >= number:
            raise ValueError(
                f"{len(lines)} lines stand before the rule that must start at line {number}"
            )
        lines += [""] * (number - 1 - len(lines))
    return "\n".join(lines) + "\n"
