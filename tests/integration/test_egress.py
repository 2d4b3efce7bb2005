"""Where a build may go, tried from inside one: to the servers of its feeds and nowhere else, though
it be public, and to no name server.
"""

from __future__ import annotations

import errno
import inspect
import ipaddress
import json
import secrets
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from asu.worker.inside import reach
from tests.integration.podman_world import BASE, OPKG, PodmanWorld, builder_image, output, started
from tests.integration.test_fence import IMAGE, LISTEN, PATIENCE, PORT, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asu.worker.container import BuildContainer

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

# Addresses that are public to whoever looks at them, and that nobody has: they are kept for
# documentation.
DOCUMENTED = [
    network
    for block in ("198.51.100.0/24", "203.0.113.0/24")
    for network in ipaddress.ip_network(block).subnets(new_prefix=28)
]
TWO_PORTS = (
    f"{LISTEN.rpartition('; ')[0]}; t = socket.create_server(('', {PORT + 1})); time.sleep(300)"
)
ASK = """
import errno, socket
servers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")]
for server in servers:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.1)
        print(s.connect_ex((server, 53)))
"""
RESOLVE = """
import socket, sys
try:
    print(socket.gethostbyname(sys.argv[1]))
except OSError:
    print("unknown")
"""


@contextmanager
def listening(podman: PodmanWorld, network: str, name: str, script: str = LISTEN) -> Iterator[str]:
    """Start a container that listens in a network; yield its address."""
    podman.run(
        "run",
        "--detach",
        f"--name={name}",
        f"--network={network}",
        IMAGE.name,
        "python3",
        "-c",
        script,
    )
    try:
        [described] = json.loads(podman.run("inspect", name))
        yield described["NetworkSettings"]["Networks"][network]["IPAddress"]
    finally:
        subprocess.run(
            ["podman", "rm", "--force", "--time=0", name],
            env=podman.environment,
            check=False,
            capture_output=True,
        )  # A test may have done so.


@pytest.fixture
def public(podman: PodmanWorld) -> Iterator[str]:
    """Put a server with two ports on a public address of this machine's own; yield the address,
    which a build without a fence can reach.
    """
    name = f"asu-test-{secrets.token_hex(4)}"
    if podman.podman.host_address is None:
        pytest.skip("containers cannot reach other networks of this machine")
    # Another run may have some of them.
    for network in secrets.SystemRandom().sample(DOCUMENTED, len(DOCUMENTED)):
        made = subprocess.run(
            ["podman", "network", "create", f"--subnet={network}", name],
            env=podman.environment,
            check=False,
            capture_output=True,
        )
        if made.returncode == 0:
            break
    try:
        with listening(podman, name, name, TWO_PORTS) as address:
            with started(podman.engine(container_egress="world"), IMAGE) as container:
                await_server(container, f"{address}:{PORT + 1}")
            yield address
    finally:
        podman.run("network", "rm", "--force", name)


def await_server(container: BuildContainer, target: str) -> None:
    """Wait until somebody listens at host:port, as a container finds it."""
    give_up = time.monotonic() + PATIENCE
    while connect(container, target) != [0]:
        assert time.monotonic() < give_up, f"{target} cannot be reached"


def resolved(container: BuildContainer, name: str) -> str:
    """Return what a name leads to in a container, or `unknown`."""
    return output(container, "python3", "-c", RESOLVE, name).strip()


def test_a_build_reaches_its_feeds_alone(podman: PodmanWorld, public: str) -> None:
    """The server of a request's feed at its port, and not even another port of it; to the world,
    where an operator wants that.
    """
    both = [f"{public}:{PORT}", f"{public}:{PORT + 1}"]
    with started(podman.engine(container_egress="world"), IMAGE) as container:
        assert connect(container, *both) == [0, 0]
    with started(podman.engine(), IMAGE, feeds=[f"http://{public}:{PORT}/packages"]) as container:
        assert connect(container, *both) == [0, errno.EACCES]
    with started(podman.engine(), IMAGE) as container:
        assert connect(container, *both) == [errno.EACCES] * 2


def test_what_the_settings_name_is_reached(podman: PodmanWorld, public: str) -> None:
    """A public downloads server, or one that the operator adds."""
    for settings in (
        {"builder_upstream_url": f"http://{public}:{PORT}"},
        {"container_may_reach": (f"http://{public}:{PORT}/x",)},
    ):
        with started(podman.engine(**settings), IMAGE) as container:
            assert connect(container, f"{public}:{PORT}", f"{public}:{PORT + 1}") == [
                0,
                errno.EACCES,
            ]


@pytest.mark.parametrize("path", ["repositories.conf", "repositories"])
def test_feeds_that_the_builder_carries_are_reached(
    podman: PodmanWorld, public: str, path: str
) -> None:
    """Builders of releases name OpenWrt's own server, whatever UPSTREAM_URL is; with either package
    manager.
    """
    name = f"asu-test-{secrets.token_hex(4)}"
    line = (
        f"src/gz base http://{public}:{PORT}/base"
        if path.endswith(".conf")
        else f"http://{public}:{PORT}/base/packages.adb"
    )
    podman.run(
        "run",
        "--image-volume=ignore",
        f"--name={name}",
        IMAGE.name,
        "sh",
        "-c",
        f"printf '%s\\n' '# http://{public}:{PORT + 1}/off' '{line}' > /builder/{path}",
    )
    try:
        podman.run("commit", "--quiet", name, f"localhost/{name}:x86-64-v{OPKG}")
        with started(
            podman.engine(), builder_image(f"localhost/{name}:x86-64-v{OPKG}")
        ) as container:
            assert connect(container, f"{public}:{PORT}", f"{public}:{PORT + 1}") == [
                0,
                errno.EACCES,
            ]
    finally:
        podman.run("rm", "--force", name)
        podman.run("rmi", "--force", f"localhost/{name}:x86-64-v{OPKG}")


def test_feeds_of_a_builder_that_was_fetched_are_admitted(podman: PodmanWorld, public: str) -> None:
    """A snapshot's are known when its fence is up already; it opens for them, and for nothing
    else.
    """
    with started(podman.engine(), builder_image(f"{BASE}:x86-64-master", "SNAPSHOT")) as container:
        assert connect(container, f"{public}:{PORT}") == [errno.EACCES]
        container.admit([f"http://{public}:{PORT}/packages.adb"])

        assert connect(container, f"{public}:{PORT}", f"{public}:{PORT + 1}") == [0, errno.EACCES]
        assert set(output(container, "python3", "-c", ASK).split()) == {str(errno.EACCES)}


def test_no_name_server_is_reached(podman: PodmanWorld) -> None:
    """A question is a message to whoever owns the name: none leaves a build, though its names are
    known.
    """
    with listening(podman, podman.podman.network, f"asu-test-{secrets.token_hex(4)}") as _:
        with started(podman.engine(container_egress="world"), IMAGE) as container:
            assert "0" in output(container, "python3", "-c", ASK).split()
        with started(podman.engine(), IMAGE) as container:
            assert set(output(container, "python3", "-c", ASK).split()) == {str(errno.EACCES)}


def test_a_name_leads_where_it_led_in_the_beginning(podman: PodmanWorld) -> None:
    """Whatever its owner says a second later: the build goes to what was let through, and to no new
    address.
    """
    network, name = podman.podman.network, f"asu-test-{secrets.token_hex(4)}"
    with (
        listening(podman, network, name) as first,
        started(podman.engine(builder_upstream_url=f"http://{name}:{PORT}"), IMAGE) as container,
    ):
        await_server(container, f"{name}:{PORT}")
        podman.run("rm", "--force", "--time=0", name)
        with (
            listening(podman, network, f"{name}-between"),
            listening(podman, network, name) as second,
        ):
            assert second != first
            with started(podman.engine(container_egress="world"), IMAGE) as open_container:
                assert resolved(open_container, name) == second
            assert resolved(container, name) == first
            assert connect(container, f"{second}:{PORT}") == [errno.EACCES]


def test_a_requests_feed_opens_nothing_private(podman: PodmanWorld) -> None:
    """Its name may be somebody else's, and lead to a neighbour: it is not let through, and not even
    known.
    """
    name = f"asu-test-{secrets.token_hex(4)}"
    with listening(podman, podman.podman.network, name) as address:
        with started(
            podman.engine(container_may_reach=(f"http://{name}:{PORT}",)), IMAGE
        ) as container:
            await_server(container, f"{address}:{PORT}")
        with started(
            podman.engine(), IMAGE, feeds=[f"http://{name}:{PORT}/x", f"http://{address}:{PORT}/x"]
        ) as container:
            assert connect(container, f"{address}:{PORT}") == [errno.EACCES]
            assert resolved(container, name) == "unknown"


def test_what_is_closed_can_be_told_from_inside(podman: PodmanWorld) -> None:
    """As `asu check` looks at it: whether there is a way to public addresses and to a name server,
    without anything being sent.
    """
    look = ("python3", "-c", inspect.getsource(reach), "world", "names")
    with started(podman.engine(container_egress="world"), IMAGE) as container:
        assert output(container, *look).split() == ["world", "names"]
    with started(podman.engine(), IMAGE) as container:
        assert output(container, *look).split() == []


def test_a_name_that_nobody_knows_keeps_no_build_from_starting(podman: PodmanWorld) -> None:
    """The builder says itself that it cannot download from there; all else is let through."""
    with listening(podman, podman.podman.network, name := f"asu-test-{secrets.token_hex(4)}") as _:
        engine = podman.engine(builder_upstream_url=f"http://{name}:{PORT}")
        with started(engine, IMAGE, feeds=["https://nobody.invalid/packages"]) as container:
            await_server(container, f"{name}:{PORT}")
            assert resolved(container, "nobody.invalid") == "unknown"
