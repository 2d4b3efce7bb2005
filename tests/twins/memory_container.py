"""The containers' in-memory twin: a scripted ImageBuilder without podman, make or files on a disk.

It understands the commands of `imagebuilder.py` and `builder_steps.py` and nothing else, keeps what
it was asked, and fails where a test wants it to.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from typing_extensions import override

from asu.disk_space import FreeSpace
from asu.errors import AsuError, BuildTimeout, ContainerFailed
from asu.worker.builder_image import BuilderImage
from asu.worker.container import (
    GIVEN_UP,
    BuildContainer,
    CommandResult,
    ContainerEngine,
    Listener,
    ignored,
)
from asu.worker.imagebuilder import BUILDER

PIECE = 512  # Bytes; small, so that readers meet members that lie across pieces.
NOISE = (
    "Generate local signing keys...\nPackage list missing or not up-to-date, generating"
    " it.\n\nBuilding package index...\n"
)
# What commands lead to before `setup.sh` has fetched the builder.
NOT_UNPACKED = {
    "test": CommandResult(1, "", ""),
    "info": CommandResult(2, "", "make: *** No rule to make target 'info'.  Stop.\n"),
}
REPOSITORIES = (
    "src/gz openwrt_base https://mirror.example/base\nsrc imagebuilder file:packages\noption"
    " check_signature\n"
)
# What of the genuine Makefile says how images are made.
MAKEFILE = """\
_call_image: staging_dir/host/.prereq-build
\trm -rf $(TARGET_DIR) $(TARGET_DIR_ORIG)
\t$(MAKE) package_reload
\t$(MAKE) package_install
\t$(MAKE) -s prepare_rootfs
\t$(MAKE) -s build_image
\t$(MAKE) -s json_overview_image_info
\t$(MAKE) -s checksum

_call_manifest: FORCE
\trm -rf $(TARGET_DIR)
\t$(MAKE) package_reload >/dev/null
\t$(MAKE) package_install >/dev/null

image:
\t$(MAKE) -s _check_profile
\t(unset PROFILE FILES PACKAGES MAKEFLAGS; \\
\t$(MAKE) -s _call_image \\
\t\t$(if $(PROFILE),USER_PROFILE="$(PROFILE_FILTER)") \\
\t\t$(if $(FILES),USER_FILES="$(FILES)") \\
\t\t$(if $(PACKAGES),USER_PACKAGES="$(PACKAGES)") \\
\t\t$(if $(BIN_DIR),BIN_DIR="$(BIN_DIR)") \\
\t\t$(if $(DISABLED_SERVICES),DISABLED_SERVICES="$(DISABLED_SERVICES)") \\
\t\t$(if $(ROOTFS_PARTSIZE),CONFIG_TARGET_ROOTFS_PARTSIZE="$(ROOTFS_PARTSIZE)"))
"""
ROOMY = 2**40  # Bytes.
# What opkg says of a feed that it uses; apk says nothing.
USED = (
    "Downloading {0}/Packages.gz\nUpdated list of available packages in dl\nDownloading"
    " {0}/Packages.sig\nSignature check passed.\n"
)


@dataclass(slots=True)
class Script:
    """What the ImageBuilder has and how it behaves; tests change what they are about.

    `failures`, `seconds` and `before` are looked up by make's goal: info, manifest or image;
    `seconds` also by `copy`. `before` is called when the command begins, or the start (`start`) or
    removal (`remove`) of a container; `extra` is put into the output as it is, whatever its kind.
    """

    revision: str = "r28959-29397011cc"
    defaults: tuple[str, ...] = ("base-files", "dnsmasq", "dropbear")
    profiles: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"tplink_archer-c7-v5": ("kmod-usb2", "-dropbear")}
    )
    versions: dict[str, str] = field(default_factory=dict)
    filesystems: tuple[str, ...] = ("SQUASHFS", "TARGZ")
    failures: dict[str, CommandResult | AsuError] = field(default_factory=dict)
    seconds: dict[str, int] = field(default_factory=dict)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    extra: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)
    image_types: tuple[str, ...] = ("sysupgrade", "factory")
    # What stands in profiles.json beside, or in the place of, what the ImageBuilder writes: at its
    # top, in its profile, in each image.
    target_facts: dict[str, Any] = field(default_factory=dict)
    profile_facts: dict[str, Any] = field(default_factory=dict)
    image_facts: dict[str, Any] = field(default_factory=dict)
    raw_fact: bytes = b""  # One more value at its top, byte by byte.
    # A SHA-256 under which the first image is listed once more, before all others.
    falsely_told: str = ""
    wrong_hash: bool = False
    wrong_unsigned_hash: bool = False
    builds_profile: str = ""  # Another device than the one that was asked for.
    # Of an image's type, where it is not squashfs.
    filesystem_of: dict[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()  # Names of the files of the builder's own keys.
    unusable_feeds: tuple[str, ...] = ()  # Names of opkg's feeds that do not answer.
    # What stands in the list of feeds, whatever the package manager.
    repositories: str = REPOSITORIES
    makefile: str = MAKEFILE
    # Names of the files in which the package manager keeps what its feeds hold.
    indexes: tuple[str, ...] = ("openwrt_base",)
    noise: str = NOISE
    disk_taken: int | AsuError = 0
    disk_free: int | AsuError = ROOMY
    file_count: int = 50_000
    # As a snapshot's image, which holds no builder but the script that fetches it.
    needs_setup: bool = False


class MemoryContainer(BuildContainer):
    """A container of the twin's."""

    def __init__(
        self, script: Script, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> None:
        self.key, self.attempt = key, attempt
        self.commands: list[list[str]] = []
        self.files: dict[str, tuple[bytes, int]] = {}
        self.feeds: list[str] = list(feeds)
        self.killed = self.removed = False
        self._script = script
        self._is_unpacked = not script.needs_setup
        self._is_installed = False
        self._files = {
            f"{BUILDER}/Makefile": script.makefile,
            f"{BUILDER}/repositories.conf": script.repositories,
            f"{BUILDER}/repositories": script.repositories,
        }
        self._output: dict[str, bytes] = {}

    @override
    def run(
        self,
        command: Sequence[str],
        *,
        deadline: int,
        heard: Listener = ignored,
        stop_at: str = "",
    ) -> CommandResult:
        result = self._run(command, deadline=deadline)
        heard(result.stdout.encode())
        heard(result.stderr.encode())
        if stop_at and re.search(stop_at, result.stderr):
            return replace(result, exit_code=GIVEN_UP)
        return result

    def _run(self, command: Sequence[str], *, deadline: int) -> CommandResult:
        self.commands.append(list(command))
        goal = goal_of(command)
        self._script.before.get(goal, lambda: None)()
        if self._script.seconds.get(goal, 0) > deadline:
            self.killed = True
            raise BuildTimeout(step=" ".join(command[:2]), seconds=deadline).after(
                "", self._script.noise
            )
        if self.killed:
            raise ContainerFailed(reason="it was stopped from outside")
        failure = self._script.failures.get(goal)
        if isinstance(failure, AsuError):
            raise failure
        if failure is not None:
            return failure
        if not self._is_unpacked and goal in NOT_UNPACKED:
            return NOT_UNPACKED[goal]
        arguments = _arguments(command)
        answers: Mapping[str, Callable[[Mapping[str, str]], str]] = {
            "info": self._info,
            "manifest": self._manifest,
            "image": self._image,
            "grep": lambda _: "".join(
                f"CONFIG_TARGET_ROOTFS_{symbol}=y\n" for symbol in self._script.filesystems
            ),
            "sed": lambda _: "",
            "true": lambda _: "",
            "env": self._set_up,
            "test": lambda _: "",
            "tail": lambda _: "\n".join(
                f"==> {path} <==\n{self._files[path]}" for path in command[4:]
            ),
            "find": lambda _: self._indexes(),
            "ls": lambda _: "\n".join(self._script.keys),
        }
        stdout, stderr = answers[goal](arguments), ""
        if goal in {"manifest", "image"}:
            stderr = self._script.noise + ("" if command[1] == "-s" else self._used_feeds())
        return CommandResult(0, stdout, stderr)

    @override
    def put(self, path: str, content: bytes, mode: int) -> None:
        self.files[path] = (content, mode)

    @override
    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        if self._script.seconds.get("copy", 0) > deadline:
            raise BuildTimeout(step="copying the images", seconds=deadline)
        buffer = io.BytesIO()
        directory = PurePosixPath(path).name
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            top = tarfile.TarInfo(directory)
            top.type = tarfile.DIRTYPE
            archive.addfile(top)
            for name, content in self._output.items():
                archive.addfile(regular(f"{directory}/{name}", content), io.BytesIO(content))
            for member, content in self._script.extra:
                archive.addfile(member, io.BytesIO(content))
        data = buffer.getvalue()
        for start in range(0, len(data), PIECE):
            if self.killed:
                raise ContainerFailed(reason="podman did not hand out the images")
            yield data[start : start + PIECE]

    @override
    def disk_taken(self) -> int:
        return _told(self._script.disk_taken)

    @override
    def disk_free(self) -> FreeSpace:
        return FreeSpace(_told(self._script.disk_free))

    @override
    def count_files(self) -> int:
        return self._script.file_count

    @override
    def admit(self, feeds: Collection[str]) -> None:
        self.feeds += feeds

    @override
    def kill(self) -> None:
        self.killed = True

    @override
    def remove(self) -> None:
        self._script.before.get("remove", lambda: None)()
        self.killed = self.removed = True

    def _set_up(self, _: Mapping[str, str]) -> str:
        self._is_unpacked = True
        return ""

    def _indexes(self) -> str:
        return "".join(
            f"{hashlib.sha256(name.encode()).hexdigest()}  {BUILDER}/dl/{name}\n"
            for name in self._script.indexes
        )

    def _used_feeds(self) -> str:
        lines = [
            line.split()
            for line in self.files.get("repositories.conf", (b"", 0))[0].decode().splitlines()
        ]
        return "".join(
            USED.format(words[2])
            for words in lines
            if words[:1] == ["src/gz"] and words[1] not in self._script.unusable_feeds
        )

    def _info(self, _: Mapping[str, str]) -> str:
        profiles = "".join(
            f"{name}:\n    TP-Link Archer C7 v5\n    Packages: {' '.join(own)}\n"
            for name, own in self._script.profiles.items()
        )
        defaults = " ".join(self._script.defaults)
        return (
            f'Current Revision: "{self._script.revision}"\nDefault Packages: {defaults}\nAvailable'
            f" Profiles:\n\n{profiles}"
        )

    def _installed(self, arguments: Mapping[str, str]) -> dict[str, str]:
        """Return name and version of all that would be installed: removals apply to defaults and to
        the request itself.
        """
        words = [*self._script.defaults, *self._script.profiles[arguments["PROFILE"]]]
        kept = [
            word for word in words if not word.startswith("-") and f"-{word}" not in words
        ] + arguments["PACKAGES"].split()
        names = {word for word in kept if not word.startswith("-") and f"-{word}" not in kept}
        return {name: self._script.versions.get(name, "1.0-r1") for name in sorted(names)}

    def _manifest(self, arguments: Mapping[str, str]) -> str:
        self._is_installed = True
        return "".join(
            f"{name} - {version}\n" for name, version in self._installed(arguments).items()
        )

    def _image(self, arguments: Mapping[str, str]) -> str:
        assert self._is_installed or "USER_PROFILE" not in arguments, "nothing is installed"
        profile, prefix = (
            arguments["PROFILE"],
            f"openwrt-24.10.4-{arguments['EXTRA_IMAGE_NAME']}-ath79-generic-{arguments['PROFILE']}",
        )
        images = []
        for kind in self._script.image_types:
            name, content = (
                f"{prefix}-squashfs-{kind}.bin",
                json.dumps([kind, self._installed(arguments)]).encode(),
            )
            digest = hashlib.sha256(b"" if self._script.wrong_hash else content).hexdigest()
            unsigned = (
                hashlib.sha256(b"").hexdigest() if self._script.wrong_unsigned_hash else digest
            )
            images.append(
                {
                    "filesystem": self._script.filesystem_of.get(kind, "squashfs"),
                    "name": name,
                    "sha256": digest,
                    "sha256_unsigned": unsigned,
                    "type": kind,
                    **self._script.image_facts,
                }
            )
            self._output[name] = content
        if self._script.falsely_told:
            images.insert(0, {**images[0], "sha256": self._script.falsely_told})
        entry = {
            "device_packages": [],
            "image_prefix": prefix,
            "images": images,
            "supported_devices": [],
            "titles": [{"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"}],
            **self._script.profile_facts,
        }
        document = {
            "arch_packages": "mips_24kc",
            "default_packages": sorted(self._script.defaults),
            "metadata_version": 1,
            "profiles": {self._script.builds_profile or profile: entry},
            "source_date_epoch": 1760891865,
            "target": "ath79/generic",
            "version_code": self._script.revision,
            "version_number": "24.10.4",
            **self._script.target_facts,
        }
        if images:
            raw = b', "raw": %b' % self._script.raw_fact if self._script.raw_fact else b""
            self._output["profiles.json"] = json.dumps(document).encode()[:-1] + raw + b"}"
        return "Calculating checksums...\n"


class MemoryEngine(ContainerEngine):
    """The in-memory twin of an engine: all containers that it ever made stay to be looked at."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.images: dict[str, bool] = {}
        self.pinned: list[BuilderImage] = []
        self.started: list[BuilderImage] = []
        self.containers: list[MemoryContainer] = []
        self.networks: set[str] = set()  # The names of their workers.
        self.failure: AsuError | None = None
        self.has_image = True
        # And there is an older copy, as there is where pulls are not wanted.
        self.pull_fails = False

    @override
    def pin(self, image: BuilderImage) -> BuilderImage:
        self.images[image.name] = image.is_moving
        if self.failure:
            raise self.failure
        if not self.has_image:
            raise image.missing()
        content = hashlib.sha256(f"{image.name} {self.script.revision}".encode()).hexdigest()
        self.pinned.append(
            replace(image, id=content, digest=f"sha256:{content}", may_be_old=self.pull_fails)
        )
        return self.pinned[-1]

    @override
    def start(
        self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> BuildContainer:
        self.script.before.get("start", lambda: None)()
        self.started.append(image if image.id else self.pin(image))
        container = MemoryContainer(self.script, key=key, attempt=attempt, feeds=feeds)
        self.containers.append(container)
        return container

    @override
    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        if self.failure:
            raise self.failure
        return [
            (container.key, container.attempt, container)
            for container in self.containers
            if not container.removed
        ]

    @override
    def remove_network(self) -> None:
        self.networks.clear()

    @override
    def remove_networks(self, alive: Collection[str]) -> None:
        self.networks &= set(alive)

    @override
    def close(self) -> None:
        pass


def goal_of(command: Sequence[str]) -> str:
    """Return what a command is for: a goal of make, where resumed images are `image`, or a
    program.
    """
    if command[0] != "make":
        return command[0]
    return "image" if command[1:] and command[1] == "-s" else command[1]


def _arguments(command: Sequence[str]) -> dict[str, str]:
    """Return the values of a make command under the names that `make image` has for them."""
    values = dict(word.split("=", 1) for word in command[2:] if "=" in word)
    if "USER_PROFILE" in values:
        values["PROFILE"] = values["USER_PROFILE"].removeprefix("DEVICE_")
        values["PACKAGES"] = values["USER_PACKAGES"]
    return values


def _told(size: int | AsuError) -> int:
    if isinstance(size, AsuError):
        raise size
    return size


def regular(name: str, content: bytes) -> tarfile.TarInfo:
    """Return the header of a regular file in an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member
