"""Every setting, in one frozen object.

Read from the environment (upper case names) and from the TOML file that `ASU_CONFIG` names (default
`asu.toml` in the working directory); the environment wins. Read once, by `__main__`, and passed
down; nothing else looks at the environment.
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

COPY_MB_PER_SECOND = 20  # MiB; what an old hard disk takes while others use it, too.


def _listed(value: object) -> object:
    """Return what a variable lists: a JSON array, or words with commas or blanks between them; all else is as it was."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"begins as a JSON array and is none: {error}") from None
    return [word for word in re.split(r"[,\s]+", value) if word]


def _addresses(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses in their one spelling; a mistake is told by its place, since an address may hold a password."""
    addresses = []
    for number, entry in enumerate(entries, start=1):
        try:
            addresses.append(FeedUrl.parse(entry).text)
        except InvalidFeedError as error:
            raise ValueError(
                f"entry {number} {error}; write it such as https://feeds.example.org/packages"
            ) from None
    return tuple(addresses)


DelayList = Annotated[tuple[NonNegativeFloat, ...], NoDecode, BeforeValidator(_listed)]
AddressList = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_addresses)
]


class UnusableSettings(Exception):
    """What the operator has set cannot be used; `mistakes` are sentences that name each setting and never what it was set to."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(mistakes))


class Settings(BaseSettings):
    """What an operator can set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    redis_url: Annotated[
        str, Field(description="The Redis or Valkey server with queue and build records.")
    ] = "redis://127.0.0.1:6379/0"
    upstream_url: Annotated[
        str, Field(description="The OpenWrt downloads server, as this server reaches it.")
    ] = "https://downloads.openwrt.org"
    upstream_is_private: Annotated[
        bool,
        Field(
            description="Whether a public name in UPSTREAM_URL may have a private address; an address itself, or a name without a dot, always may."
        ),
    ] = False
    public_upstream_url: Annotated[
        str | None,
        Field(
            description="The downloads server as devices reach it, which owut fetches from; unset, that is UPSTREAM_URL."
        ),
    ] = None
    builder_upstream_url: Annotated[
        str | None,
        Field(
            description="The downloads server as build containers reach it, where snapshot builders come from; unset, that is UPSTREAM_URL."
        ),
    ] = None
    base_container: Annotated[
        str, Field(description="Name of the ImageBuilder's container images, without tag.")
    ] = "ghcr.io/openwrt/imagebuilder"
    prepare_service_url: Annotated[
        str | None,
        Field(description="The asu-prepare service; without it the API resolves previews itself."),
    ] = None
    prepare_deadline: Annotated[
        float, Field(gt=0, description="Seconds until a preview by asu-prepare is given up.")
    ] = 3.0
    build_key: Annotated[
        Path | None,
        Field(
            description="Secret key (usign) that images are signed with; its certificates are in `.ucert` beside it."
        ),
    ] = None
    builder_id: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$",
            description="URI by which provenances name this server as the builder; unset, it is made of the name that its Redis drew.",
        ),
    ] = None
    store_path: Annotated[
        Path,
        Field(
            description="Directory of the finished images, seen by API and workers alike; with `S3_BUCKET`, of those that are being made."
        ),
    ] = Path("store")
    s3_bucket: Annotated[
        str | None,
        Field(
            description="Bucket of an S3-compatible server that takes the finished images instead."
        ),
    ] = None
    s3_endpoint_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s?#]+$",
            description="Address of that server; without it, Amazon's of the region.",
        ),
    ] = None
    s3_region: Annotated[str, Field(description="Region of the bucket.")] = "us-east-1"
    s3_prefix: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9_.-][A-Za-z0-9_./-]*)?$",
            description="What the names of all objects begin with, a slash at its end included.",
        ),
    ] = ""
    s3_access_key_id: Annotated[
        SecretStr | None,
        Field(description="Key for the bucket; without it, wherever boto3 finds one."),
    ] = None
    s3_secret_access_key: Annotated[SecretStr | None, Field(description="The key's secret.")] = None
    s3_public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s?#]+$",
            description="Address of the bucket to which downloads are redirected; without it they go through the API, as older clients need.",
        ),
    ] = None
    container_socket_path: Annotated[
        Path, Field(description="Socket of the podman service that runs the builds.")
    ] = Path("/run/podman/podman.sock")
    container_network: Annotated[
        str,
        Field(description="podman network of the build containers; `none` gives them no network."),
    ] = "asu-build"
    container_fence: Annotated[
        bool,
        Field(
            description="Whether builds are kept from what CONTAINER_EGRESS does not name; off where a firewall of the machine does so."
        ),
    ] = True
    container_egress: Annotated[
        Literal["feeds", "world"],
        Field(
            description="What builds may reach: the servers of their feeds (UPSTREAM_URL or BUILDER_UPSTREAM_URL, the ImageBuilder's own, those of "
            "the request, CONTAINER_MAY_REACH), where they redirect from http to https as well, and no name server; or all "
            "that has a public address."
        ),
    ] = "feeds"
    container_may_reach: Annotated[
        AddressList,
        Field(
            description="Further servers that builds may reach wherever they are, such as http://10.0.0.5:8080: in private networks, "
            "or where a feed redirects to, but for its own https."
        ),
    ] = ()
    container_memory_mb: Annotated[
        PositiveInt, Field(description="Memory limit of a build container, in MiB.")
    ] = 2048
    # x86 with the largest root file system makes eight images of over 1 GiB before it packs them.
    container_disk_mb: Annotated[
        PositiveInt,
        Field(
            description="Most that a build container may write to its disk, in MiB; looked at every five seconds."
        ),
    ] = 16_384
    container_pids: Annotated[
        PositiveInt, Field(description="Most processes in a build container.")
    ] = 1024
    container_cpus: Annotated[
        float, Field(gt=0, description="Processors that a build container may use.")
    ] = 2.0
    pull_policy: Annotated[
        Literal["missing", "newer", "never"],
        Field(description="When release images of the ImageBuilder are pulled."),
    ] = "missing"
    poll_patience: Annotated[
        float,
        Field(
            ge=0,
            le=25,
            description="Seconds that a poll waits for a Redis that does not answer: clients take a refused poll for the end.",
        ),
    ] = 15.0  # A restart takes a few seconds; the gateway gives up after 30.
    max_pending_jobs: Annotated[
        PositiveInt, Field(description="New builds are refused (529) while this many wait.")
    ] = 200
    # A provider's NAT or a build farm may well ask for a hundred different images, and still leaves
    # room for all others.
    client_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Part of these places that builds asked for from one public address (IPv6: one /64) may hold (else 429).",
        ),
    ] = 0.5
    max_attempts: Annotated[
        PositiveInt, Field(description="How often a build is begun when its worker is lost.")
    ] = 3
    retry_delays: Annotated[
        DelayList,
        Field(
            description="Seconds until a build that failed by the server's or upstream's fault is begun again: before its second attempt, its third, "
            "and so on, as JSON array or with commas between; `[]` for never."
        ),
    ] = (5.0, 30.0)
    info_deadline: Annotated[PositiveInt, Field(description="Seconds for `make info`.")] = 60
    manifest_deadline: Annotated[
        PositiveInt, Field(description="Seconds for `make manifest`, which downloads all packages.")
    ] = 300
    image_deadline: Annotated[PositiveInt, Field(description="Seconds for `make image`.")] = 900
    pull_deadline: Annotated[
        PositiveInt,
        Field(
            description="Seconds for pulling an ImageBuilder image, and for unpacking a snapshot's."
        ),
    ] = 600
    max_output_mb: Annotated[
        PositiveInt,
        Field(
            description="Most that a build may put into the store, in MiB; beyond, `output-too-large`."
        ),
    ] = 4096
    build_ttl: Annotated[
        PositiveInt,
        Field(
            description="Seconds that a finished build of a release is remembered and its files are kept."
        ),
    ] = 86_400
    build_ttl_unversioned: Annotated[
        PositiveInt,
        Field(
            description="Seconds that a finished build of a snapshot is remembered: of `SNAPSHOT`, or of a branch's."
        ),
    ] = 3_600
    build_defaults_ttl: Annotated[
        PositiveInt,
        Field(
            description="Most seconds that a finished build with a first-boot script is remembered: it is of use to one device only."
        ),
    ] = 1_800
    build_failure_ttl: Annotated[
        PositiveInt, Field(description="Seconds that a failure of the user's making is remembered.")
    ] = 600
    retry_failure_ttl: Annotated[
        PositiveInt,
        Field(
            description="Seconds that pollers still see a failure that a new request would retry."
        ),
    ] = 60
    store_budget_mb: Annotated[
        int,
        Field(
            ge=0,
            description="MiB that the store may hold; beyond, builds that were of no use for longest are removed before their time. 0: any.",
        ),
    ] = 0
    metadata_ttl: Annotated[
        PositiveInt,
        Field(description="Seconds until a document of the downloads server is revalidated."),
    ] = 300
    oldest_branch: Annotated[str, Field(description="The oldest branch that is served.")] = "21.02"
    allow_defaults: Annotated[
        bool, Field(description="Whether requests may carry a first-boot script.")
    ] = False
    max_defaults_length: Annotated[
        PositiveInt, Field(description="Most bytes of a first-boot script.")
    ] = 20_480
    max_custom_rootfs_size_mb: Annotated[
        PositiveInt, Field(description="Largest `rootfs_size_mb`.")
    ] = 1_024
    repository_allow_list: Annotated[
        AddressList,
        Field(
            description="Addresses below which requests may bring package feeds, as JSON array or with commas between; without any, none is admitted."
        ),
    ] = ()
    server_contact: Annotated[
        str, Field(description="How to reach the operator; shown in overview.json.")
    ] = ""
    cors: Annotated[
        bool, Field(description="Whether the API adds CORS headers; off where a proxy adds them.")
    ] = True
    trusted_proxies: Annotated[
        str,
        Field(
            description="Addresses or networks, comma separated, whose word (`X-Forwarded-For`) about a caller's address is taken: the gateway's."
        ),
    ] = "127.0.0.1"
    disk_reserve_mb: Annotated[
        int,
        Field(
            ge=0,
            description="MiB that stay free where images lie and are made: below it new builds are refused (529), accepted ones wait, all "
            "else goes on. `/readyz?verbose`, `asu check` and a metric tell.",
        ),
    ] = 1024
    audit_log: Annotated[
        Path | None,
        Field(
            description="File that workers add a line of JSON to for each build that ended, with the hashes of its files; each machine has its own."
        ),
    ] = None
    log_format: Annotated[
        Literal["text", "json"], Field(description="Lines for people, or one JSON object per line.")
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Least severity that is logged."),
    ] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # The signature is pydantic's; dotenv and secret files are not used.
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, Path(os.environ.get("ASU_CONFIG", "asu.toml"))),
        )

    @property
    def copy_deadline(self) -> int:
        """Seconds for copying a build out of its container: as much as one may leave, and a minute for a podman that is busy."""
        return self.max_output_mb // COPY_MB_PER_SECOND + 60

    @property
    def build_deadline(self) -> int:
        """Seconds that one attempt may take in all, with a minute for starting and publishing.

        `info_deadline` counts eight times: looking for the builder, reading its feeds, its keys and
        its Makefile, choosing a file system and hashing the indexes take seven more commands as
        short as `make info`; `pull_deadline` twice: a snapshot's image is pulled, and then fetches
        its builder.
        """
        commands = 8 * self.info_deadline + self.manifest_deadline + self.image_deadline
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
    """Return what is set in the environment and in the file; raises UnusableSettings."""
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
