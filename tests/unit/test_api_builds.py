"""Asking for a build and polling it, as clients see it on the wire."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from asu.builds.fleet import WorkerNote
from asu.errors import ContainerFailed, ImpossibleSelection
from asu.records.build_record import BuildRecord, State
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryFleet
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import REQUEST, UntouchableUpstream, World, metadata, opened

UNKNOWN = "0" * 64


@pytest.fixture
def world() -> Iterator[World]:
    """Return an API over in-memory parts."""
    with opened() as world:
        yield world


def poll(world: World, key: str, method: str = "GET") -> Any:
    """Ask how far a build is."""
    return world.client.request(method, f"/api/v1/build/{key}")


def marks(answer: Any) -> tuple[int, str | None, str | None]:
    """Return status and the two headers by which owut follows a build."""
    return (
        answer.status_code,
        answer.headers.get("x-imagebuilder-status"),
        answer.headers.get("x-queue-position"),
    )


def test_a_new_build_is_queued(world: World) -> None:
    """The answer has what every client needs to go on, and no step, which only a running build
    has.
    """
    answer = world.post(REQUEST)

    body = answer.json()
    assert marks(answer) == (202, "queued", "0")
    assert (body["status"], body["detail"], body["queue_position"]) == (202, "queued", 0)
    told = {"status", "detail", "queue_position", "enqueued_at", "request_hash"}
    assert set(body) == told | {"eta_seconds", "workers_alive", "attempts"}
    assert datetime.fromisoformat(body["enqueued_at"]).tzinfo is not None
    assert world.records.due_keys() == [body["request_hash"]]
    assert world.queue.tickets == 1


def test_a_second_build_waits_behind_the_first(world: World) -> None:
    """Positions count from 0."""
    world.post(REQUEST)
    answer = world.post({**REQUEST, "packages": ["vim"]})

    assert marks(answer) == (202, "queued", "1")
    assert answer.json()["queue_position"] == 1


@pytest.mark.parametrize(
    "step",
    [
        "init",
        "container_setup",
        "validate_revision",
        "validate_manifest",
        "building_image",
        "signing_images",
    ],
)
def test_a_running_build_shows_its_step(world: World, step: str) -> None:
    """LuCI translates the step, and takes any `queue_position` for a sign that the build still
    waits.
    """
    key = world.key({**REQUEST, "client": "owut/2026"})
    world.start(key, None if step == "init" else step)

    answer = poll(world, key)

    body = answer.json()
    assert marks(answer) == (202, step, "0")
    assert (body["status"], body["detail"], body["imagebuilder_status"], body["request_hash"]) == (
        202,
        "started",
        step,
        key,
    )
    assert body["request"]["profile"] == REQUEST["profile"]
    assert "queue_position" not in body
    assert datetime.fromisoformat(body["enqueued_at"]).tzinfo is not None


def test_a_finished_build_answers_with_everything(world: World) -> None:
    """Without `request` owut dies, and it takes the status from the body."""
    key = world.key(REQUEST)
    world.finish(key)

    answer = poll(world, key)

    body = answer.json()
    assert marks(answer) == (200, "done", "0")
    assert (body["status"], body["detail"], body["imagebuilder_status"], body["bin_dir"]) == (
        200,
        "done",
        "done",
        key,
    )
    assert body["request"]["version_code"] == ""
    assert body["request"].keys() >= {"rootfs_size_mb", "defaults"}
    assert body.keys() >= {"stdout", "stderr", "images", "manifest", "titles"}
    assert "queue_position" not in body


def test_a_failed_build_says_why(world: World) -> None:
    """A failure is a 500, or auc and old LuCI would not show the reason."""
    key = world.key(REQUEST)
    world.fail(key, ImpossibleSelection(reason="no such package"))

    answer = poll(world, key)

    body = answer.json()
    assert marks(answer) == (500, "failed", "0")
    assert (body["status"], body["imagebuilder_status"]) == (500, "failed")
    assert body["detail"] == "Error: Impossible package selection: no such package"
    assert body.keys() >= {"stdout", "stderr", "request", "request_hash", "enqueued_at"}


@pytest.mark.parametrize(
    "key", [UNKNOWN, "x", UNKNOWN[1:], "A" * 64, "%20", "%C2%80", "asu:waiting"]
)
def test_an_unknown_build_is_not_found(world: World, key: str) -> None:
    """In the words that clients know, whatever stands in the path; but for control characters,
    which no address has.
    """
    answer = poll(world, key)

    body = answer.json()
    assert marks(answer) == (404, None, None)
    assert (body["status"], body["title"], body["detail"]) == (
        404,
        "Not Found",
        "could not find provided request hash",
    )


def test_head_is_get_without_body(world: World) -> None:
    """While a build waits or runs, owut polls with HEAD alone."""
    key = world.key(REQUEST)

    def agree() -> int:
        get, head = poll(world, key), poll(world, key, "HEAD")
        assert marks(get) == marks(head)
        assert get.headers["content-type"] == head.headers["content-type"] == "application/json"
        assert head.content == b""
        return int(get.status_code)

    statuses = [agree()]
    world.start(key, "building_image")
    statuses.append(agree())
    world.records.lose(key)
    world.finish(key)
    statuses.append(agree())
    world.records.let_pass(1000)
    world.store.published.clear()
    statuses.append(agree())

    assert statuses == [202, 202, 200, 404]


def test_those_who_wait_learn_when_it_may_be_finished(world: World) -> None:
    """From the last builds, their place and the workers that live; at first nobody knows."""
    unknown = world.post(REQUEST).json()
    key = unknown["request_hash"]
    attempt, _ = world.start(key)
    world.records.let_pass(40)
    world.records.finish(attempt, BuildRecord(state=State.DONE, step="done", body=b"{}"), 1)
    world.records.let_pass(1)
    with opened(records=world.records) as later:
        known = [later.post({**REQUEST, "packages": [name]}).json() for name in ("vim", "nano")]
        later.start(known[0]["request_hash"], "building_image")
        world.records.let_pass(10)
        started = poll(later, known[0]["request_hash"]).json()

    assert (unknown["eta_seconds"], unknown["workers_alive"], "notice" in unknown) == (
        None,
        1,
        False,
    )
    assert [one["eta_seconds"] for one in known] == pytest.approx([81, 121], abs=1)
    assert started["eta_seconds"] == pytest.approx(31, abs=1)
    assert (started["workers_alive"], "queue_position" in started) == (1, False)


def test_that_nobody_works_is_said() -> None:
    """Clients show a build that waits for ever; whoever looks closer is told why."""
    with opened(fleet=MemoryFleet()) as world:
        body = world.post(REQUEST).json()

    assert (body["status"], body["detail"], body["workers_alive"], body["eta_seconds"]) == (
        202,
        "queued",
        0,
        None,
    )
    assert body["notice"].startswith("no worker is alive")


def test_that_no_worker_begins_a_build_is_said() -> None:
    """Workers live, and nothing moves: whatever holds them up, those who wait learn it."""
    records = ImitatedRecords()
    with opened(records=records) as world:
        key = world.key(REQUEST)
    records.let_pass(1000)
    with opened(records=records) as world:
        body = poll(world, key).json()
        answers = [world.client.get(path).json() for path in ("/readyz", "/health")]
        page, status = world.client.get("/status").text, world.client.get("/status.json").json()

    assert body["notice"].startswith("builds wait, but no worker has begun one")
    assert (body["eta_seconds"], body["workers_alive"]) == (None, 1)
    assert [answer["notice"][:40] for answer in answers] == [
        "builds wait, but no worker has begun one"
    ] * 2
    assert "no worker has begun one" in page
    assert status["is_stuck"] is True


@pytest.mark.parametrize("waits", [True, False], ids=["another is built", "nobody waits"])
def test_what_waits_behind_another_build_is_not_stuck(*, waits: bool) -> None:
    """A long build keeps others waiting."""
    with opened() as world:
        world.start(world.key(REQUEST))
        if waits:
            world.key({**REQUEST, "packages": ["vim"]})
        world.records.let_pass(1000)

        assert "notice" not in world.client.get("/readyz").json()
        assert world.client.get("/status.json").json()["is_stuck"] is False


def test_that_no_worker_has_room_is_said() -> None:
    """To those who wait for it alone: what runs goes on."""
    with opened(disk_reserve_mb=1) as world:
        running, waiting = (world.key({**REQUEST, "packages": [name]}) for name in ("vim", "nano"))
        world.start(running, "building_image")
        world.fleet.workers["0"] = WorkerNote(trouble="", disk_free=1)
        # Two readings may be a second apart; another world has none yet.
        with opened(
            records=world.records, queue=world.queue, fleet=world.fleet, disk_reserve_mb=1
        ) as later:
            waits, runs = (poll(later, key).json() for key in (waiting, running))

    assert (waits["status"], waits["detail"], waits["workers_alive"], waits["eta_seconds"]) == (
        202,
        "queued",
        1,
        None,
    )
    assert waits["notice"].startswith("the server's disk is too full to begin builds")
    assert "notice" not in runs


def test_an_attempt_that_failed_is_told_and_is_no_end(world: World) -> None:
    """While the build waits for its next attempt, clients see what they know: a build that
    waits.
    """
    key = world.key(REQUEST)
    attempt, _ = world.start(key)
    assert world.records.retry(attempt, "download-failed", 5)

    answer = poll(world, key)

    [one] = answer.json()["attempts"]
    assert marks(answer) == (202, "queued", "0")
    assert (one["number"], one["outcome"], one["code"]) == (1, "failed", "download-failed")
    assert all(datetime.fromisoformat(one[name]).tzinfo is not None for name in ("begun", "ended"))
    world.records.let_pass(5)
    world.finish(key)
    done = poll(world, key)
    assert (
        done.status_code,
        [(one["number"], one["outcome"]) for one in done.json()["attempts"]],
    ) == (200, [(1, "failed"), (2, "done")])


def test_asking_again_changes_nothing(world: World) -> None:
    """Early LuCI asks with POST for ever: each answer is the present state, and there is one
    job.
    """
    key = world.key(REQUEST)
    answers = [world.post(REQUEST)]
    world.start(key, "building_image")
    answers.append(world.post(REQUEST))
    assert world.queue.tickets == 1
    world.records.lose(key)
    world.finish(key)
    answers.append(world.post(REQUEST))

    assert [marks(answer) for answer in answers] == [
        (202, "queued", "0"),
        (202, "building_image", "0"),
        (200, "done", "0"),
    ]
    assert {answer.json()["request_hash"] for answer in answers} == {key}
    assert answers[-1].json() == poll(world, key).json()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_poll_never_leads_to_files_that_are_gone(world: World, method: str) -> None:
    """The build goes back in line; when it is done again, the answer is as it was."""
    key = world.key(REQUEST)
    world.finish(key)
    del world.store.published[key]

    assert marks(poll(world, key, method)) == (202, "queued", "0")
    assert "images" not in poll(world, key).json()
    world.finish(key)
    assert marks(poll(world, key, method)) == (200, "done", "0")


@pytest.mark.parametrize(
    ("error", "status"),
    [(ImpossibleSelection(reason="never"), 500), (ContainerFailed(reason="podman"), 202)],
)
def test_only_failures_of_others_are_tried_again(world: World, error: Any, status: int) -> None:
    """A selection that cannot work is not built twice; a fault of the server is never held against
    the user.
    """
    key = world.key(REQUEST)
    world.fail(key, error)

    assert world.post(REQUEST).status_code == status


def test_the_first_boot_script_is_in_no_answer() -> None:
    """Whoever knows the hash may see the build, and never the passwords in the script."""
    with opened(allow_defaults=True) as world:
        request = {**REQUEST, "defaults": "passwd hunter2"}
        texts = [world.post(request).text]
        key = world.key(request)
        world.start(key)
        texts.append(poll(world, key).text)
        world.records.lose(key)
        world.finish(key)
        texts += [poll(world, key).text, world.post(request).text]

    assert not [text for text in texts if "hunter2" in text]
    assert '"defaults": "(withheld)"' in texts[-1]


@pytest.mark.parametrize("path", ["/api/v1/build", "/api/v1/build/prepare"])
def test_what_stands_for_a_script_is_no_script(path: str) -> None:
    """A client that sends an answer back would build an image that runs these words."""
    with opened(allow_defaults=True) as world:
        answer = world.client.post(path, json={**REQUEST, "defaults": "(withheld)"})

    assert answer.status_code == 422
    assert "(withheld) stands for a script" in answer.json()["detail"]


def test_a_script_makes_another_build() -> None:
    """Two devices with different scripts never get each other's image."""
    with opened(allow_defaults=True) as world:
        keys = {world.key({**REQUEST, "defaults": script}) for script in ("", "a", "b")}

    assert len(keys) == 3


def test_above_the_limit_only_new_builds_are_refused() -> None:
    """529 with JSON and a time to come back; a known build still gets its answer."""
    with opened(max_pending_jobs=1) as world:
        key = world.key(REQUEST)
        refused = world.post({**REQUEST, "packages": ["vim"]})
        known = [world.post(REQUEST), poll(world, key)]

        body = refused.json()
        assert (refused.status_code, body["status"], body["title"], body["code"]) == (
            529,
            529,
            "Server overloaded",
            "overloaded",
        )
        assert body["detail"].startswith(
            "server overload, queue contains too many build requests: 1"
        )
        assert int(refused.headers["retry-after"]) == body["retry_after"] > 0
        assert [answer.status_code for answer in known] == [202, 202]
        assert world.queue.tickets == 1


def test_polling_never_asks_the_downloads_server() -> None:
    """Polls go on when OpenWrt's servers are down or slow."""
    with opened(upstream=UntouchableUpstream()) as world:
        assert poll(world, UNKNOWN).status_code == 404
        assert poll(world, UNKNOWN, "HEAD").status_code == 404
        assert world.post(REQUEST).status_code == 500, (
            "the twin shows that it would have been noticed"
        )


def test_get_with_a_json_content_type_and_a_timestamp(world: World) -> None:
    """LuCI and the Firmware Selector poll like this."""
    key = world.key(REQUEST)
    answer = world.client.get(
        f"/api/v1/build/{key}?1795421294847", headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 202


def test_a_timestamp_does_not_change_the_build(world: World) -> None:
    """LuCI adds one to every POST."""
    assert (
        world.key(REQUEST, "?1795421294847")
        == world.key(REQUEST, "?1795421294848")
        == world.key(REQUEST)
    )


def test_the_same_image_by_any_name(world: World) -> None:
    """Alias, comma, doubles and empty fields meet in one build; so does any order, if it is
    none.
    """
    variants: list[dict[str, Any]] = [
        {},
        {"profile": "tplink,archer-c7-v5"},
        {"profile": "archer-c7-v5"},
        {"packages": ["auc", "luci"], "any_order": True},
        {"packages": ["luci", "luci", "auc"]},
        {"packages": ["luci", "owut"]},
        {
            "defaults": "",
            "repositories": {},
            "repository_keys": [],
            "filesystem": None,
            "rootfs_size_mb": None,
            "version_code": "",
        },
        {"client": "luci/undefined", "url": "https://example.org", "distro": "openwrt"},
        {"diff_packages": False, "packages_versions": {}, "repositories_mode": "append"},
    ]

    assert len({world.key({**REQUEST, **variant}) for variant in variants}) == 1
    assert world.queue.tickets == 1


def with_index(version: str) -> MemoryUpstream:
    """Return a downloads server that knows one version of tmux, in whole indexes."""
    base = "releases/24.10.4"
    index = {"version": 2, "packages": {"tmux": version}}
    return MemoryUpstream(
        {
            **metadata(),
            f"{base}/packages/mips_24kc/feeds.conf": "src-git base https://x.example/b^01\n",
            f"{base}/packages/mips_24kc/base/index.json": index,
            f"{base}/targets/ath79/generic/packages/index.json": {**index, "packages": {}},
        }
    )


@pytest.mark.parametrize("wanted", ["3.4-r1", "9.9-r9"])
def test_a_version_that_the_release_has_not_is_refused_before_the_queue(wanted: str) -> None:
    """The build would install everything and then fail; the ImageBuilder is not to blame."""
    request = {**REQUEST, "packages": [], "packages_versions": {"tmux": wanted}}
    with opened(upstream=with_index("3.5-r1")) as world:
        answer = world.post(request)
        preview = world.client.post("/api/v1/build/prepare", json=request).json()

    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (400, 400, "impossible-selection")
    assert body["detail"].startswith("Impossible package selection: tmux is 3.5-r1 in 24.10.4")
    assert "ImageBuilder" not in body["detail"]
    assert body["problems"] == preview["problems"]


def test_a_known_build_is_answered_although_the_index_has_moved_on() -> None:
    """Some clients ask for their build by sending it again; its packages were there."""
    request = {**REQUEST, "packages": [], "packages_versions": {"tmux": "3.4-r1"}}
    records = ImitatedRecords()
    with opened(upstream=with_index("3.4-r1"), records=records) as world:
        assert world.post(request).status_code == 202
    with opened(upstream=with_index("3.5-r1"), records=records) as world:
        assert world.post(request).status_code == 202


def test_a_finished_build_is_answered_from_memory_while_its_files_are_there(world: World) -> None:
    """Polls need no record for a few seconds; files that go end that at once."""
    key = world.key(REQUEST)
    world.finish(key)
    answer = poll(world, key)
    world.records.let_pass(1000)

    assert poll(world, key).content == answer.content
    assert marks(poll(world, key, "HEAD")) == marks(answer) == (200, "done", "0")
    del world.store.published[key]
    assert poll(world, key).status_code == 404


def test_the_same_request_is_decided_once_in_a_few_seconds(world: World) -> None:
    """Its bytes stand for it while its files are there; any other byte or query is a new one."""
    world.finish(world.key(REQUEST))
    answer = world.post(REQUEST)
    world.records.let_pass(1000)

    assert (world.post(REQUEST).status_code, world.post(REQUEST).content) == (200, answer.content)
    assert world.post(REQUEST, "?skip_package_resolution=true").status_code == 202
    assert world.post({**REQUEST, "version": "17.01.7"}).status_code == 400
    world.store.published.clear()
    assert world.post(REQUEST).status_code == 202
