"""The only place that knows podman: one container per build, made for it and thrown away after it.

All capabilities dropped, no new privileges, bounds on processes, memory and processors, a network that is closed before anything
is run, but for the way to its feeds (`fencing.py`), nothing mounted, nothing secret inside. Every command has a deadline of ours, since
podman's API has none: when it passes, the container is killed and the command's output ends.
"""

import contextlib
import io
import json
import logging
import tarfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from podman import PodmanClient
from podman.api import stream_frames
from podman.domain.containers import Container
from podman.errors import PodmanError
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from asu.errors import AsuError, BuildTimeout, ContainerFailed
from asu.settings import Settings

from .archive import pieces_of
from .bounded_log import BoundedLog
from .fencing import Fence
from .pulling import BuilderImage, pull

log = logging.getLogger(__name__)

LABEL_SYSTEM, LABEL_KEY, LABEL_ATTEMPT = "asu.system", "asu.build", "asu.attempt"
API_TIMEOUT = 60  # Seconds for single calls; the longest, removing a container under load, was measured at 0.7 s.
CPU_PERIOD = 100_000
LOOK_TIMEOUT = 20  # Seconds for each question of a look at the disk; it takes a tenth of one, and thrice as much after 20,000 files.
_FREE_SPACE = ("/usr/bin/stat", "--file-system", "--format=%a %S", "/")  # Blocks and their size, of the disk below the container's layer.
_ROOT = "0:0"  # In the container, and without any capability.


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command in the container left: exit code and bounded outputs."""

    exit_code: int
    stdout: str
    stderr: str


class BuildContainer(Protocol):
    """A running container of one build."""

    def run(self, command: Sequence[str], *, deadline: int) -> CommandResult:
        """Run an argument list; raises BuildTimeout and ContainerFailed, which hold what it had printed."""

    def put(self, path: str, content: bytes, mode: int) -> None:
        """Write a file below the builder's directory, making its parents."""

    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        """Yield a directory as a tar stream; raises ContainerFailed, and BuildTimeout when that takes longer, whoever reads it included."""

    def disk_taken(self) -> int:
        """Return how many bytes it has written and not removed, holes in files included; raises ContainerFailed."""

    def disk_free(self) -> int:
        """Return how many bytes its disk has left for it; raises ContainerFailed."""

    def admit(self, feeds: Collection[str]) -> None:
        """Let it reach the servers of these feeds, URLs, too, unless they are at private addresses; raises ContainerFailed."""

    def kill(self) -> None:
        """End everything in it at once; its commands fail."""

    def remove(self) -> None:
        """Throw the container away; never raises."""


class ContainerEngine(Protocol):
    """Makes containers."""

    def pin(self, image: BuilderImage) -> BuilderImage:
        """Return the image with id and digest of what its name leads to now, pulled where that is asked for.

        Raises ImageBuilderMissing, ContainerFailed and BuildTimeout.
        """

    def start(self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()) -> BuildContainer:
        """Start a container from an ImageBuilder image, the very one that was pinned; one that was not is pinned first. Raises as `pin`.

        It reaches the servers that the settings name, those of the feeds that the image carries and those of `feeds`, URLs.
        """

    def has(self, image: BuilderImage) -> bool:
        """Whether the image is at hand, so that nothing has to be pulled; raises ContainerFailed."""

    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        """Return key, attempt and container of each build container of this system, and of those that ended whose system may be gone.

        Systems may share a podman; what runs belongs to its own system alone.
        """

    def close(self) -> None:
        """End the connections; containers made by this engine are of no use afterwards."""


@contextlib.contextmanager
def _podman_answers(doing: str) -> Iterator[None]:
    try:
        yield
    except (PodmanError, RequestException, HTTPError, OSError) as error:  # HTTPError: an answer that breaks off while it is streamed.
        log.warning("podman, %s: %s", doing, error)
        raise ContainerFailed(reason=f"podman did not {doing}") from error


class PodmanContainer:
    """A container of podman's."""

    def __init__(self, client: PodmanClient, container: Container, *, socket: str, fence: Fence | None = None) -> None:
        self._client, self._container, self._socket, self._fence = client, container, socket, fence
        self._killed = threading.Event()

    def run(self, command: Sequence[str], *, deadline: int) -> CommandResult:
        """See BuildContainer."""
        stdout, stderr = BoundedLog(), BoundedLog()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.kill()

        timer = threading.Timer(deadline, expire)
        timer.daemon = True
        timer.start()
        try:
            with _podman_answers(f"run {command[0]}"):
                exec_id = self._exec(command)
                for out, err in self._output(exec_id, deadline + API_TIMEOUT):
                    stdout.write(out or b"")
                    stderr.write(err or b"")
                exit_code = self._client.api.get(f"/exec/{exec_id}/json").json().get("ExitCode")
        except ContainerFailed as error:
            if not expired.is_set():
                error.after(stdout.text(), stderr.text())
                raise
            exit_code = None
        finally:
            timer.cancel()
        if expired.is_set():
            raise BuildTimeout(step=" ".join(command[:2]), seconds=deadline).after(stdout.text(), stderr.text())
        if self._killed.is_set():
            raise ContainerFailed(reason="it was stopped from outside").after(stdout.text(), stderr.text())
        return CommandResult(int(exit_code if exit_code is not None else -1), stdout.text(), stderr.text())

    def put(self, path: str, content: bytes, mode: int) -> None:
        """See BuildContainer."""
        with io.BytesIO() as buffer:
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                for parent in reversed(Path(path).parents[:-1]):
                    archive.addfile(_entry(str(parent), directory=True, mode=0o755))
                archive.addfile(_entry(path, size=len(content), mode=mode), io.BytesIO(content))
            with _podman_answers("take a file"):
                if not self._container.put_archive("/builder", buffer.getvalue()):
                    raise ContainerFailed(reason="podman did not take a file")

    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        """See BuildContainer."""
        with _podman_answers("hand out the images"):
            # podman-py's get_archive takes the whole archive into memory, twice, before it hands out the first piece.
            answer = self._client.api.get(f"/containers/{self._container.id}/archive", params={"path": [path]}, stream=True)
            with contextlib.closing(answer) as response:
                response.raise_for_status()
                yield from pieces_of(response, deadline)

    def disk_taken(self) -> int:
        """See BuildContainer."""
        # A connection of its own, as for a kill.
        with _podman_answers("tell the size of a container"), PodmanClient(base_url=self._socket, timeout=LOOK_TIMEOUT) as client:
            answer = client.api.get(f"/containers/{self._container.id}/json", params={"size": True})
            answer.raise_for_status()
            # podman says 0 where a file vanished while it counted, and a build can see to that. What it runs has written something by then.
            if not (taken := int(answer.json().get("SizeRw") or 0)):
                raise ContainerFailed(reason="podman cannot tell how much disk it takes")
            return taken

    def disk_free(self) -> int:
        """See BuildContainer."""
        # What podman's `/info` tells of its disk counts what only root may fill. So it is asked inside, but by root: the user as whom
        # builds run can neither end nor stop root's processes, and cannot change its programs.
        with _podman_answers("tell how much disk is left"), PodmanClient(base_url=self._socket, timeout=LOOK_TIMEOUT) as client:
            inside = PodmanContainer(client, self._container, socket=self._socket)
            pieces = inside._output(inside._exec(_FREE_SPACE, user=_ROOT), LOOK_TIMEOUT)
            told = b"".join(out or b"" for out, _ in pieces).split()
            if len(told) != 2:  # noqa: PLR2004  # Blocks and their size.
                raise ContainerFailed(reason="it does not tell how much disk is left")
            return int(told[0]) * int(told[1])

    def admit(self, feeds: Collection[str]) -> None:
        """See BuildContainer."""
        if self._fence:
            with _podman_answers("open the network of a build container"):
                self._fence.admit(feeds)

    def kill(self) -> None:
        """See BuildContainer."""
        self._killed.set()
        # A connection of its own: the one in use is busy with the output of the command to be ended.
        with contextlib.suppress(PodmanError, RequestException, OSError), PodmanClient(base_url=self._socket, timeout=API_TIMEOUT) as client:
            client.api.post(f"/containers/{self._container.id}/kill", params={"signal": "KILL"})

    def remove(self) -> None:
        """See BuildContainer."""
        # With what depends on it: a worker that died while the fence went up has left a second container in its network.
        with contextlib.suppress(PodmanError, RequestException, OSError):
            self._client.api.delete(f"/containers/{self._container.id}", params={"force": True, "v": True, "timeout": 0, "depend": True})

    def _output(self, exec_id: str, timeout: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Start a prepared command and yield what it prints, standard output and error apart."""
        order = json.dumps({"Detach": False, "Tty": False})
        answer = self._client.api.post(f"/exec/{exec_id}/start", data=order, stream=True, timeout=timeout)
        with contextlib.closing(answer) as response:
            response.raise_for_status()
            frames: Any = stream_frames(response, demux=True)
            yield from frames

    def _exec(self, command: Sequence[str], *, user: str = "") -> str:
        """Prepare a command, to be run as the image's own user where no other is named."""
        order = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), "Tty": False, "User": user}
        response = self._client.api.post(f"/containers/{self._container.id}/exec", data=json.dumps(order))
        response.raise_for_status()
        return str(response.json()["Id"])


class PodmanEngine:
    """podman, through its service's socket."""

    def __init__(self, settings: Settings, *, system: str) -> None:
        self._settings, self._system = settings, system
        self._socket = f"unix://{settings.container_socket_path.absolute()}"
        self._client = PodmanClient(base_url=self._socket, timeout=API_TIMEOUT)

    def pin(self, image: BuilderImage) -> BuilderImage:
        """See ContainerEngine."""
        with _podman_answers("look at the ImageBuilder's image"):
            is_current = self._ensure_image(image)
            response = self._client.api.get(f"/images/{quote(image.name, safe='')}/json")
            response.raise_for_status()
            found = response.json()
            return replace(image, id=str(found["Id"]), digest=str(found["Digest"]), pull_failed=not is_current)

    def start(self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()) -> BuildContainer:
        """See ContainerEngine."""
        pinned = image if image.id else self.pin(image)
        with _podman_answers("start a build container"):
            labels = {LABEL_SYSTEM: self._system, LABEL_KEY: key, LABEL_ATTEMPT: str(attempt)}
            created = self._client.containers.create(
                pinned.id,
                command=["sleep", str(self._settings.build_deadline)],
                labels=labels,
                cap_drop=["all"],
                no_new_privileges=True,
                image_volume_mode="ignore",
                pids_limit=self._settings.container_pids,
                mem_limit=f"{self._settings.container_memory_mb}m",
                memswap_limit=f"{self._settings.container_memory_mb}m",
                cpu_period=CPU_PERIOD,
                cpu_quota=int(self._settings.container_cpus * CPU_PERIOD),
                **self._network(),
            )
            fence = Fence(self._client.api, self._settings, image=pinned.id, container=str(created.id), labels=labels)
            container = PodmanContainer(self._client, created, socket=self._socket, fence=fence)
            try:
                created.start()
                fence.close(feeds)
            except BaseException:
                container.remove()
                raise
            return container

    def has(self, image: BuilderImage) -> bool:
        """See ContainerEngine."""
        with _podman_answers("look for an ImageBuilder"):
            return bool(self._client.images.exists(image.name))

    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        """See ContainerEngine."""
        with _podman_answers("list the build containers"):
            response = self._client.api.get("/containers/json", params={"all": True, "filters": json.dumps({"label": [LABEL_SYSTEM]})})
            response.raise_for_status()
            found: list[tuple[str, int, BuildContainer]] = []
            for entry in response.json():
                labels = entry["Labels"]
                if labels[LABEL_SYSTEM] != self._system and entry["State"] != "exited":
                    continue
                container = self._client.containers.prepare_model(attrs=entry)
                found.append((labels[LABEL_KEY], int(labels.get(LABEL_ATTEMPT) or 0), PodmanContainer(self._client, container, socket=self._socket)))
            return found

    def close(self) -> None:
        """See ContainerEngine."""
        self._client.close()  # type: ignore[no-untyped-call]  # podman-py leaves it untyped.

    def _network(self) -> Mapping[str, Any]:
        name = self._settings.container_network
        return {"network_mode": "none"} if name == "none" else {"network_mode": "bridge", "networks": {name: {}}}

    def _ensure_image(self, image: BuilderImage) -> bool:
        """Pull the image where that is asked for; False where that failed, and there is an older copy to be used.

        Raises ImageBuilderMissing, ContainerFailed and BuildTimeout.
        """
        policy = "newer" if image.is_moving and self._settings.pull_policy != "never" else self._settings.pull_policy
        if image.name.startswith("localhost/"):
            policy = "never"  # Such a name has no registry behind it.
        exists = self._client.images.exists(image.name)
        if policy == "never" or (policy == "missing" and exists):
            if not exists:
                raise image.missing()
            return True
        # With its own policy `newer`, podman keeps to itself that a pull failed where there is a copy. Layers that are there are not fetched again.
        try:
            pull(lambda: self._ask_for(image, "always" if policy == "newer" else policy), image, deadline=self._settings.pull_deadline)
        except AsuError as error:
            if not exists:
                raise
            log.warning("%s is not pulled, the copy at hand is used: %s", image.name, error.detail)
            return False
        return True

    def _ask_for(self, image: BuilderImage, policy: str) -> str:
        """Return podman's whole answer to a pull, or an error in its form; over a connection of its own, which may be left behind."""
        # The deadline is `pull`'s to keep: a connection that gave up at the same moment would tell another error, whichever came first.
        try:
            with PodmanClient(base_url=self._socket, timeout=self._settings.pull_deadline + API_TIMEOUT) as client:
                return str(client.api.post("/images/pull", params={"reference": image.name, "policy": policy, "quiet": True}).text)
        except (PodmanError, RequestException, OSError) as error:
            return json.dumps({"error": f"podman does not answer ({type(error).__name__})"})


def _entry(name: str, *, mode: int, size: int = 0, directory: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    entry.mode, entry.size = mode, size
    entry.uid = entry.gid = 1000  # The user of the ImageBuilder's images.
    return entry
