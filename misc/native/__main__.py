"""The commands behind the Makefile: `python3 -m misc.native up|down|demo`."""

from __future__ import annotations

import os
import sys
import time

from misc.native.demo import Wish, run_demo
from misc.native.settings import Settings, read_settings
from misc.native.system import bring_up, take_down
from misc.native.trouble import Trouble

COMMANDS = ("up", "down", "demo")


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python3 -m misc.native {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        settings = read_settings(os.environ)
        _run(arguments[0], settings)
    except Trouble as trouble:
        print(f"\nmake {arguments[0]}: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nleft; what has been started goes on (make down ends it)", file=sys.stderr)
        return 130
    return 0


def _run(command: str, settings: Settings) -> None:
    """Run `command`."""
    # The Makefile sets it, to count the installation in.
    began = float(os.environ.get("BEGAN") or time.time())
    if command == "down":
        take_down(settings, _say)
        return
    bring_up(settings, _say)
    if command == "demo":
        wish = Wish(
            version=os.environ.get("VERSION"),
            target=os.environ.get("TARGET"),
            profile=os.environ.get("PROFILE"),
        )
        run_demo(settings, wish, _say)
    _show_addresses(settings)
    if command == "demo":
        _say(f"\n{time.time() - began:.0f} s in all; the system stays up, `make down` ends it")


def _show_addresses(settings: Settings) -> None:
    """Say where the running system is."""
    rows = [
        ("gateway", settings.gateway_url),
        ("asu", settings.asu_url),
        ("asu-prepare", settings.prepare_url),
    ]
    rows.append(("upstream", settings.upstream_url or settings.standin_url))
    _say("\nthe system is up:")
    for name, address in rows:
        _say(f"  {name:<12} {address}")
    _say(f"  {'logs':<12} {settings.logs}")


def _say(line: str) -> None:
    print(line, flush=True)  # Flushed, so that progress shows in pipes and CI logs too.


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
