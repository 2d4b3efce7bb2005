"""What browsers are told about the pages of both services: what they may load, and who may frame them."""

import base64
import hashlib
import re
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.config import Settings as PrepareSettings
from asu_prepare.main import create_app as create_prepare
from asu_prepare.upstream import MemoryDocuments
from tests.unit.worlds import opened

OF_ASU = ["/", "/stats", "/status", "/docs", "/redoc"]


Page = tuple[str, dict[str, list[str]], Any]


@pytest.fixture(scope="module", params=[*(("asu", path) for path in OF_ASU), ("prepare", "/docs"), ("prepare", "/redoc")], ids="".join)
def page(request: pytest.FixtureRequest) -> Page:
    """Return each page's text, its policy by directive, and all its headers."""
    service, path = request.param
    with ExitStack() as stack:
        prepare = TestClient(create_prepare(PrepareSettings(), MemoryDocuments({})))
        client = stack.enter_context(opened()).client if service == "asu" else stack.enter_context(prepare)
        answer = client.get(path, headers={"Origin": "https://evil.example.org", "Cookie": "a=b"})
    directives = [directive.split() for directive in answer.headers["content-security-policy"].split(";")]
    return answer.text, {name: sources for name, *sources in directives}, answer.headers


def test_nobody_frames_a_page_or_is_told_where_its_reader_was(page: Page) -> None:
    """Nor are forms sent elsewhere, links rebased, or types guessed."""
    _, policy, headers = page

    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in {"same-origin", "no-referrer"}


def test_no_script_runs_that_the_page_does_not_have(page: Page) -> None:
    """Scripts come from our own files or from where the page names them; one within is known by its hash, so a changed one would not run."""
    text, policy, _ = page
    allowed = policy.get("script-src", policy["default-src"])
    inline = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    ]
    named = {re.sub(r"^(https://[^/]+)/.*", r"\1", address) for address in re.findall(r'<script[^>]* src="([^"]+)"', text)}

    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "http:", "data:"} & set(allowed)
    assert [f"'sha256-{each}'" for each in inline] == [source for source in allowed if source.startswith("'sha256-")]
    assert {"'self'" if address.startswith("/") else address for address in named} <= set(allowed)


def test_no_page_may_use_credentials(page: Page) -> None:
    """Everybody may read, and nobody in another's name: CORS grants no credentials and no cookie is set."""
    headers = page[2]

    assert headers["access-control-allow-origin"] == "*"
    assert not {"access-control-allow-credentials", "set-cookie"} & set(headers)
