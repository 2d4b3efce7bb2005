"""Every setting, in one frozen object, which `__main__` reads once and passes down.

They come from the environment (upper case names) and from the TOML file that `ASU_CONFIG` names
(default `asu.toml`); the environment wins.
"""

import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .resolution import FeedUrl, InvalidFeedError

CONFIG = "asu.toml"  # Where ASU_CONFIG names no other file.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
COPY_MB_PER_SECOND = 20  # MiB; an old hard disk does as much while others use it, too.


def _seconds(value: object) -> object:
    """Return the seconds in a text such as 90, 30m, 24h or 7d."""
    found = re.fullmatch(r" *([0-9]{1,9}) *([smhdw]) *", str(value))
    return int(found[1]) * UNITS[found[2]] if found else value


def _listed(value: object) -> object:
    """Return the list in a variable: a JSON array, or words with commas or blanks between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"begins as a JSON array and is none: {error}") from None
    return [word for word in re.split(r"[,\s]+", value) if word]


def _addresses(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses in their one spelling. Name mistakes by place: they may hold passwords."""
    addresses = []
    for number, entry in enumerate(entries, start=1):
        try:
            addresses.append(FeedUrl.parse(entry).text)
        except InvalidFeedError as error:
            raise ValueError(
                f"entry {number} {error}; write it such as https://feeds.example.org/packages"
            ) from None
    return tuple(addresses)


Seconds = Annotated[PositiveInt, BeforeValidator(_seconds)]
DelayList = Annotated[tuple[NonNegativeFloat, ...], NoDecode, BeforeValidator(_listed)]
HttpUrlText = Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
AddressList = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_addresses)
]


class UnusableSettings(Exception):
    """Settings that cannot be used. `mistakes` are sentences with a setting, never its value."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(mistakes))


class Settings(BaseSettings):
    """All settings. The text below each is its description in REFERENCE.md."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    redis_url: str = "redis://127.0.0.1:6379/0"
    """The Redis or Valkey server with queue and build records."""
    upstream_url: str = "https://downloads.openwrt.org"
    """The OpenWrt downloads server, as this server reaches it."""
    upstream_is_private: bool = False
    """Whether a public name in UPSTREAM_URL may have a private address; an address, or a name
    without a dot, always may."""
    public_upstream_url: str | None = None
    """The downloads server as devices reach it, where owut fetches from; unset: UPSTREAM_URL."""
    builder_upstream_url: str | None = None
    """The downloads server as build containers reach it, where snapshot builders come from; unset:
    UPSTREAM_URL."""
    base_container: str = "ghcr.io/openwrt/imagebuilder"
    """Name of the ImageBuilder's container images, without tag."""
    prepare_service_url: str | None = None
    """The asu-prepare service; unset, the API makes all previews itself, and no worker compares
    what was foretold with what was built."""
    prepare_deadline: PositiveFloat = 3.0
    """Seconds until the API makes a preview itself because asu-prepare does not answer."""
    build_key: Path | None = None
    """Secret key (usign) that signs the images; its certificates are in `.ucert` beside it."""
    builder_id: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$")] = None
    """URI of this server as the builder in provenances; unset, made of a random name in Redis."""
    store_path: Path = Path("store")
    """Directory of the finished images, the same for API and workers; with `S3_BUCKET`, of images
    that are being made."""
    s3_bucket: str | None = None
    """Bucket of an S3-compatible server that takes the finished images instead."""
    s3_endpoint_url: HttpUrlText | None = None
    """Address of that server; unset, Amazon's of the region."""
    s3_region: str = "us-east-1"
    """Region of the bucket."""
    s3_prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-][A-Za-z0-9_./-]*)?$")] = ""
    """What the names of all objects begin with, with the slash at its end."""
    s3_access_key_id: SecretStr | None = None
    """Key for the bucket; unset, boto3 looks for one."""
    s3_secret_access_key: SecretStr | None = None
    """The key's secret."""
    s3_public_url: HttpUrlText | None = None
    """Address of the bucket to which downloads are redirected; unset, they go through the API, as
    older clients need."""
    container_socket_path: Path = Path("/run/podman/podman.sock")
    """Socket of the podman service that runs the builds."""
    container_network: str = "asu-build"
    """podman network after whose example each worker makes one for its builds; `none` gives them no
    network."""
    container_fence: bool = True
    """Whether builds are kept from what CONTAINER_EGRESS does not name; off where a firewall of the
    machine does so."""
    container_egress: Literal["feeds", "world"] = "feeds"
    """What builds may reach. `feeds`: no name server, only the servers of their feeds (UPSTREAM_URL
    or BUILDER_UPSTREAM_URL, the ImageBuilder's own, those of the request, CONTAINER_MAY_REACH), and
    where they redirect from http to https. `world`: all public addresses."""
    container_may_reach: AddressList = ()
    """Further servers that builds may reach, such as http://10.0.0.5:8080: in private networks, or
    where a feed redirects to another name."""
    container_memory_mb: PositiveInt = 2048
    """Memory limit of a build container, in MiB."""
    # x86 with the largest root file system makes eight images of over 1 GiB before it packs them.
    container_disk_mb: PositiveInt = 16_384
    """Most that a build container may write to its disk, in MiB; checked every five seconds."""
    container_pids: PositiveInt = 1024
    """Most processes in a build container."""
    container_cpus: PositiveFloat = 2.0
    """Processors that a build container may use."""
    pull_policy: Literal["missing", "newer", "never"] = "missing"
    """When release images of the ImageBuilder are pulled."""
    poll_patience: Annotated[float, Field(ge=0, le=25)] = 15.0
    """Seconds that a poll waits for a Redis that does not answer; clients take an error for the end
    of their build. Restarts take a few seconds, and the gateway gives up after 30."""
    max_pending_jobs: PositiveInt = 200
    """New builds are refused (529) while this many wait."""
    # A provider's NAT or a build farm may well ask for a hundred different images.
    client_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Part of these places for builds of one public address (IPv6: one /64); beyond, 429."""
    max_attempts: PositiveInt = 3
    """How often a build is begun when its worker is lost."""
    retry_delays: DelayList = (5.0, 30.0)
    """Seconds until a build that failed by the server's or upstream's fault begins again: before
    its second attempt, its third, and so on, as JSON array or with commas between; `[]`: never."""
    info_deadline: PositiveInt = 60
    """Seconds for `make info`."""
    manifest_deadline: PositiveInt = 300
    """Seconds for `make manifest`, which downloads all packages."""
    image_deadline: PositiveInt = 900
    """Seconds for `make image`."""
    pull_deadline: PositiveInt = 600
    """Seconds for pulling an ImageBuilder image, and for unpacking a snapshot's."""
    max_output_mb: PositiveInt = 4096
    """Most that a build may put into the store, in MiB; beyond, `output-too-large`."""
    build_ttl: Seconds = 86_400
    """Seconds that a finished build of a release is remembered and its files are kept; also 90s,
    30m, 24h or 7d, as all settings that end in TTL."""
    build_ttl_unversioned: Seconds = 3_600
    """Seconds that a finished build of `SNAPSHOT` or a branch's snapshot is remembered."""
    build_defaults_ttl: Seconds = 1_800
    """Most seconds that a finished build with a first-boot script is remembered: only one device
    has a use for it."""
    build_failure_ttl: Seconds = 600
    """Seconds that a failure of the user's making is remembered."""
    retry_failure_ttl: Seconds = 60
    """Seconds that polls still see a failure that a new request would retry."""
    store_budget_mb: NonNegativeInt = 0
    """MiB that the store may hold; beyond, builds that were unused for longest go first. 0: any."""
    metadata_ttl: Seconds = 300
    """Seconds until a document of the downloads server is revalidated."""
    oldest_branch: str = "21.02"
    """The oldest branch that is served."""
    allow_defaults: bool = False
    """Whether requests may carry a first-boot script."""
    max_defaults_length: PositiveInt = 20_480
    """Most bytes of a first-boot script."""
    max_custom_rootfs_size_mb: PositiveInt = 1_024
    """Largest `rootfs_size_mb`."""
    repository_allow_list: AddressList = ()
    """Addresses below which requests may bring package feeds, as JSON array or with commas between;
    unset, none is admitted."""
    server_contact: str = ""
    """How to reach the operator; shown in overview.json."""
    cors: bool = True
    """Whether the API adds CORS headers; off where a proxy adds them."""
    trusted_proxies: str = "127.0.0.1"
    """Addresses or networks, comma separated, that may name a caller's address (`X-Forwarded-For`):
    the gateway's."""
    package_changes_dir: Path | None = None
    """Directory of further package rules: files `*.toml` in the form of package_changes.toml, read
    again when they change. asu-prepare needs the same ones."""
    disk_reserve_mb: NonNegativeInt = 1024
    """MiB that stay free where images are kept and made. Below, new builds are refused (529),
    accepted ones wait, all else goes on; `/readyz?verbose`, `asu check` and a metric report it."""
    audit_log: Path | None = None
    """File to which workers add a line of JSON for each build that ended, with the hashes of its
    files; each machine has its own."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object per line."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda value: str(value).lower()),
    ] = "info"
    """Least severity that is logged."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # Not used, as the next.
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, Path(os.environ.get("ASU_CONFIG", CONFIG))),
        )

    @property
    def copy_deadline(self) -> int:
        """Seconds for copying a build out of its container, with a minute for a busy podman."""
        return self.max_output_mb // COPY_MB_PER_SECOND + 60

    @property
    def build_deadline(self) -> int:
        """Seconds that one attempt may take in all, with a minute for starting and publishing.

        `info_deadline` counts seven times: looking for the builder, reading its files and keys,
        choosing a file system and hashing the indexes take six more commands as short as
        `make info`; `pull_deadline` twice: a snapshot's image is pulled, and then fetches its
        builder.
        """
        commands = 7 * self.info_deadline + self.manifest_deadline + self.image_deadline
        # To be signed they are read again, and to a bucket they are copied once more.
        copies = bool(self.build_key) + bool(self.s3_bucket)
        return (
            2 * self.pull_deadline
            + commands
            + self.copy_deadline
            + copies * self.max_output_mb // COPY_MB_PER_SECOND
            + 60
        )


def read_settings() -> Settings:
    """Return the settings of the environment and the file; raise UnusableSettings."""
    try:
        return Settings()
    except ValidationError as error:
        raise UnusableSettings(
            [
                f"{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}"
                for one in error.errors(include_input=False)
            ]
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UnusableSettings([f"the file that ASU_CONFIG names is not TOML: {error}"]) from None
    except OSError as error:
        raise UnusableSettings(
            [f"the file that ASU_CONFIG names cannot be read ({error.strerror})"]
        ) from None
