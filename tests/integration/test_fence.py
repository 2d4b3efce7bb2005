"""What build containers can reach, tried from inside one: nothing private but what the settings
name.
"""

from __future__ import annotations

import errno
import secrets
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asu.errors import ContainerFailed
from tests.integration.podman_world import BASE, OPKG, PodmanWorld, builder_image, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asu.worker.container import BuildContainer

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

IMAGE = builder_image(f"{BASE}:x86-64-v{OPKG}")
CONNECT = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    with socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET) as s:
        s.settimeout(3)
        print(s.connect_ex((host.strip("[]"), int(port))))
"""
PORT, PATIENCE = 4000, 30.0
ARP_COMPLETE = 0x2  # Of the flags in /proc/net/arp.
LISTEN = f"import socket, time; s = socket.create_server(('', {PORT})); time.sleep(300)"
DELETE_RULE = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.bind((0, 0))
body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 0, 0, 0, 8, 0) + struct.pack("=HHI", 8, 6, 200)
s.send(struct.pack("=IHHII", 16 + len(body), 33, 5, 1, 0) + body)
print(-struct.unpack_from("=i", s.recv(4096), 16)[0])
"""
PRIVATE = (
    "169.254.169.254:80",  # The metadata of most clouds.
    "169.254.170.2:80",
    "168.63.129.16:80",
    "100.100.100.200:80",
    "192.0.0.192:80",
    "10.0.0.1:6379",
    "10.255.255.254:22",
    "172.16.0.1:80",
    "172.31.255.254:80",
    "192.168.0.1:80",
    "192.168.255.254:443",
    "198.18.0.1:80",
    "224.0.0.251:5353",
    "255.255.255.254:80",
)
PRIVATE6 = (
    "[fd00:ec2::254]:80",
    "[fd00::1]:6379",
    "[fec0::1]:80",
    "[64:ff9b::a00:1]:6379",
    "[2002:a00:1::1]:6379",
)


def connect(container: BuildContainer, *targets: str) -> list[int]:
    """Return the error number of a connection to each host:port from a container; 0 for one that
    was made.
    """
    result = container.run(["python3", "-c", CONNECT, *targets], deadline=60)
    assert result.exit_code == 0, result.stderr
    return [int(word) for word in result.stdout.split()]


@contextmanager
def made_network(podman: PodmanWorld, *options: str) -> Iterator[str]:
    """Make a network for the time of a test, as an operator does."""
    name = f"asu-test-{secrets.token_hex(4)}"
    podman.run("network", "create", *options, name)
    try:
        yield name
    finally:
        podman.run("network", "rm", "--force", name)


@contextmanager
def service(podman: PodmanWorld) -> Iterator[str]:
    """Listen on all addresses of this machine, as a careless Redis does; yield host:port as
    containers find it.
    """
    if podman.podman.host_address is None:
        pytest.skip("containers cannot reach this machine, fenced in or not")
    with socket.create_server(("", 0)) as listener:
        yield f"{podman.podman.host_address}:{listener.getsockname()[1]}"


def test_private_addresses_cannot_be_reached(podman: PodmanWorld) -> None:
    """Metadata of clouds, carriers' networks, private ranges: the kernel refuses at once, whether
    or not somebody is there.
    """
    with started(podman.engine(), IMAGE) as container:
        assert connect(container, *PRIVATE) == [errno.EACCES] * len(PRIVATE)


@pytest.mark.parametrize("egress", ["feeds", "world"])
def test_private_addresses_of_ipv6_cannot_be_reached(podman: PodmanWorld, egress: str) -> None:
    """A way is not even looked for: without the fence it would be, and found where the builds'
    network has IPv6.
    """
    with made_network(podman, "--ipv6") as network:
        engine = podman.engine(container_egress=egress, container_network=network)
        with started(engine, IMAGE) as container:
            assert connect(container, *PRIVATE6) == [errno.EACCES] * len(PRIVATE6)


def test_this_machine_cannot_be_reached(podman: PodmanWorld) -> None:
    """What listens on every address of the machine can be reached from its own containers, and not
    from a build.
    """
    with service(podman) as target:
        with started(podman.engine(container_fence=False), IMAGE) as open_container:
            assert connect(open_container, target) == [0], "without the fence it is there"
        with started(podman.engine(), IMAGE) as container:
            assert connect(container, target) == [errno.EACCES]


@contextmanager
def neighbour(podman: PodmanWorld) -> Iterator[tuple[str, str]]:
    """Start a container that listens in the builds' network; yield its name and address. It has no
    fence, and could answer.
    """
    with started(podman.engine(container_fence=False), IMAGE):
        described = podman.inspect(podman.systems[-1])
        podman.run("exec", "--detach", described["Id"], "python3", "-c", LISTEN)
        [network] = described["NetworkSettings"]["Networks"].values()
        with started(podman.engine(container_fence=False), IMAGE) as other:
            give_up = time.monotonic() + PATIENCE
            while connect(other, f"{network['IPAddress']}:{PORT}") != [0]:
                assert time.monotonic() < give_up, (
                    "without a fence, containers of one network reach each other"
                )
        yield described["Name"], network["IPAddress"]


def test_builds_cannot_reach_one_another(podman: PodmanWorld) -> None:
    """Two builds share a network, and neither finds what the other listens on."""
    with neighbour(podman) as (_, address), started(podman.engine(), IMAGE) as container:
        assert connect(container, f"{address}:{PORT}") == [errno.EACCES]


def test_the_downloads_server_is_reached_wherever_it_is(podman: PodmanWorld) -> None:
    """A mirror at a private address is let through at its port, and nothing beside it."""
    with service(podman) as mirror, service(podman) as feeds, service(podman) as other:
        engine = podman.engine(
            builder_upstream_url=f"http://{mirror}",
            container_may_reach=(f"http://{feeds}/packages",),
        )
        with started(engine, IMAGE) as container:
            assert connect(container, mirror, feeds, other) == [0, 0, errno.EACCES]


def test_a_mirror_is_found_by_its_name(podman: PodmanWorld) -> None:
    """A name is looked up where the build looks it up: by the name server of its network, which
    stays within reach.
    """
    with (
        neighbour(podman) as (name, _),
        started(podman.engine(builder_upstream_url=f"http://{name}:{PORT}"), IMAGE) as container,
    ):
        assert connect(container, f"{name}:{PORT}", f"{name}:{PORT + 1}") == [0, errno.EACCES]


def test_a_build_cannot_open_its_fence(podman: PodmanWorld) -> None:
    """Taking a rule away takes a capability over the network that the build does not have."""
    with started(podman.engine(), IMAGE) as container:
        assert container.run(["python3", "-c", DELETE_RULE], deadline=60).stdout.strip() == str(
            errno.EPERM
        )
        assert connect(container, PRIVATE[0]) == [errno.EACCES]


def test_what_put_up_the_fence_is_gone(podman: PodmanWorld) -> None:
    """The container that had the capability has ended and is removed before the build does
    anything.
    """
    with started(podman.engine(), IMAGE):
        assert len(podman.containers(podman.systems[-1])) == 1


def test_a_fence_that_was_left_halfway_keeps_nothing(podman: PodmanWorld) -> None:
    """A worker that dies while the fence goes up leaves two containers, and the first can be
    removed nevertheless, with the second.
    """
    with started(podman.engine(), IMAGE) as container:
        [listed] = podman.containers(podman.systems[-1])
        label = f"--label=asu.system={podman.systems[-1]}"
        podman.run(
            "run",
            "--detach",
            label,
            f"--network=container:{listed['Id']}",
            IMAGE.name,
            "sleep",
            "60",
        )
        container.remove()

        assert podman.containers(podman.systems[-1]) == []


def test_without_a_fence_there_is_no_build(podman: PodmanWorld) -> None:
    """An image in which the fence cannot be put up is not built with, and nothing of it stays
    behind.
    """
    name = f"asu-test-{secrets.token_hex(4)}"
    podman.run("run", f"--name={name}", "--user=0", IMAGE.name, "rm", "/usr/bin/python3")
    try:
        podman.run("commit", "--quiet", name, f"localhost/{name}:x86-64-v{OPKG}")
        with pytest.raises(ContainerFailed):
            podman.engine().start(
                builder_image(f"localhost/{name}:x86-64-v{OPKG}"), key="0" * 64, attempt=1
            )

        assert podman.containers(podman.systems[-1]) == []
    finally:
        podman.run("rm", "--force", name)
        podman.run("rmi", "--force", f"localhost/{name}:x86-64-v{OPKG}")


@contextmanager
def filtered_return_paths() -> Iterator[None]:
    """Let new network namespaces begin as on most distributions, where the kernel looks for the way
    back of what comes in.
    """
    paths = [Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter") for name in ("all", "default")]
    before = [path.read_text() for path in paths]
    try:
        for path in paths:
            path.write_text("2")
        yield
    finally:
        for path, text in zip(paths, before, strict=True):
            path.write_text(text)


def answers_its_gateway(podman: PodmanWorld) -> bool:
    """Whether a container tells its hardware address to the gateway, which has to ask anew every
    half a minute or so.
    """
    [network] = podman.inspect(podman.systems[-1])["NetworkSettings"]["Networks"].values()
    address = network["IPAddress"]
    subprocess.run(["ip", "neigh", "flush", "to", address], check=True)
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
            anything.sendto(b"", (address, 9))
        rows = [
            line.split()
            for line in Path("/proc/net/arp").read_text().splitlines()
            if line.startswith(f"{address} ")
        ]
        if any(int(row[2], 16) & ARP_COMPLETE for row in rows):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("egress", ["feeds", "world"])
def test_the_gateway_still_finds_who_is_fenced_in(podman: PodmanWorld, egress: str) -> None:
    """Else a download would stall as soon as it has forgotten the container's hardware address."""
    with filtered_return_paths(), started(podman.engine(container_egress=egress), IMAGE):
        assert answers_its_gateway(podman)
