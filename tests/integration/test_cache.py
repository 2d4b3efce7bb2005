"""The packages' cache: a real nginx with the shipped template before a recording server."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from misc.native.gateway import fill_in, nginx_command, write_configuration
from misc.native.settings import ROOT
from tests.integration.gateway_world import (
    CAN_RUN,
    Gateway,
    start_service,
    stop,
    wait_until_it_listens,
)
from tests.requirements import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

LIST_SECONDS = 2  # As short as it can be while three requests in a row take less.
LIST = "/releases/25.12.1/targets/x86/64/profiles.json"
PACKAGE = "/releases/25.12.1/packages/mips_24kc/base/tmux-3.5-r1.apk"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Gateway]:
    """Run a cache that may ask one server, known under the address at which the cache itself is
    asked.
    """
    port, origin = free_port(), start_service("origin")
    configuration = write_configuration(
        tmp_path / "nginx",
        listen=str(port),
        asu="127.0.0.1:1",
        prepare="127.0.0.1:1",
        store=tmp_path,
    )
    values = {
        "CACHE_LISTEN": f"127.0.0.1:{port}",
        "CACHE_DIR": str(tmp_path / "kept"),
        "CACHE_SIZE": "1m",
        "CACHE_LIST_SECONDS": str(LIST_SECONDS),
        "NGINX_LOCAL_RESOLVERS": "127.0.0.1",
    }
    template = (ROOT / "misc" / "nginx" / "cache.conf.template").read_text()
    (configuration.parent / "gateway.conf").write_text(fill_in(template, values))
    (configuration.parent / "cache-hosts.conf").write_text(f"127.0.0.1 http://{origin.address};\n")
    process = subprocess.Popen(
        nginx_command(configuration), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert wait_until_it_listens(process, port)
    yield Gateway(port, tmp_path, origin, origin)
    stop(process, origin)


@pytest.mark.parametrize("path", [PACKAGE, LIST])
def test_what_was_fetched_once_is_kept(cache: Gateway, path: str) -> None:
    """The downloads server is asked once for a package, and once for a list while it is new."""
    answers = [cache.ask("GET", path) for _ in range(3)]

    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.headers["X-Cache"] for answer in answers] == ["MISS", "HIT", "HIT"]
    assert [seen.target for seen in cache.asu.seen] == [path]


def test_an_old_list_is_asked_for_before_it_is_handed_out(cache: Gateway) -> None:
    """However long nobody wanted it: who gets yesterday's checksums with today's archive has a
    broken build.
    """
    cache.ask("GET", LIST)
    time.sleep(LIST_SECONDS + 1)

    assert cache.ask("GET", LIST).headers["X-Cache"] not in {"HIT", "STALE", "UPDATING"}
    assert len(cache.asu.seen) == 2


def test_a_kept_file_outlives_its_server(cache: Gateway) -> None:
    """What is kept is handed out while the downloads server is away."""
    cache.ask("GET", PACKAGE)
    cache.asu.server.shutdown()
    cache.asu.server.server_close()

    assert cache.ask("GET", PACKAGE).status == 200


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/", "example.org"),
        ("http://example.org/", "127.0.0.1"),
        ("http://10.0.0.1:22/", "10.0.0.1:22"),
    ],
)
def test_other_servers_are_refused(cache: Gateway, target: str, host: str) -> None:
    """It is no open proxy: a server that is not listed is not asked, in whichever way it is
    named.
    """
    answer = cache.send_raw(
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )

    assert (answer.split(b" ")[1], cache.asu.seen) == (b"403", [])


def test_a_tunnel_is_refused(cache: Gateway) -> None:
    """CONNECT leads nowhere, not even to the server that is listed."""
    answer = cache.send_raw(
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )

    assert answer.split(b" ")[1] in {b"400", b"405"}  # Older nginx does not take it for a request.
    assert cache.asu.seen == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_sent_through_it(cache: Gateway, method: str) -> None:
    """It hands out; it takes nothing in."""
    assert (cache.ask(method, PACKAGE, body=b"x").status, cache.asu.seen) == (405, [])
