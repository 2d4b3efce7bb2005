"""What holds of running containers: no rights, limits, nothing to write, walls between the
networks, and little memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.smoke import images
from tests.smoke.engine import SmokeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.smoke.deployment import Deployment

KIB = 1024
MOST_IDLE = 350  # MiB of the whole deployment; the bar of the design.
STANDINS = {"upstream"}  # Of this test's own.
CONNECT = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(target)
    except OSError:
        pass
"""


def check_settings(deployment: Deployment) -> str:
    """Return a line for the report; raises SmokeError when `asu check` finds a problem, as the API
    and the worker see it.
    """
    for part in ("api", "worker"):
        deployment.engine.podman(
            "exec", deployment.containers(part)[0], "asu", "check", "--part", part
        )
    return (
        "asu check has nothing to complain of, neither in the API's container nor in the worker's"
    )


def check_containers(deployment: Deployment) -> str:
    """Return a line for the report; raises SmokeError when a container may do more than it
    needs.
    """
    names = [name for name in deployment.containers() if _service(deployment, name) not in STANDINS]
    for name in names:
        found = deployment.inspect(name)
        host, process = (
            found["HostConfig"],
            Path(f"/proc/{found['State']['Pid']}/status").read_text(),
        )
        status = dict(line.split(":\t", 1) for line in process.splitlines() if ":\t" in line)
        complaints = {
            "runs as root": status["Uid"].split()[0] == "0",
            "has capabilities": int(status["CapEff"], 16) or int(status["CapBnd"], 16),
            "may gain privileges": status["NoNewPrivs"].strip() != "1",
            "can write into its image": not host["ReadonlyRootfs"],
            "has no limit of memory": not host["Memory"],
            "has no limit of processors": not (host["NanoCpus"] or host["CpuQuota"]),
            "is not restarted": host["RestartPolicy"]["Name"] != "always",
        }
        if wrong := [what for what, holds in complaints.items() if holds]:
            raise SmokeError(f"{name} {', '.join(wrong)}")
    return (
        f"{len(names)} containers: none is root, has capabilities or can write into its image; all"
        " have limits"
    )


def check_ports(deployment: Deployment, door: str) -> str:
    """Return a line for the report; raises SmokeError when anything but the door publishes a port,
    or to other machines.
    """
    for name in deployment.containers():
        for binding in (
            binding
            for bound in (deployment.inspect(name)["NetworkSettings"]["Ports"] or {}).values()
            for binding in bound or []
        ):
            if _service(deployment, name) != door or binding["HostIp"] != "127.0.0.1":
                raise SmokeError(f"{name} publishes {binding}")
    return f"only {door} publishes a port, and to this machine only"


def check_walls(
    deployment: Deployment, network: str, image: str, services: Sequence[tuple[str, int]]
) -> str:
    """Return a line for the report; raises SmokeError when a container where builds run reaches one
    of the services, or podman.
    """
    targets = [
        f"{address}:{port}"
        for service, port in services
        for name in deployment.containers(service)
        for address in deployment.addresses(name)
    ]
    probe = ["run", "--rm", f"--network={network}", "--entrypoint=python3", image, "-c"]
    reached = deployment.engine.podman(*probe, CONNECT, f"{images.MIRROR}:8002", *targets).split()
    if reached != [f"{images.MIRROR}:8002"]:
        raise SmokeError(
            f"from the builds' network, {reached or 'nothing'} can be reached; it should be"
            " the downloads server alone"
        )
    if deployment.engine.succeeds(*probe, "import os; os.stat('/run/podman/podman.sock')"):
        raise SmokeError("a build can see podman's socket")
    return f"builds reach the downloads server and none of {len(targets)} addresses of the services"


def idle_footprint(deployment: Deployment) -> list[str]:
    """Return lines about the memory that each container takes, shared pages shared out; raises
    SmokeError when it is too much.
    """
    figures = {
        name: _memory(deployment, name)
        for name in deployment.containers()
        if _service(deployment, name) not in STANDINS
    }
    total = sum(figures.values())
    lines = [f"{name:<30} {figure:6.1f} MiB" for name, figure in figures.items()]
    lines.append(f"idle, all containers with their monitors: {total:.0f} MiB (at most {MOST_IDLE})")
    if total > MOST_IDLE:
        raise SmokeError("\n".join(lines))
    return lines


def _memory(deployment: Deployment, name: str) -> float:
    """Return the memory of a container's processes and of its monitor, in MiB."""
    found = deployment.inspect(name)
    processes = [int(found["State"]["ConmonPid"]), int(found["State"]["Pid"])]
    for process in processes[1:]:
        processes += _children(process)
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / KIB


def _children(process: int) -> list[int]:
    found = [
        int(word)
        for task in Path(f"/proc/{process}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]
    return found + [grandchild for child in found for grandchild in _children(child)]


def _service(deployment: Deployment, name: str) -> str:
    return str(deployment.inspect(name)["Config"]["Labels"]["io.podman.compose.service"])
