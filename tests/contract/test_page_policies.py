"""What browsers are told about the pages of both services: what they may load, and who may frame
them.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.config import Settings as PrepareSettings
from asu_prepare.main import create_app as create_prepare
from asu_prepare.upstream import MemoryDocuments
from tests.unit.worlds import opened

OF_ASU = ["/", "/stats", "/status", "/docs", "/upgrade"]

Page = tuple[str, dict[str, list[str]], Any]


@contextmanager
def client_of(service: str) -> Iterator[TestClient]:
    """Run a service and return a client of it."""
    with ExitStack() as stack:
        prepare = TestClient(create_prepare(PrepareSettings(), MemoryDocuments({})))
        yield (
            stack.enter_context(opened()).client
            if service == "asu"
            else stack.enter_context(prepare)
        )


@pytest.fixture(
    scope="module", params=[*(("asu", path) for path in OF_ASU), ("prepare", "/docs")], ids="".join
)
def page(request: pytest.FixtureRequest) -> Page:
    """Return each page's text, its policy by directive, and all its headers."""
    service, path = request.param
    with client_of(service) as client:
        answer = client.get(path, headers={"Origin": "https://evil.example.org", "Cookie": "a=b"})
    directives = [
        directive.split() for directive in answer.headers["content-security-policy"].split(";")
    ]
    return answer.text, {name: sources for name, *sources in directives}, answer.headers


def test_nobody_frames_a_page_or_is_told_where_its_reader_was(page: Page) -> None:
    """Nor are forms sent elsewhere, links rebased, or types guessed."""
    text, policy, headers = page

    assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert policy["form-action"] == (["'self'"] if "<form" in text else ["'none'"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in {"same-origin", "no-referrer"}


def test_no_script_runs_that_the_page_does_not_have(page: Page) -> None:
    """Scripts come from our own files or from where the page names them; one within is known by its
    hash, so a changed one would not run.
    """
    text, policy, _ = page
    allowed = policy.get("script-src", policy["default-src"])
    inline = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    ]
    named = {
        re.sub(r"^(https://[^/]+)/.*", r"\1", address)
        for address in re.findall(r'<script[^>]* src="([^"]+)"', text)
    }

    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "http:", "data:"} & set(allowed)
    assert [f"'sha256-{each}'" for each in inline] == [
        source for source in allowed if source.startswith("'sha256-")
    ]
    assert {"'self'" if address.startswith("/") else address for address in named} <= set(allowed)


def test_a_page_needs_nobody_else(page: Page) -> None:
    """It works without internet, and what runs in it is what was installed: neither the page nor
    its policy names another origin.
    """
    text, policy, _ = page
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"', text)

    assert loaded
    assert [address for address in loaded if not re.match(r"/[a-z]", address)] == []
    assert {
        source
        for sources in policy.values()
        for source in sources
        if not re.fullmatch(r"'[^']+'|data:", source)
    } == set()


@pytest.mark.parametrize("service", ["asu", "prepare"])
def test_what_shows_the_api_comes_from_the_service_itself(service: str) -> None:
    """A program, a style sheet and an icon; and of the package that brings them nothing else."""
    with client_of(service) as client:
        page = client.get("/docs").text
        named = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', page)
        files = {
            address.partition("?")[0].rpartition(".")[2]: client.get(address) for address in named
        }
        again = client.get(named[0], headers={"If-None-Match": files["css"].headers["etag"]})
        part = client.get(named[0], headers={"Range": "bytes=5-"})
        others = [
            client.get(f"/static/swagger-ui/{name}")
            for name in ("__init__.py", "..%2fmain.py", "none.js", "", "%00.js")
        ]

    assert {kind: answer.status_code for kind, answer in files.items()} in [
        {"css": 200, "js": 200, icon: 200} for icon in ("svg", "png")
    ]
    assert "SwaggerUIBundle" in files["js"].text
    assert (files["js"].headers["content-type"], files["css"].headers["content-type"]) == (
        "text/javascript; charset=utf-8",
        "text/css; charset=utf-8",
    )
    assert {answer.headers["x-content-type-options"] for answer in files.values()} == {"nosniff"}
    assert (again.status_code, part.status_code) == (304, 200)
    assert [(answer.status_code, answer.json()["code"]) for answer in others] == [
        (404, "not-found")
    ] * 5


@pytest.mark.parametrize("service", ["asu", "prepare"])
def test_where_the_api_was_read_before_leads_to_the_page(service: str) -> None:
    """Bookmarks go on working."""
    with client_of(service) as client:
        answer = client.get("/redoc", follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (308, "/docs")


def test_no_page_may_use_credentials(page: Page) -> None:
    """Everybody may read, and nobody in another's name: CORS grants no credentials and no cookie is
    set.
    """
    headers = page[2]

    assert headers["access-control-allow-origin"] == "*"
    assert not {"access-control-allow-credentials", "set-cookie"} & set(headers)
