"""The preview through the API, and that it leads to the very build it announced."""

from collections.abc import Iterator
from typing import Any

import pytest

from asu.catalogue.prepare_client import NoPreviewError, PrepareService
from asu.catalogue.validation import ValidatedRequest
from asu.errors import QueueUnavailable
from asu.records.build_record import BuildRecord
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.fixtures.feed_keys import PEM, USIGN, USIGN_LINE, USIGN_SECRET
from tests.unit.worlds import REQUEST, UntouchableUpstream, World, metadata, opened

SKIP = "?skip_package_resolution=true"


class AbsentService(PrepareService):
    """A prepare service that is down."""

    def __init__(self) -> None:
        pass

    async def preview(self, request: ValidatedRequest, request_id: str) -> dict[str, Any]:
        """Fail as the client does without an answer."""
        assert request, request_id
        raise NoPreviewError("unanswered", "ConnectError")


class AwayRecords(ImitatedRecords):
    """Records in a Redis that does not answer."""

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        assert key
        raise QueueUnavailable


def test_a_preview_is_not_to_be_stored() -> None:
    """It repeats the request, the first-boot script included."""
    with opened(allow_defaults=True) as world:
        answer = prepare(world, defaults="#!/bin/sh")

    assert answer.json()["prepared_request"]["defaults"] == "#!/bin/sh"
    assert answer.headers.get_list("cache-control") == ["no-store"]


def test_a_preview_needs_no_queue() -> None:
    """Whether the image is there already is not known then; everything else is."""
    with opened(records=AwayRecords()) as world:
        answer = prepare(world)

    assert (answer.status_code, answer.json()["status"], answer.json()["cache_available"]) == (
        200,
        "prepared",
        False,
    )


@pytest.fixture
def world() -> Iterator[World]:
    """Return an API over in-memory parts."""
    with opened(allow_defaults=True) as world:
        yield world


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """Return an API over in-memory parts for the tests that leave nothing in it, or nothing that
    matters.
    """
    with opened(
        allow_defaults=True, repository_allow_list=["https://feeds.example.org/own"]
    ) as world:
        yield world


def prepare(world: World, **fields: Any) -> Any:
    """Ask for a preview of a request with these fields changed."""
    return world.client.post("/api/v1/build/prepare", json={**REQUEST, **fields})


def test_a_preview_says_what_changes_and_why(world: World) -> None:
    """Each change names its package, its reason and its rule; nothing is built."""
    answer = prepare(world)

    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "prepared")
    assert (body["original_packages"], body["resolved_packages"]) == (
        ["luci", "auc"],
        ["luci", "owut"],
    )
    [change] = body["changes"]
    assert (change["type"], change["action"], change["from_package"], change["to_package"]) == (
        "migration",
        "replace",
        "auc",
        "owut",
    )
    assert change["reason"]
    assert change["rule"]
    assert body["cache_available"] is False
    assert world.queue.tickets == 0


def test_the_cache_is_seen(world: World) -> None:
    """A preview says whether the image is there already."""
    key = prepare(world).json()["request_hash"]
    before = prepare(world).json()["cache_available"]
    assert world.key(REQUEST) == key
    world.finish(key)

    assert (before, prepare(world).json()["cache_available"]) == (False, True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"profile": "archer-c7-v5"},
        {"profile": "tplink,archer-c7-v5", "packages": ["luci", "luci", "auc", "-ppp", "-auc"]},
        {
            "packages": [],
            "packages_versions": {"luci": "1", "auc": "2", "libc": "3"},
            "diff_packages": True,
        },
        {"packages": ["auc"], "packages_versions": {"auc": "2"}, "from_version": "23.05.9"},
        {"packages": []},
        {"packages": ["auc"], "from_version": "24.10.3"},
        {
            "version": "25.12.0-rc1",
            "from_version": "23.05.10",
            "packages": ["luci", "auc", "kmod-nft-nat6"],
        },
        {
            "target": "x86/64",
            "profile": "some-board",
            "filesystem": "ext4",
            "rootfs_size_mb": "256",
            "version_code": "r1",
        },
        {"defaults": "echo hi", "client": "owut/1", "ignored_changes": ["auc-owut"]},
        {"defaults": "", "repositories": {}, "repository_keys": []},
        {
            "repositories": {
                "b": "HTTPS://Feeds.Example.org:443/%6fwn/a/",
                "a": "https://feeds.example.org/own",
            },
            "repository_keys": [USIGN_LINE],
        },
        {
            "repositories": {"mine": "https://feeds.example.org/own/b"},
            "repositories_mode": "append",
            "packages": ["luci", "own-package"],
        },
        {
            "version": "25.12.0-rc1",
            "repositories": {"mine": "https://feeds.example.org/own/%70ackages.adb"},
            "repository_keys": [f"{PEM}\r\n"],
        },
    ],
)
def test_preview_and_builds_meet_in_one_hash(shared: World, fields: dict[str, Any]) -> None:
    """What was previewed is what is built, directly and from the prepared request, with and without
    another resolution.
    """
    preview = prepare(shared, **fields).json()

    prepared = preview["prepared_request"]
    keys = [shared.key({**REQUEST, **fields}), shared.key(prepared, SKIP), shared.key(prepared)]
    assert keys == [preview["request_hash"]] * 3
    assert (
        shared.client.post("/api/v1/build/prepare", json=prepared).json()["request_hash"]
        == preview["request_hash"]
    )


def test_spellings_of_one_feed_and_one_key_are_one_build(shared: World) -> None:
    """Case, the usual port, encoded letters, a slash at the end, a comment: none of them makes
    another image.
    """
    plain = {
        **REQUEST,
        "repositories": {"mine": "https://feeds.example.org/own/x"},
        "repository_keys": [USIGN],
    }
    spelt = {
        **REQUEST,
        "repositories": {"mine": "HTTPS://FEEDS.example.org.:443/own/%78/"},
        "repository_keys": [USIGN_LINE, f"{USIGN}\n"],
    }

    assert shared.key(plain) == shared.key(spelt) != shared.key(REQUEST)


def test_a_package_of_a_feed_of_ones_own_is_no_problem() -> None:
    """Nobody here knows what the feed holds, so the preview says where the package is expected
    from.
    """
    documents = {
        **metadata(),
        "releases/24.10.4/packages/mips_24kc/feeds.conf": (
            "src-git base https://example.org/base.git^0123\n"
        ),
        "releases/24.10.4/packages/mips_24kc/base/index.json": {
            "version": 2,
            "architecture": "mips_24kc",
            "packages": {"luci": "1"},
        },
        "releases/24.10.4/targets/ath79/generic/packages/index.json": {
            "version": 2,
            "architecture": "mips_24kc",
            "packages": {},
        },
    }
    fields = {
        "packages": ["luci", "own-package"],
        "repositories": {"mine": "https://feeds.example.org/own"},
        "repositories_mode": "append",
    }
    with opened(
        upstream=MemoryUpstream(documents), repository_allow_list=["https://feeds.example.org/own"]
    ) as world:
        body = prepare(world, **fields).json()

    assert (body["checked"], body["problems"], body["resolved_packages"]) == (
        True,
        [],
        ["luci", "own-package"],
    )
    [warning] = body["warnings"]
    assert warning.endswith("own-package is expected from the feed mine.")
    assert body["prepared_request"]["repositories"] == fields["repositories"]


def test_a_private_key_comes_back_in_no_answer(shared: World) -> None:
    """Neither a build nor a preview repeats what should never have been sent."""
    secret = USIGN_SECRET.split("\n")[1]
    answers = [
        shared.post({**REQUEST, "repository_keys": [USIGN_SECRET]}),
        prepare(shared, repository_keys=[USIGN_SECRET]),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (400, "malformed-repository-key")
    ] * 2
    assert not [answer for answer in answers if secret[:12] in answer.text]


def test_a_prepared_request_is_built_as_it_stands(world: World) -> None:
    """Whoever says no to a change gets the image without it."""
    key = world.key(REQUEST, SKIP)
    attempt, _ = world.start(key)

    assert attempt.plan["request"]["packages"] == ["luci", "auc"]
    assert key != world.key(REQUEST)


@pytest.mark.parametrize("query", ["", SKIP])
@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"profile": "no_such"}, 400, "unsupported-profile"),
        ({"profile": "gl-ar300m"}, 400, "ambiguous-profile"),
        ({"target": "no/such"}, 400, "unsupported-target"),
        ({"version": "24.10.99"}, 400, "unsupported-version"),
        ({"version": "26.10.0"}, 400, "unsupported-branch"),
        ({"distro": "lede"}, 400, "unsupported-distro"),
        ({"packages": ["$(shell id)"]}, 422, "invalid-request"),
        ({"packages": ["--force"]}, 422, "invalid-request"),
        ({"profile": "a;b"}, 422, "invalid-request"),
        ({"repositories": {"a": "https://example.org"}}, 400, "repository-not-allowed"),
        (
            {"repositories": {"a": "https://feeds.example.org/own/../other"}},
            400,
            "malformed-repository",
        ),
        (
            {"repositories": {"a": "https://feeds.example.org/own/packages.adb"}},
            400,
            "malformed-repository",
        ),
        (
            {"repositories": {"openwrt_core": "https://feeds.example.org/own"}},
            400,
            "malformed-repository",
        ),
        ({"repositories": {"../a": "https://feeds.example.org/own"}}, 422, "invalid-request"),
        ({"repositories": {"a": "https://feeds.example.org/own\n"}}, 422, "invalid-request"),
        ({"repository_keys": ["key"]}, 400, "malformed-repository-key"),
        ({"repository_keys": [PEM]}, 400, "unsuitable-repository-key"),
        ({"target": "lantiq/xrx200"}, 503, "half-published"),
    ],
)
def test_every_build_request_is_validated(
    shared: World, query: str, fields: dict[str, Any], status: int, code: str
) -> None:
    """Skipping the resolution skips no check: nothing that is refused ever reaches a worker."""
    before = shared.queue.tickets
    answer = shared.post({**REQUEST, **fields}, query)
    preview = prepare(shared, **fields)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (preview.status_code, preview.json()["code"]) == (status, code)
    assert shared.queue.tickets == before


def test_previews_and_builds_go_on_without_the_prepare_service() -> None:
    """The preview says which service made it; readiness and metrics say that it fell back."""
    with opened(prepare_service=AbsentService()) as world:
        preview = prepare(world).json()
        build = world.post(REQUEST)
        health = world.client.get("/readyz?verbose").json()
        metrics = world.client.get("/metrics").text

    assert (preview["status"], preview["prepared_by"]) == ("prepared", "asu")
    assert (build.status_code, build.json()["request_hash"]) == (202, preview["request_hash"])
    assert (health["status"], health["checks"]["prepare"][:9]) == ("ok", "degraded:")
    assert 'asu_preview_fallbacks_total{reason="unanswered"} 1.0' in metrics


def test_a_server_without_a_prepare_service_says_that_it_made_the_preview(world: World) -> None:
    """As everywhere."""
    assert prepare(world).json()["prepared_by"] == "asu"


def test_an_unreadable_preview_request_asks_nobody() -> None:
    """What is malformed is refused before anything is fetched."""
    with opened(upstream=UntouchableUpstream()) as world:
        assert prepare(world, packages="luci").status_code == 422
