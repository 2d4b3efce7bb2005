"""Previews: the same answer in-process and from the real asu-prepare over HTTP, and what happens when that service fails."""

import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.catalogue.prepare_client import InProcessPreparer, Preparer, PrepareService
from asu.catalogue.resolver import Resolver, as_it_stands
from asu.catalogue.validation import ValidatedRequest
from asu.errors import InvalidRequest, PrepareDisagrees, PrepareUnavailable
from asu.resolution import Gatherer, load_rules, request_hash
from asu.upstream.downloads_server import MemoryUpstream
from asu.upstream.http_client import WebClient
from asu_prepare.config import Settings as PrepareSettings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.requirements import free_port
from tests.serving import served
from tests.unit.fixtures.feed_keys import PEM, USIGN, USIGN_LINE
from tests.unit.worlds import REQUEST, metadata

pytestmark = pytest.mark.anyio

DOCUMENTS: dict[str, Any] = {
    **metadata(),
    "releases/24.10.4/packages/mips_24kc/feeds.conf": "src-git base https://example.org/base.git^0123\n",
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
    return Resolver(Gatherer(MemoryUpstream(DOCUMENTS)), load_rules())


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
def service(web: WebClient, prepare_url: str) -> PrepareService:
    """Return the adapter of the real service."""
    return PrepareService(web, url=prepare_url, deadline=5, resolver=resolver())


REFUSAL = b'{"status": 400, "title": "x", "detail": "y", "code": "z"}'


class PreparerContract:
    """What every implementation does; a subclass brings the fixture `preparer`."""

    @pytest.mark.parametrize("fields", REQUESTS, ids=range(len(REQUESTS)))
    async def test_preview_and_build_meet_in_one_hash(
        self, preparer: Preparer, fields: dict[str, Any]
    ) -> None:
        """What is announced is what a direct build and the build of the prepared request lead to."""
        request = validated(**fields)

        preview = await preparer.prepare(request, "id")

        prepared = ValidatedRequest(
            BuildRequest.model_validate(preview["prepared_request"]).normalised()
        )
        assert (
            preview["request_hash"]
            == (await resolver().resolve(request)).key
            == as_it_stands(prepared).key
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


class TestInProcessPreparer(PreparerContract):
    """asu's own copy of the decision core."""

    @pytest.fixture
    def preparer(self) -> Preparer:
        """Return the preparer."""
        return InProcessPreparer(resolver())


class TestPrepareService(PreparerContract):
    """The service, over HTTP."""

    @pytest.fixture
    def preparer(self, service: PrepareService) -> Preparer:
        """Return the preparer."""
        return service

    @pytest.mark.parametrize("fields", REQUESTS, ids=range(len(REQUESTS)))
    async def test_the_answer_is_the_same_as_in_process(
        self, preparer: Preparer, fields: dict[str, Any]
    ) -> None:
        """A monolith and microservices say the same to a user, but for who made the preview."""
        request = validated(**fields)
        theirs = await preparer.prepare(request, "id")
        ours = await InProcessPreparer(resolver()).prepare(request, "id")

        assert theirs.pop("prepared_by") == "asu-prepare"
        assert ours.pop("prepared_by", "asu") == "asu"
        assert theirs == json.loads(json.dumps(ours))


@contextmanager
def answering(
    status: int,
    body: bytes,
    *,
    seconds: float = 0,
    seen: list[Mapping[str, str]] | None = None,
    broken: int = 0,
) -> Iterator[str]:
    """Run a service that always gives this answer, but for the first `broken` times, when it hangs up."""
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

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class names it so.
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


async def outcome(ask: Callable[[], Awaitable[Any]]) -> type[Exception] | None:
    """Return the kind of error that asking leads to."""
    try:
        await ask()
    except Exception as error:  # noqa: BLE001  # Whatever it is, it is the outcome.
        return type(error)
    return None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (502, b"<html>Bad Gateway"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"status": "prepared"}'),
        (200, b'{"status": "prepared", "prepared_request": 17, "request_hash": 1}'),
        (302, b""),
        (404, b"<html>"),
        (200, b"\xff"),
        (400, b"<html>Bad Request"),
        (422, b'{"detail": "no code"}'),
        *((status, REFUSAL) for status in (401, 404, 405, 413, 429, 500, 503)),
    ],
)
async def test_a_broken_service_is_unavailable(web: WebClient, status: int, body: bytes) -> None:
    """Whatever stands in place of a preview: callers are told to come back, and never get it passed on."""
    with answering(status, body) as url:
        assert (
            await outcome(
                lambda: PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
                    validated(), "id"
                )
            )
            is PrepareUnavailable
        )


async def test_a_service_that_is_down_is_unavailable(web: WebClient) -> None:
    """Nobody listens."""
    service = PrepareService(
        web, url=f"http://127.0.0.1:{free_port()}", deadline=5, resolver=resolver()
    )

    assert await outcome(lambda: service.prepare(validated(), "id")) is PrepareUnavailable


@pytest.mark.parametrize(("broken", "expected"), [(1, None), (2, None), (5, PrepareUnavailable)])
async def test_a_replica_that_goes_takes_no_preview_with_it(
    web: WebClient, broken: int, expected: type[Exception] | None
) -> None:
    """A connection that breaks before the answer is followed by another one, but not for ever."""
    preview = json.dumps(await resolver().preview(validated())).encode()
    with answering(200, preview, broken=broken) as url:
        assert (
            await outcome(
                lambda: PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
                    validated(), "id"
                )
            )
            is expected
        )


async def test_a_slow_service_is_given_up_in_time(web: WebClient) -> None:
    """One deadline bounds the whole exchange."""
    with answering(200, b"{}", seconds=10) as url:
        begun = time.monotonic()
        assert (
            await outcome(
                lambda: PrepareService(web, url=url, deadline=0.2, resolver=resolver()).prepare(
                    validated(), "id"
                )
            )
            is PrepareUnavailable
        )
        assert time.monotonic() - begun < 2


def prepared(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes the prepared request of a preview, and its hash along with it."""

    def lie(preview: dict[str, Any]) -> None:
        preview["prepared_request"] |= changes
        preview["request_hash"] = request_hash(preview["prepared_request"])

    return lie


@pytest.mark.parametrize(
    ("lie", "about"),
    [
        (lambda preview: preview.update(request_hash="0" * 64), "how a request is hashed"),
        (prepared(version="24.10.3"), "the field version"),
        (prepared(target="x86/64"), "the field target"),
        (prepared(profile="glinet_gl-ar300m-nor"), "the field profile"),
        (prepared(defaults="reboot"), "the field defaults"),
        (prepared(rootfs_size_mb=100), "the field rootfs_size_mb"),
    ],
)
async def test_a_preview_of_another_build_is_noticed(
    web: WebClient, lie: Callable[[dict[str, Any]], None], about: str
) -> None:
    """What is previewed is what a direct build makes; anything else would be a lie to the user."""
    preview = await resolver().preview(validated())
    assert preview["checked"]
    lie(preview)

    with (
        answering(200, json.dumps(preview).encode()) as url,
        pytest.raises(PrepareDisagrees, match=about),
    ):
        await PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
            validated(), "id"
        )


@pytest.mark.parametrize("lie", [prepared(packages=["luci"]), prepared(diff_packages=True)])
async def test_what_would_be_built_here_is_what_is_told(
    web: WebClient, lie: Callable[[dict[str, Any]], None]
) -> None:
    """Two copies of the metadata may differ for minutes: a preview of another build than a direct one would mislead the user."""
    ours = await resolver().preview(validated())
    theirs = json.loads(json.dumps(ours))
    lie(theirs)

    with answering(200, json.dumps(theirs).encode()) as url:
        assert (
            await PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
                validated(), "id"
            )
            == ours
        )


async def test_every_field_that_is_sent_has_to_come_back(web: WebClient) -> None:
    """A service that forgets one would have another image built."""
    preview = await resolver().preview(validated())
    del preview["prepared_request"]["filesystem"]
    preview["request_hash"] = request_hash(preview["prepared_request"])

    with answering(200, json.dumps(preview).encode()) as url:
        service = PrepareService(web, url=url, deadline=5, resolver=resolver())
        assert await outcome(lambda: service.prepare(validated(), "id")) is PrepareUnavailable


@pytest.mark.parametrize("theirs", [True, False])
async def test_without_metadata_on_one_side_there_is_nothing_to_compare(
    web: WebClient, *, theirs: bool
) -> None:
    """One that could not look everything up may come to another result, and says so in its preview."""
    uninformed = Resolver(Gatherer(MemoryUpstream({}, down=True)), load_rules())
    request = validated(packages=["base-files", "luci"], diff_packages=True)
    preview = await (resolver() if theirs else uninformed).preview(request)
    assert preview["checked"] is theirs

    with answering(200, json.dumps(preview).encode()) as url:
        service = PrepareService(
            web, url=url, deadline=5, resolver=uninformed if theirs else resolver()
        )
        assert (await service.prepare(request, "id"))["request_hash"] == preview["request_hash"]


@pytest.mark.parametrize(("status", "code"), [(400, "ambiguous-profile"), (422, "invalid-request")])
async def test_a_refusal_is_passed_on_in_its_words(web: WebClient, status: int, code: str) -> None:
    """The user can act on it: status, title and code are theirs, and `detail` is a string as everywhere."""
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
        await PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
            validated(), "id"
        )

    assert (caught.value.status, caught.value.body()) == (status, refusal)


async def test_the_real_service_keeps_its_codes(service: PrepareService) -> None:
    """A profile that only theirs finds ambiguous stays the user's matter."""
    with pytest.raises(InvalidRequest) as caught:
        await service.prepare(validated(profile="gl-ar300m"), "id")

    assert (caught.value.status, caught.value.code) == (400, "ambiguous-profile")


async def test_the_id_of_a_request_goes_along(web: WebClient) -> None:
    """One id is found in the logs of all services."""
    seen: list[Mapping[str, str]] = []
    with answering(500, b"", seen=seen) as url:
        await outcome(
            lambda: PrepareService(web, url=url, deadline=5, resolver=resolver()).prepare(
                validated(), "the-id"
            )
        )

    assert seen[0]["x-request-id"] == "the-id"
    assert seen[0]["content-type"] == "application/json"
