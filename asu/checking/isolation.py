"""Try from inside a container like those of builds what it can reach that it should not."""

import inspect
import secrets
import socket
from collections.abc import Iterable
from contextlib import closing
from urllib.parse import urlsplit

from asu.errors import AsuError, ContainerFailed
from asu.settings import Settings

from .findings import Finding, fine, problem, warning

# Seconds for the whole check, which starts two containers; an idle machine needs two.
PATIENCE = 30.0
SECONDS = 10  # For the program inside.
# If this process dies during the check, its container ends by itself in about a minute.
SHORT = dict.fromkeys(
    ("pull_deadline", "info_deadline", "manifest_deadline", "image_deadline", "max_output_mb"), 1
)
REDIS_PORT = 6379
METADATA = ("169.254.169.254:80", "169.254.170.2:80", "168.63.129.16:80", "100.100.100.200:80")
# What only CONTAINER_EGRESS=feeds closes, under the names of `inside.reach`.
WORDS = {"world": "all of the internet", "names": "a name server"}
ADVICE = (
    "Leave CONTAINER_FENCE on, or let a firewall keep the builds' network from this machine and "
    "from private addresses."
)


def check_isolation(settings: Settings, port: int) -> Finding:
    """Say whether a build could reach Redis, the API at `port`, or a cloud's metadata."""
    if settings.container_network == "none":
        return fine("containers have no network")
    # Only a worker's machine needs podman's library.
    from asu.worker.podman_condition import read_podman_condition  # noqa: PLC0415

    try:
        condition = read_podman_condition(settings)
        if not condition.builders or settings.container_network not in condition.networks:
            return fine("not tried: podman has no ImageBuilder yet, or not the builds' network")
        reached = _look(settings, condition.builders[0], _targets(settings, port))
    except ContainerFailed as error:
        return problem(
            f"not known: {error.detail}",
            "See the check `podman`; builds would fail in the same way.",
        )
    except AsuError as error:
        return warning(f"not known: {error.detail}", "Try again when the machine is less busy.")
    if reached:
        named = ", ".join(WORDS.get(target, target) for target in reached)
        return problem(f"builds can reach {named}", ADVICE)
    return fine(_what_is_reached(settings))


def targets(redis: Iterable[str], redis_port: int, api_port: int, own: str) -> list[str]:
    """Return host:port of what builds must not reach; 127.0.0.0/8 is the container itself."""
    hosts = [host for host in ("gateway", own, *redis) if host and not host.startswith("127.")]
    found = [*METADATA, f"gateway:{api_port}", *(f"{host}:{redis_port}" for host in hosts)]
    return list(dict.fromkeys(found))


def _targets(settings: Settings, api_port: int) -> list[str]:
    redis = urlsplit(settings.redis_url)
    port = redis.port or REDIS_PORT
    found = targets(_addresses(redis.hostname or "127.0.0.1", port), port, api_port, _own_address())
    return [*found, *(WORDS if _is_closed(settings) else ())]


def _is_closed(settings: Settings) -> bool:
    return settings.container_fence and settings.container_egress == "feeds"


def _what_is_reached(settings: Settings) -> str:
    from asu.worker.fencing import may_be_reached  # noqa: PLC0415

    if not _is_closed(settings):
        return "builds reach all of the internet, but not Redis, the API or a cloud's metadata"
    servers = ", ".join(may_be_reached(settings)) or "nothing that the settings name"
    return (
        f"builds reach {servers}, their ImageBuilder's feeds and those of their request, "
        "but not Redis, the API or a name server"
    )


def _look(settings: Settings, image: str, wanted: list[str]) -> list[str]:
    from asu.worker.builder_image import BuilderImage  # noqa: PLC0415
    from asu.worker.inside import reach  # noqa: PLC0415
    from asu.worker.podman_engine import PodmanEngine  # noqa: PLC0415

    # The check changes nothing, and has no time for a download.
    unchanged = settings.model_copy(update={"pull_policy": "never", **SHORT})
    # With a name of its own, workers remove its container only after it has ended, and a second
    # check at the same time has another network.
    name = f"check-{secrets.token_hex(8)}"
    with closing(PodmanEngine(unchanged, system=name, worker=name)) as engine:
        container = engine.start(BuilderImage(name=image, version="", target=""), key="", attempt=0)
        try:
            result = container.run(
                ["python3", "-I", "-S", "-c", inspect.getsource(reach), *wanted], deadline=SECONDS
            )
        finally:
            container.remove()
            engine.remove_network()
    if result.exit_code:
        raise ContainerFailed(reason="the program that tries it failed in the container")
    return result.stdout.split()


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(entry[4][0]) for entry in found})


def _own_address() -> str:
    """Return this machine's address towards the internet; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
