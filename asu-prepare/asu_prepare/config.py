"""What an operator can set: one frozen object that `__main__` reads from the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings of the service; each is read from `PREPARE_` and its name in upper case."""

    model_config = SettingsConfigDict(
        env_prefix="PREPARE_",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    host: Annotated[str, Field(description="Address to listen on; `0.0.0.0` in a container.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int, Field(ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    ] = 8001
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda value: str(value).lower()),
        Field(
            description="Least severity that is logged; `debug` logs every request. "
            "`LOG_LEVEL` works too.",
            validation_alias=AliasChoices("PREPARE_LOG_LEVEL", "LOG_LEVEL"),
        ),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Field(description="Lines for people, or one JSON object per line.")
    ] = "text"
    upstream_url: Annotated[
        str,
        Field(
            description="The OpenWrt downloads server with the metadata of devices and packages. "
            "`UPSTREAM_URL` works too.",
            pattern=r"^https?://[^\s?#]+$",
            validation_alias=AliasChoices("PREPARE_UPSTREAM_URL", "UPSTREAM_URL"),
        ),
    ] = "https://downloads.openwrt.org"
    upstream_is_private: Annotated[
        bool,
        Field(
            description="Whether a public name in it may have a private address; an address "
            "itself, or a name without a dot, always may. "
            "`UPSTREAM_IS_PRIVATE` works too.",
            validation_alias=AliasChoices("PREPARE_UPSTREAM_IS_PRIVATE", "UPSTREAM_IS_PRIVATE"),
        ),
    ] = False
    metadata_ttl: Annotated[
        PositiveFloat,
        Field(description="Seconds until a document of the downloads server is revalidated."),
    ] = 300
    # A person waits for the preview; what could not be had within this time is had by the next
    # request.
    metadata_budget: Annotated[
        PositiveFloat,
        Field(description="Seconds that a request waits for the downloads server in all."),
    ] = 2
    # A pool of 12 000 packages has 2.5 MiB with opkg and 8 MiB with apk.
    solver_memory: Annotated[
        PositiveInt,
        Field(description="Bytes of prepared package indexes that are kept for forecasts."),
    ] = 64 * 1024 * 1024
    # The largest request seen from a real device is 14 KiB; a first-boot script of 64 KiB with
    # every character escaped still fits.
    max_body_bytes: Annotated[
        PositiveInt, Field(description="Largest request body; a larger one is answered with 413.")
    ] = 256 * 1024
    package_changes_dir: Annotated[
        Path | None,
        Field(
            description="Directory of further package rules: files `*.toml` in the form of "
            "package_changes.toml, read again when they change. The API needs the same ones. "
            "`PACKAGE_CHANGES_DIR` works too.",
            validation_alias=AliasChoices("PREPARE_PACKAGE_CHANGES_DIR", "PACKAGE_CHANGES_DIR"),
        ),
    ] = None
    cors: Annotated[
        bool,
        Field(
            description="Whether answers carry CORS headers; off if a proxy adds them, as two are "
            "as bad as none."
        ),
    ] = True
    trusted_proxies: Annotated[
        str, Field(description="Addresses, comma separated, whose forwarded headers are believed.")
    ] = "127.0.0.1"
    shutdown_seconds: Annotated[
        PositiveInt, Field(description="How long running requests may take after SIGTERM.")
    ] = 5
