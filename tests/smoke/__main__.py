"""Start both compose files for real, use them, scale them, replace their parts under load, and take everything down."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from misc.native.web import is_free
from tests.smoke import images
from tests.smoke.deployment import Deployment
from tests.smoke.engine import ROOT, Engine, SmokeError, make_engine
from tests.smoke.microservices import try_microservices
from tests.smoke.monolith import try_monolith

if TYPE_CHECKING:
    from pathlib import Path

PORTS = range(20_000, 30_000)  # Below those that the kernel gives to connections going out, and beside those of `make up`.
NETWORK = "asu-smoke-build"  # Apart from a network that real builds use.


def main() -> int:
    """Run it all; return the exit code."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    if os.geteuid() != 0:
        sys.stderr.write("make smoke: podman's root is needed here; run it as root or with sudo\n")
        return 1
    try:
        engine = make_engine(ROOT / os.environ.get("RUN_DIR", ".run") / "smoke")
        with engine.service():
            _try_all(engine, _free_port())
    except SmokeError as error:
        sys.stderr.write(f"\nmake smoke: {error}\n")
        return 1
    _say(f"\nall of it holds; {time.monotonic() - began:.0f} s")
    return 0


def _try_all(engine: Engine, port: int) -> None:
    _say("images")
    images.make_bases(engine)
    tree = images.make_tree(engine)
    images.make_builders(engine, tree)
    microservices = _deployment(engine, "microservices", port, tree)
    monolith = _deployment(engine, "monolith", port, tree)
    for deployment in (microservices, monolith):
        deployment.down()  # What a run left that was killed.
    microservices.compose("build", before=images.build_options(engine))
    for line in images.check_images(engine):
        _say(f"  {line}")
    for deployment, attempt in ((microservices, try_microservices), (monolith, try_monolith)):
        _say(deployment.project)
        try:
            attempt(deployment, port, NETWORK, lambda line: _say(f"  {line}"))
        except SmokeError:
            _show_logs(deployment)
            raise
        finally:
            deployment.down()


def _free_port() -> int:
    """Return a port that nobody listens on; a random one, so that runs at the same time do not choose alike."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if is_free("127.0.0.1", port))


def _deployment(engine: Engine, kind: str, port: int, tree: Path) -> Deployment:
    file = "podman-compose.yml" if kind == "monolith" else f"podman-compose.{kind}.yml"
    settings = {
        "PYTHON_IMAGE": images.PYTHON,
        "ASU_TAG": "smoke",
        "REVISION": images.revision(),
        "UPSTREAM_URL": images.FEEDS,
        "BASE_CONTAINER": images.BASE_CONTAINER,
        "BUILD_NETWORK": NETWORK,
        "PODMAN_SOCKET": str(engine.socket),
        "GATEWAY_PORT": str(port),
        "ASU_PORT": str(port),
        "SMOKE_TREE": str(tree),
        "CONTAINER_MEMORY_MB": "512",
        "SERVER_CONTACT": "smoke",
    }
    return Deployment(engine=engine, project=f"asu-smoke-{kind}", files=(file, "tests/smoke/standin.yml"), settings=settings)


def _show_logs(deployment: Deployment) -> None:
    for name in deployment.containers(everything=True):
        tail = "\n".join(f"  | {line}" for line in deployment.log(name).splitlines()[-15:])
        sys.stderr.write(f"\n{name} wrote last:\n{tail}\n")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt  # So that everything is taken down.


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
