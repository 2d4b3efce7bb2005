"""How both services are served: whose word about a caller they take, over real connections."""

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from asu.settings import Settings
from asu.web import server as serving
from asu_prepare import serving as prepare_serving
from asu_prepare.config import Settings as PrepareSettings
from tests.serving import served

Options = Callable[[str | None], dict[str, Any]]


def as_asu(trusted: str | None) -> dict[str, Any]:
    """Return what the API's server is told, by default or with these proxies."""
    return serving.server_options(Settings(trusted_proxies=trusted) if trusted else Settings())


def as_prepare(trusted: str | None) -> dict[str, Any]:
    """Return what that of asu-prepare is told."""
    return prepare_serving.server_options(
        PrepareSettings(trusted_proxies=trusted) if trusted else PrepareSettings()
    )


both = pytest.mark.parametrize("options", [as_asu, as_prepare], ids=["asu", "prepare"])


async def tell_who_asks(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with what an application would believe of its caller."""
    if scope["type"] == "http":
        body = json.dumps(
            {
                "client": scope["client"][0],
                "scheme": scope["scheme"],
                "server": scope["server"][0],
                "path": scope["root_path"],
            }
        ).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})


def ask(port: int, address: str, headers: dict[str, str]) -> dict[str, str]:
    """Ask from an address of this machine."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=10, source_address=(address, 0)
    )
    try:
        connection.request("GET", "/", headers=headers)
        answer: dict[str, str] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


CLAIMS = [
    {"X-Forwarded-For": "6.6.6.6"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "6.6.6.6, 127.0.0.1"},
    {"X-Forwarded-For": "::1", "X-Forwarded-Proto": "https"},
    {"X-Real-IP": "6.6.6.6"},
    {"Forwarded": "for=6.6.6.6;proto=https;by=127.0.0.1;host=evil"},
    {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Port": "1",
    },
    {
        "X-Client-IP": "6.6.6.6",
        "True-Client-IP": "6.6.6.6",
        "CF-Connecting-IP": "6.6.6.6",
        "X-Original-Forwarded-For": "6.6.6.6",
    },
]


@both
def test_who_comes_directly_is_who_he_is(options: Options) -> None:
    """Whatever a caller claims, his address and the scheme are those of his connection, unless it
    comes from the gateway.
    """
    with served(tell_who_asks, lifespan="off", **options(None)) as port:
        for claims in CLAIMS:
            assert ask(port, "127.0.0.2", claims) == {
                "client": "127.0.0.2",
                "scheme": "http",
                "server": "127.0.0.1",
                "path": "",
            }


@both
def test_the_gateway_is_believed(options: Options) -> None:
    """It stands at this machine's own address where nothing else is said; in containers it is a
    network that is named.
    """
    claims = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https"}
    with served(tell_who_asks, lifespan="off", **options(None)) as port:
        assert ask(port, "127.0.0.1", claims)["client"] == "198.51.100.1"
    with served(tell_who_asks, lifespan="off", **options("127.0.7.0/24, 10.0.0.1")) as port:
        told = ask(port, "127.0.7.7", claims)
        assert (told["client"], told["scheme"]) == ("198.51.100.1", "https")
        assert ask(port, "127.0.0.1", claims)["client"] == "127.0.0.1"


@both
def test_of_a_chain_the_last_stranger_counts(options: Options) -> None:
    """What stands before the address that the gateway saw is the caller's own invention."""
    with served(tell_who_asks, lifespan="off", **options(None)) as port:
        assert (
            ask(port, "127.0.0.1", {"X-Forwarded-For": "6.6.6.6, 198.51.100.1"})["client"]
            == "198.51.100.1"
        )
