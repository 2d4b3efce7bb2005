"""Builds do not hear one another: each worker has a network, and no datagram gets past a fence."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asu.worker.fencing import NEIGHBOURS
from asu.worker.podman_condition import read_podman_condition
from tests.integration.podman_world import output, started
from tests.integration.test_fence import IMAGE, PATIENCE, PORT, connect, made_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asu.worker.container import BuildContainer
    from tests.integration.podman_world import PodmanWorld

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

# Sends a word to each address of table `local` and to each group that needs no route, in each way
# that a program without rights has. Prints what was sent, as [address, way].
SEND = """
import ipaddress, json, socket, sys
from pathlib import Path
word, port = sys.argv[1].encode(), int(sys.argv[2])
words = Path("/proc/net/fib_trie").read_text().split()
own4 = {words[at - 3] for at, w in enumerate(words) if w == "LOCAL" and words[at - 2] == "/32"}
own4 = next(address for address in sorted(own4) if not address.startswith("127."))
entries = {words[at - 3] for at, w in enumerate(words) if w in ("BROADCAST", "LOCAL", "MULTICAST")}
entries |= {"255.255.255.255", "224.0.0.1", "224.0.0.251", "239.255.0.1"} - {own4}
if Path("/proc/net/ipv6_route").exists():
    for route in map(str.split, Path("/proc/net/ipv6_route").read_text().splitlines()):
        address = ipaddress.IPv6Address(bytes.fromhex(route[0]))
        if int(route[8], 16) & 0x80000000:  # RTF_LOCAL: its own.
            continue
        entries |= {f"ff02::1%{route[9]}" if address.is_multicast else f"{address}%{route[9]}"}
    entries |= {"ff02::1%eth0", "ff05::1%eth0", "ff01::1%eth0"}
entries -= {own4, "0.0.0.0"}
def plain(s, family): pass
def bound(s, family):
    if family == socket.AF_INET: s.bind((own4, 0))
def device(s, family): s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
def interface(s, family):
    if family == socket.AF_INET: s.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton(own4))
    else: s.setsockopt(41, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
sent = []
for entry in sorted(entries):
    family = socket.AF_INET6 if ":" in entry else socket.AF_INET
    for way in (plain, bound, device, interface):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:
                way(s, family)
                s.sendto(word, (entry, port))
            except OSError:
                continue
            sent.append((entry, way.__name__))
print(json.dumps(sent))
"""
# Prints the words that were heard, as soon as `end` is among them.
HEAR = """
import select, socket, sys
from pathlib import Path
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("", int(sys.argv[1])))
b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); b.setsockopt(41, 26, 1)
b.bind(("::", int(sys.argv[1])))
Path(sys.argv[2]).touch()
heard = set()
while "end" not in heard:
    for each in select.select([a, b], [], [])[0]:
        heard.add(each.recv(99).decode())
print(*sorted(heard))
"""
TELL = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
TELL += "for host in sys.argv[2:]: s.sendto(b'end', (host, int(sys.argv[1])))"


def address_of(podman: PodmanWorld) -> tuple[str, str]:
    """Return the address of the container that was started last, and its gateway's."""
    [network] = podman.inspect(podman.systems[-1])["NetworkSettings"]["Networks"].values()
    return network["IPAddress"], network["Gateway"]


@contextmanager
def listener(heard: list[str], port: int, ready: Path) -> Iterator[None]:
    """Listen on this machine; what was heard is in `heard` afterwards."""
    command = ["python3", "-c", HEAR, str(port), str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
            heard += process.communicate(timeout=PATIENCE)[0].split()
        finally:
            process.kill()


def await_file(container: BuildContainer, path: str) -> None:
    """Wait until a program in a container is ready."""
    script = f"until [ -e {path} ]; do sleep 0.05; done"
    assert container.run(["bash", "-c", script], deadline=60).exit_code == 0


@pytest.mark.parametrize("egress", ["feeds", "world"])
@pytest.mark.parametrize("options", [[], ["--ipv6"]], ids=["IPv4", "IPv6 too"])
def test_nobody_hears_a_fenced_build(
    podman: PodmanWorld, tmp_path: Path, options: list[str], egress: str
) -> None:
    """Not by broadcast, multicast or any other entry of table `local`, in any way; a container
    without a fence is heard by this machine and by its neighbour.
    """
    port, here, there = 20_000 + secrets.randbelow(10_000), list[str](), list[str]()
    with ExitStack() as stack:
        network = stack.enter_context(made_network(podman, *options))
        stack.enter_context(listener(here, port, tmp_path / "ready"))
        neighbour = stack.enter_context(
            started(podman.engine(container_fence=False, container_network=network), IMAGE)
        )
        address, gateway = address_of(podman)
        hear = ["python3", "-c", HEAR, str(port), "/tmp/ready"]  # noqa: S108  # In the container.
        thread = threading.Thread(
            target=lambda: there.extend(output(neighbour, *hear).split()), daemon=True
        )
        thread.start()
        await_file(neighbour, hear[-1])

        engine = podman.engine(container_egress=egress, container_network=network)
        with started(engine, IMAGE) as fenced:
            sent = json.loads(output(fenced, "python3", "-c", SEND, "fenced", str(port)))
        engine = podman.engine(container_fence=False, container_network=network)
        with started(engine, IMAGE) as free:
            output(free, "python3", "-c", SEND, "free", str(port))
            output(free, "python3", "-c", TELL, str(port), address, gateway)
        thread.join(PATIENCE)

    assert here == ["end", "free"]
    assert there == ["end", "free"]
    assert [entry for entry, _ in sent if not entry.startswith("127.")] == []


def test_workers_have_networks_of_their_own(podman: PodmanWorld) -> None:
    """Builds of two workers do not reach each other even without a fence; a network is made once,
    after the example of the one in the settings, and removed with its worker.
    """
    system = secrets.token_hex(8)
    with made_network(podman, "--opt=isolate=true") as example:
        first, second = (
            podman.engine(
                system=system, worker=worker, container_network=example, container_fence=False
            )
            for worker in ("one", "two")
        )
        with started(first, IMAGE) as one:
            address, _ = address_of(podman)
            podman.run("exec", "--detach", podman.containers(system)[0]["Id"], *listening())
            await_connection(one, f"{address}:{PORT}")
            with started(second, IMAGE, attempt=2) as two:
                assert connect(two, f"{address}:{PORT}") != [0]
        before = podman.run("network", "inspect", f"{example}-one")
        with started(first, IMAGE):
            assert podman.run("network", "inspect", f"{example}-one") == before
        assert json.loads(before)[0]["options"] == {"isolate": "true"}
        assert sorted(podman.networks(system)) == [f"{example}-one", f"{example}-two"]

        first.remove_network()
        assert podman.networks(system) == [f"{example}-two"]
        with started(first, IMAGE):
            assert len(podman.networks(system)) == 2, "what somebody took away is made again"


def listening() -> list[str]:
    """Return a command that listens at PORT."""
    return [
        "python3",
        "-c",
        f"import socket, time; s = socket.create_server(('', {PORT})); time.sleep(300)",
    ]


def await_connection(container: BuildContainer, target: str) -> None:
    """Wait until somebody listens."""
    give_up = time.monotonic() + PATIENCE
    while connect(container, target) != [0]:
        assert time.monotonic() < give_up


def test_a_sweep_removes_the_networks_of_dead_workers_alone(podman: PodmanWorld) -> None:
    """Those in use stay, as do those of live workers and of other systems."""
    engines = [podman.engine(worker=f"{secrets.token_hex(4)}") for _ in range(2)]
    mine, other = podman.systems[-2:]
    with closing(podman.engine(system=mine, worker="dead")) as dead, started(dead, IMAGE):
        for engine in engines:
            with started(engine, IMAGE):
                pass
        live = podman.networks(mine)
        engines[0].remove_networks({name.rpartition("-")[2] for name in live} - {"dead"})
        assert podman.networks(mine) == live, "podman keeps what is in use"
    engines[0].remove_networks(set())

    assert podman.networks(mine) == []
    assert len(podman.networks(other)) == 1


def test_neighbours_are_asked_for_often_and_there_is_no_ipv6(podman: PodmanWorld) -> None:
    """The kernel's settings are in force: a hardware address that changes stalls no download, and a
    network without IPv6 has no link-local neighbours.
    """
    with started(podman.engine(worker="only"), IMAGE) as container:
        paths = [f"/proc/sys/{name.replace('.', '/')}" for name in NEIGHBOURS]
        assert output(container, "cat", *paths).split() == list(NEIGHBOURS.values())
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
            assert output(container, "cat", "/proc/net/if_inet6") == ""


def test_a_bridge_that_changes_its_address_is_found(podman: PodmanWorld) -> None:
    """Two containers on one bridge, which netavark leaves to the kernel before 1.9."""
    with made_network(podman) as network:
        settings = podman.settings(container_network=network)
        with started(podman.engine(container_network=network), IMAGE):
            assert read_podman_condition(settings).unsteady == ()
            with started(podman.engine(container_network=network), IMAGE):
                condition = read_podman_condition(settings)

    version = [int(part) for part in condition.netavark.split(".")]
    assert bool(condition.unsteady) == (version < [1, 9])
