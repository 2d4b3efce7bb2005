"""Previews: the same answer in-process and from the real asu-prepare over HTTP, and what happens
when that service fails.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.catalogue.prepare_client import KNOWN_HERE, Preparer, PrepareService
from asu.catalogue.resolver import Resolver
from asu.catalogue.validation import ValidatedRequest
from asu.errors import InvalidRequest
from asu.resolution import Gatherer, load_rules, request_hash
from asu.upstream.http_client import WebClient
from asu_prepare.config import Settings as PrepareSettings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.requirements import free_port
from tests.serving import served
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.fixtures.feed_keys import PEM, USIGN, USIGN_LINE
from tests.unit.worlds import REQUEST, VERSIONS, metadata

pytestmark = pytest.mark.anyio

DOCUMENTS: dict[str, Any] = {
    **metadata(),
    # 25.12.0 is listed, and nothing of it is published.
    ".versions.json": {**VERSIONS, "versions_list": [*VERSIONS["versions_list"], "25.12.0"]},
    "releases/24.10.4/packages/mips_24kc/feeds.conf": (
        "src-git base https://example.org/base.git^0123\n"
    ),
    "releases/24.10.4/packages/mips_24kc/base/index.json": {
        "version": 2,
        "architecture": "mips_24kc",
        "packages": {"luci": "1", "owut": "2"},
    },
    "releases/24.10.4/targets/ath79/generic/packages/index.json": {
        "version": 2,
        "architecture": "mips_24kc",
        "packages": {"base-files": "3"},
    },
}
REQUESTS: list[dict[str, Any]] = [
    {},
    {"packages": []},
    {"packages": ["base-files", "dnsmasq", "luci", "auc"], "diff_packages": True},
    {
        "packages": ["base-files", "dnsmasq", "luci"],
        "diff_packages": True,
        "from_version": "23.05.10",
        "ignored_changes": ["absent-kmod-ath10k-ct"],
    },
    {"packages": ["luci", "no-such-package", "lucy"], "packages_versions": {"luci": "2"}},
    {"profile": "tplink,archer-c7-v5", "packages": ["luci", "luci", "auc", "-ppp", "-auc"]},
    {
        "packages": [],
        "packages_versions": {"luci": "1", "auc": "2~3"},
        "diff_packages": True,
        "version_code": "r1-a",
    },
    {"packages": ["auc"], "packages_versions": {"auc": "2"}, "from_version": "23.05.9"},
    {
        "version": "25.12.0",
        "from_version": "24.10.4",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "diff_packages": True,
    },
    {
        "version": "SNAPSHOT",
        "from_version": "",
        "packages": ["kmod-nft-nat6", "luci-app-opkg", "wpad-mini"],
    },
    {"version": "23.05.10", "from_version": "24.10.4"},
    {
        "defaults": "echo '\u00e9\n'",
        "client": "owut/1",
        "ignored_changes": ["auc-owut"],
        "rootfs_size_mb": "256",
        "filesystem": "ext4",
    },
    {"defaults": "", "repositories": {}, "repository_keys": [], "repositories_mode": "append"},
    {"packages": [f"package-{number}" for number in range(1000)]},
    {
        "packages": ["luci", "own-package", "auc"],
        "repositories": {"mine": "https://feeds.example.org/own"},
        "repository_keys": [USIGN],
    },
    {
        "repositories": {"b": "HTTPS://Feeds.example.org:443/%6fwn/", "a": "https://a.example/x"},
        "repository_keys": [f"{USIGN_LINE}\n", USIGN],
    },
    {
        "packages": ["luci"],
        "packages_versions": {"luci": "2"},
        "repositories": {"a": "https://a.example/x"},
        "repositories_mode": "append",
    },
    {
        "version": "25.12.0",
        "repositories": {"mine": "https://feeds.example.org/packages.adb"},
        "repository_keys": [PEM.replace("\n", "\r\n")],
    },
]


def resolver() -> Resolver:
    """Return what decides in this process."""
    return Resolver(Gatherer(MemoryUpstream(DOCUMENTS)), load_rules(), lambda _: False)


def validated(**fields: Any) -> ValidatedRequest:
    """Return a request as the catalogue hands it on."""
    return ValidatedRequest(BuildRequest.model_validate({**REQUEST, **fields}).normalised())


@pytest.fixture(scope="module")
def prepare_url() -> Iterator[str]:
    """Run the real asu-prepare for all tests of this module."""
    raw = {
        path: (document if isinstance(document, str) else json.dumps(document)).encode()
        for path, document in DOCUMENTS.items()
    }
    with served(
        create_app(PrepareSettings(), MemoryDocuments(raw)), log_config=None, ws="none"
    ) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
async def web() -> AsyncIterator[WebClient]:
    """Return an HTTP client."""
    async with WebClient(user_agent="test") as client:
        yield client


@pytest.fixture
def service(web: WebClient, prepare_url: str) -> Preparer:
    """Return a preparer that asks the real service."""
    return Preparer(resolver(), PrepareService(web, url=prepare_url, deadline=5))


REFUSAL = b'{"status": 400, "title": "x", "detail": "y", "code": "z"}'


class PreparerContract:
    """What every implementation does; a subclass brings the fixture `preparer`."""

    @pytest.mark.parametrize("fields", REQUESTS, ids=range(len(REQUESTS)))
    async def test_preview_and_build_meet_in_one_hash(
        self, preparer: Preparer, fields: dict[str, Any]
    ) -> None:
        """What is announced is what a direct build and the build of the prepared request lead
        to.
        """
        request = validated(**fields)

        preview = await preparer.prepare(request, "id")

        prepared = ValidatedRequest(
            BuildRequest.model_validate(preview["prepared_request"]).normalised()
        )
        assert (
            preview["request_hash"]
            == (await resolver().resolve(request)).key
            == resolver().as_it_stands(prepared).key
        )

    async def test_a_change_says_why(self, preparer: Preparer) -> None:
        """Which package, what becomes of it, by which rule and for what reason."""
        preview = await preparer.prepare(validated(), "id")

        [change] = preview["changes"]
        assert (change["from_package"], change["to_package"], change["automatic"]) == (
            "auc",
            "owut",
            True,
        )
        assert change["reason"]
        assert preview["status"] == "prepared"


class TestOwnPreviews(PreparerContract):
    """asu's own copy of the decision core."""

    @pytest.fixture
    def preparer(self) -> Preparer:
        """Return the preparer."""
        return Preparer(resolver())


class TestPrepareService(PreparerContract):
    """The service, over HTTP."""

    @pytest.fixture
    def preparer(self, service: Preparer) -> Preparer:
        """Return the preparer."""
        return service

    @pytest.mark.parametrize("fields", REQUESTS, ids=range(len(REQUESTS)))
    async def test_the_answer_is_the_same_as_in_process(
        self, preparer: Preparer, fields: dict[str, Any]
    ) -> None:
        """A monolith and microservices say the same to a user, apart from the forecast."""
        request = validated(**fields)
        theirs = await preparer.prepare(request, "id")
        ours = await Preparer(resolver()).prepare(request, "id")

        assert (theirs.pop("prepared_by"), ours.pop("prepared_by")) == ("asu-prepare", "asu")
        assert without_forecast(theirs, ours) == json.loads(json.dumps(ours))


def without_forecast(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return a preview of asu-prepare as this server would make it: the forecast comes last."""
    kept = {name: value for name, value in theirs.items() if name in ours}
    kept["warnings"] = theirs["warnings"][: len(ours["warnings"])]
    kept["counts"] = {**theirs["counts"], "warnings": len(kept["warnings"])}
    return kept


@contextmanager
def answering(
    status: int,
    body: bytes,
    *,
    seconds: float = 0,
    seen: list[Mapping[str, str]] | None = None,
    broken: int = 0,
) -> Iterator[str]:
    """Run a service that always gives this answer, but for the first `broken` times, when it hangs
    up.
    """
    ended, asked = threading.Event(), itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if seen is not None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(asked) < broken:
                return
            ended.wait(seconds)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        # The base class names it so.
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Stay quiet: the caller may be gone by the time of the answer."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Asked:
    """A preview that was asked for, and how often this server made it in asu-prepare's place."""

    preview: dict[str, Any]
    fallbacks: list[str]


async def ask(web: WebClient, url: str, *, deadline: float = 5, **fields: Any) -> Asked:
    """Ask for a preview, of the service at `url` first."""
    fallbacks: list[str] = []
    service = PrepareService(web, url=url, deadline=deadline)
    preparer = Preparer(resolver(), service, fallbacks.append)
    return Asked(await preparer.prepare(validated(**fields), "id"), fallbacks)


async def ours() -> dict[str, Any]:
    """Return the preview that this server makes."""
    return await Preparer(resolver()).prepare(validated(), "id")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"{}", "unanswered"),
        (502, b"<html>Bad Gateway", "unanswered"),
        (302, b"", "unanswered"),
        (404, b"<html>", "unanswered"),
        (200, b"<html>", "wrong"),
        (200, b"[]", "wrong"),
        (200, b"{}", "wrong"),
        (200, b'{"status": "prepared"}', "wrong"),
        (200, b'{"status": "prepared", "prepared_request": 17, "request_hash": 1}', "wrong"),
        (200, b"\xff", "wrong"),
        (400, b"<html>Bad Request", "wrong"),
        (422, b'{"detail": "no code"}', "wrong"),
        *((status, REFUSAL, "unanswered") for status in (401, 404, 405, 413, 429, 500, 503)),
    ],
)
async def test_in_place_of_a_broken_service_this_server_answers(
    web: WebClient, status: int, body: bytes, reason: str
) -> None:
    """Whatever stands in place of a preview: it is never passed on."""
    with answering(status, body) as url:
        asked = await ask(web, url)

    assert (asked.preview, asked.fallbacks) == (await ours(), [reason])
    assert asked.preview["prepared_by"] == "asu"


async def test_in_place_of_a_service_that_is_down_this_server_answers(web: WebClient) -> None:
    """Nobody listens."""
    asked = await ask(web, f"http://127.0.0.1:{free_port()}")

    assert (asked.preview, asked.fallbacks) == (await ours(), ["unanswered"])


@pytest.mark.parametrize(("broken", "by"), [(1, "asu-prepare"), (2, "asu-prepare"), (5, "asu")])
async def test_a_replica_that_goes_takes_no_preview_with_it(
    web: WebClient, broken: int, by: str
) -> None:
    """A connection that breaks before the answer is followed by another one, but not for ever."""
    preview = json.dumps(await resolver().preview(validated())).encode()
    with answering(200, preview, broken=broken) as url:
        assert (await ask(web, url)).preview["prepared_by"] == by


async def test_a_slow_service_is_given_up_in_time(web: WebClient) -> None:
    """One deadline bounds the whole exchange."""
    with answering(200, b"{}", seconds=60) as url:
        async with asyncio.timeout(30):
            asked = await ask(web, url, deadline=0.2)

    assert (asked.preview, asked.fallbacks) == (await ours(), ["unanswered"])


async def test_a_good_answer_is_passed_on_with_all_that_is_new_in_it(web: WebClient) -> None:
    """The API need not know the forecast; and it does not decide again what asu-prepare decided."""
    preview = {
        **await resolver().preview(validated()),
        "manifest": {"libc": "1"},
        "packages_that_nobody_here_would_choose": ["luci"],
    }
    preview["prepared_request"]["packages"] = ["luci", "own-choice"]
    preview["request_hash"] = request_hash(preview["prepared_request"])
    with answering(200, json.dumps(preview).encode()) as url:
        asked = await ask(web, url)

    assert asked.preview == {**preview, "prepared_by": "asu-prepare"}
    assert asked.fallbacks == []


def prepared(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes the prepared request of a preview, and its hash along with it."""

    def lie(preview: dict[str, Any]) -> None:
        preview["prepared_request"] |= changes
        preview["request_hash"] = request_hash(preview["prepared_request"])

    return lie


def without(field: str) -> Callable[[dict[str, Any]], None]:
    """Return what takes a field out of the prepared request."""

    def lie(preview: dict[str, Any]) -> None:
        del preview["prepared_request"][field]
        preview["request_hash"] = request_hash(preview["prepared_request"])

    return lie


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda preview: preview.update(request_hash="0" * 64), id="another hash"),
        pytest.param(lambda preview: preview.update(problems=None), id="no list of problems"),
        *(
            pytest.param(prepared(**{field: value}), id=field)
            for field, value in [
                ("version", "24.10.3"),
                ("target", "x86/64"),
                ("profile", "glinet_gl-ar300m-nor"),
                ("defaults", "reboot"),
                ("rootfs_size_mb", 100),
                ("packages", ["$(shell id)"]),
            ]
        ),
        pytest.param(without("filesystem"), id="a field that is forgotten"),
    ],
)
async def test_a_preview_of_another_build_is_never_passed_on(
    web: WebClient, lie: Callable[[dict[str, Any]], None]
) -> None:
    """What is previewed is what the prepared request builds."""
    preview = await resolver().preview(validated())
    lie(preview)
    with answering(200, json.dumps(preview).encode()) as url:
        asked = await ask(web, url)

    assert (asked.preview, asked.fallbacks) == (await ours(), ["wrong"])


async def test_a_state_says_what_to_do(web: WebClient) -> None:
    """After an answer that could not be used, until there is a good one."""
    preview = json.dumps(await resolver().preview(validated())).encode()
    with answering(200, preview, broken=3) as url:
        preparer = Preparer(resolver(), PrepareService(web, url=url, deadline=5))
        states = [preparer.state()]
        for _ in range(2):
            await preparer.prepare(validated(), "id")
            states.append(preparer.state())

    assert [state.partition(":")[0] for state in states] == ["ok", "degraded", "ok"]
    assert Preparer(resolver()).state().startswith("ok: ")


@pytest.mark.parametrize(("status", "code"), [(400, "ambiguous-profile"), (422, "invalid-request")])
async def test_a_refusal_is_passed_on_in_its_words(web: WebClient, status: int, code: str) -> None:
    """The user can act on it: status, title and code are theirs, and `detail` is a string as
    everywhere.
    """
    refusal = {
        "status": status,
        "title": "x",
        "detail": "{too} strange",
        "code": code,
        "errors": [{"type": "t", "loc": [], "msg": "m"}],
    }
    with (
        answering(status, json.dumps(refusal).encode()) as url,
        pytest.raises(InvalidRequest) as caught,
    ):
        await ask(web, url)

    assert (caught.value.status, caught.value.body()) == (status, refusal)


@pytest.mark.parametrize("code", KNOWN_HERE)
async def test_what_the_api_knows_is_not_refused(web: WebClient, code: str) -> None:
    """A release that is minutes old may be missing in the copies of asu-prepare; the API has
    checked version, target and profile, so it makes the preview itself.
    """
    refusal = {"status": 400, "title": "x", "detail": "y", "code": code}
    with answering(400, json.dumps(refusal).encode()) as url:
        preparer = Preparer(resolver(), PrepareService(web, url=url, deadline=5))

        assert (await preparer.prepare(validated(), "id"))["prepared_by"] == "asu"


async def test_the_real_service_keeps_its_codes(service: Preparer) -> None:
    """A profile that only theirs finds ambiguous stays the user's matter."""
    with pytest.raises(InvalidRequest) as caught:
        await service.prepare(validated(profile="gl-ar300m"), "id")

    assert (caught.value.status, caught.value.code) == (400, "ambiguous-profile")


async def test_the_id_of_a_request_goes_along(web: WebClient) -> None:
    """One id is found in the logs of all services."""
    seen: list[Mapping[str, str]] = []
    with answering(500, b"", seen=seen) as url:
        service = PrepareService(web, url=url, deadline=5)
        await Preparer(resolver(), service).prepare(validated(), "the-id")

    assert seen[0]["x-request-id"] == "the-id"
    assert seen[0]["content-type"] == "application/json"
