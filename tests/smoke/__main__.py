"""Start the compose files for real, use them, scale them, replace their parts under load, and take
everything down.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from misc.native.gateway import UNLIMITED
from misc.native.web import is_free
from tests.smoke import images
from tests.smoke.deployment import Deployment
from tests.smoke.engine import ROOT, Engine, SmokeError, make_engine
from tests.smoke.many_machines import bucket, try_many_machines
from tests.smoke.microservices import try_microservices
from tests.smoke.monolith import try_monolith

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Below those that the kernel gives to connections going out, and beside those of `make up`.
PORTS = range(20_000, 30_000)
# Apart from a network that real builds use.
NETWORK, FAR_NETWORK = "asu-smoke-build", "asu-smoke-far-build"
STANDIN = "tests/smoke/standin.yml"
FILES = {
    "microservices": ("podman-compose.microservices.yml", STANDIN),
    "monolith": ("podman-compose.yml", STANDIN),
    "main-site": ("podman-compose.microservices.yml", STANDIN, "tests/smoke/main_site.yml"),
    "far-site": ("podman-compose.workers.yml", "tests/smoke/far_site.yml"),
}


def main(arguments: Sequence[str]) -> int:
    """Try the named parts, or all; return the exit code."""
    wanted = [*arguments] or [*PARTS]
    if unknown := set(wanted) - PARTS.keys():
        sys.stderr.write(
            f"make smoke: there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}\n"
        )
        return 2
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    if os.geteuid() != 0:
        sys.stderr.write("make smoke: podman's root is needed here; run it as root or with sudo\n")
        return 1
    try:
        engine = make_engine(ROOT / os.environ.get("RUN_DIR", ".run") / "smoke")
        with engine.service():
            _try_all(engine, wanted)
    except KeyboardInterrupt:
        sys.stderr.write("\nmake smoke: left; everything is taken down\n")
        return 130
    except SmokeError as error:
        sys.stderr.write(f"\nmake smoke: {error}\n")
        return 1
    _say(f"\nall of it holds; {time.monotonic() - began:.0f} s")
    return 0


def _try_all(engine: Engine, wanted: Sequence[str]) -> None:
    _say("images")
    images.make_bases(engine)
    images.make_builders(engine, images.make_tree(engine))
    _deployment(engine, "microservices", 0).compose("build", before=images.build_options(engine))
    for line in images.check_images(engine):
        _say_below(line)
    for name in wanted:
        PARTS[name](engine, _free_port())


def _microservices(engine: Engine, port: int) -> None:
    deployment = _deployment(engine, "microservices", port)
    with _taken_down(deployment):
        try_microservices(deployment, port, NETWORK, _say_below)


def _monolith(engine: Engine, port: int) -> None:
    deployment = _deployment(engine, "monolith", port)
    with _taken_down(deployment):
        try_monolith(deployment, port, NETWORK, _say_below)


def _many_machines(engine: Engine, port: int) -> None:
    with bucket(engine) as settings:
        here = _deployment(engine, "main-site", port, **settings)
        there = _deployment(engine, "far-site", port, **settings, BUILD_NETWORK=FAR_NETWORK)
        with _taken_down(here, there):
            try_many_machines(here, there, port, _say_below)


PARTS = {"microservices": _microservices, "monolith": _monolith, "many-machines": _many_machines}


@contextmanager
def _taken_down(*deployments: Deployment) -> Iterator[None]:
    """Say what is tried, show the logs if it fails, and take it down whatever happens."""
    _say(" and ".join(deployment.project for deployment in deployments))
    _clear_up(*deployments)  # What a run left that was killed.
    try:
        yield
    except SmokeError:
        for deployment in deployments:
            _show_logs(deployment)
        raise
    finally:
        _clear_up(*deployments)


def _clear_up(*deployments: Deployment) -> None:
    for deployment in reversed(deployments):
        deployment.down()


def _free_port() -> int:
    """Return a port that nobody listens on; a random one, so that runs at the same time do not
    choose alike.
    """
    return next(port for port in random.sample(PORTS, len(PORTS)) if is_free("127.0.0.1", port))


def _deployment(engine: Engine, kind: str, port: int, **more: str) -> Deployment:
    settings = {
        # Without digests, which no stand-in has.
        "PYTHON_IMAGE": images.PYTHON,
        "NGINX_IMAGE": images.NGINX,
        "REDIS_IMAGE": images.REDIS,
        "PROMETHEUS_IMAGE": images.PROMETHEUS,
        "ASU_TAG": "smoke",
        "REVISION": images.revision(),
        "UPSTREAM_URL": images.FEEDS,
        "BASE_CONTAINER": images.BASE_CONTAINER,
        "BUILD_NETWORK": NETWORK,
        # These are apart from the defaults, which a real system on this machine has.
        "FRONTEND_SUBNET": "10.89.248.0/24",
        "FRONTEND_RANGE": "10.89.248.128/25",
        "GATEWAY_ADDRESS": "10.89.248.2",
        "BACKEND_SUBNET": "10.89.251.0/24",
        "BACKEND_RANGE": "10.89.251.128/25",
        "REDIS_ADDRESS": "10.89.251.2",
        "SMOKE_MIRROR": images.MIRROR,
        "SMOKE_MIRROR_SUBNET": "10.89.252.0/24",
        "PODMAN_SOCKET": str(engine.socket),
        "GATEWAY_PORT": str(port),
        # All requests come from this machine.
        **{name: value for name, value in UNLIMITED.items() if name != "GATEWAY_TRUSTED_PROXY"},
        "ASU_PORT": str(port),
        "SMOKE_TREE": str(images.tree_of(engine)),
        "CONTAINER_MEMORY_MB": "512",
        **more,
    }
    return Deployment(
        engine=engine, project=f"asu-smoke-{kind}", files=FILES[kind], settings=settings
    )


def _show_logs(deployment: Deployment) -> None:
    for name in deployment.containers(everything=True):
        tail = "\n".join(f"  | {line}" for line in deployment.log(name).splitlines()[-15:])
        sys.stderr.write(f"\n{name} wrote last:\n{tail}\n")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt  # So that everything is taken down.


def _say_below(line: str) -> None:
    _say(f"  {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
