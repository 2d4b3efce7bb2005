"""The native gateway: the shipped template, filled in, inside a complete nginx.conf."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from misc.native.settings import ROOT
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from misc.native.users import User

TEMPLATE = ROOT / "misc" / "nginx" / "gateway.conf.template"

# Where every distribution puts nginx; /usr/sbin is not on every user's PATH.
NGINX_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# Either service gets a block of its own with kept-alive connections. Its address is a number, so
# nothing is ever looked up.
COMPLETE = """\
{user}daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes auto;

events {{
    worker_connections 1024;
}}

http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/unused;
    uwsgi_temp_path {directory}/unused;
    scgi_temp_path {directory}/unused;

    upstream asu_kept_alive {{
        server {asu};
        keepalive 32;
    }}
    upstream prepare_kept_alive {{
        server {prepare};
        keepalive 8;
    }}

    include {directory}/gateway.conf;
    access_log {directory}/access.log served;
}}
"""


# Everything here comes from one address: the demonstration, tests, and measurements that send
# thousands of requests a second.
UNLIMITED = {
    "GATEWAY_POST_RATE": "100000r/s",
    "GATEWAY_POST_BURST": "100000",
    "GATEWAY_POST_AT_ONCE": "10000",
    "GATEWAY_TRUSTED_PROXY": "unix:",
}


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Replace `${NAME}` for the names in `values`, as the official nginx image does."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda match: values.get(match[1], match[0]), template)


def write_configuration(
    directory: Path,
    *,
    listen: str,
    asu: str,
    prepare: str,
    store: Path,
    user: User | None = None,
    limits: Mapping[str, str] = UNLIMITED,
) -> Path:
    """Write a configuration and return its path; `asu` and `prepare` are address:port."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(character in f"{directory}{store}" for character in " ;{}\"'$"):
        raise Trouble(
            f"nginx cannot use the paths {directory} and {store}; choose a RUN_DIR without spaces "
            "and quotes"
        )
    values = {
        "GATEWAY_LISTEN": listen,
        "ASU_UPSTREAM": "asu_kept_alive",
        "PREPARE_UPSTREAM": "prepare_kept_alive",
        "STORE_PATH": str(store),
        "NGINX_LOCAL_RESOLVERS": "127.0.0.1",  # Demanded by the syntax, never asked.
        **limits,
    }
    (directory / "gateway.conf").write_text(fill_in(TEMPLATE.read_text(), values))
    # Left alone, root's nginx would give its workers to a user of its own who may not be let into
    # the checkout's directory.
    workers = (
        f"user {user.name} {user.group};\n" if user else "user root;\n" if os.geteuid() == 0 else ""
    )
    complete = directory / "nginx.conf"
    complete.write_text(
        COMPLETE.format(user=workers, directory=directory, asu=asu, prepare=prepare)
    )
    return complete


def nginx_command(configuration: Path) -> tuple[str, ...]:
    """Return the command that runs nginx in the foreground with `configuration`."""
    nginx = shutil.which("nginx", path=NGINX_PATH)
    if nginx is None:
        raise Trouble("nginx is missing; install it: make install")
    return (nginx, "-p", str(configuration.parent), "-c", str(configuration), "-e", "stderr")
