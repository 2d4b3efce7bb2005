"""What `asu check` makes of what it sees; the integration ring lets it look at real servers."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asu.__main__ import main
from asu.checking import isolation, machine
from asu.checking import neighbours as services
from asu.checking.check_command import checks_for, in_json, in_words, show
from asu.checking.findings import Finding, Level, fine, problem, run_checks
from asu.disk_space import MIB
from asu.errors import QueueUnavailable
from asu.operations.redis_condition import RedisCondition
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.worker.podman_condition import PodmanCondition, is_unsteady

GOOD = RedisCondition(
    name="Redis",
    version=(7, 0, 15),
    is_append_only=True,
    saves_snapshots=False,
    waits_for_disk=True,
    is_writing=True,
    eviction="noeviction",
    max_memory=0,
    used_memory=0,
)


def test_a_well_kept_redis_is_fine() -> None:
    """Nothing is to be done about it."""
    judged = [
        judge(GOOD)
        for judge in (services.judge_redis, services.judge_persistence, services.judge_eviction)
    ]

    assert [verdict.level for verdict in judged] == [Level.OK] * 3


@pytest.mark.parametrize(
    ("judge", "changes", "level", "words"),
    [
        (services.judge_redis, {"version": (4, 0, 9)}, Level.PROBLEM, "too old"),
        (services.judge_redis, {"version": (4, 0, 9), "name": "Valkey"}, Level.OK, "answers"),
        (services.judge_redis, {"is_writing": False}, Level.PROBLEM, "write to the disk failed"),
        (services.judge_persistence, {"is_append_only": False}, Level.PROBLEM, "nothing is saved"),
        (
            services.judge_persistence,
            {"is_append_only": False, "saves_snapshots": True},
            Level.WARNING,
            "only snapshots",
        ),
        (
            services.judge_persistence,
            {"is_append_only": False, "saves_snapshots": None},
            Level.WARNING,
            "does not say",
        ),
        (
            services.judge_persistence,
            {"waits_for_disk": False},
            Level.WARNING,
            "a crash loses those builds",
        ),
        (
            services.judge_eviction,
            {"eviction": "allkeys-lru", "max_memory": 1},
            Level.PROBLEM,
            "allkeys-lru drops",
        ),
        (
            services.judge_eviction,
            {"eviction": "volatile-ttl"},
            Level.WARNING,
            "volatile-ttl would drop",
        ),
    ],
)
def test_a_redis_that_loses_builds_is_found(
    judge: services.Judge, changes: dict[str, Any], level: Level, words: str
) -> None:
    """Each way has its words, and what to do."""
    verdict = judge(replace(GOOD, **changes))

    assert (verdict.level, words in verdict.detail) == (level, True)
    assert bool(verdict.advice) is (level is not Level.OK)


@pytest.mark.parametrize(
    ("used", "limit", "level", "words"),
    [
        (7, 0, Level.OK, "no limit"),
        (7, 256, Level.OK, "7 MiB are used of 256 MiB"),
        (240, 256, Level.PROBLEM, "240 MiB are used of 256 MiB, and new builds are refused"),
        (7, 32, Level.WARNING, "too few for MAX_PENDING_JOBS=200"),
    ],
)
def test_a_redis_with_too_little_memory_is_found(
    used: int, limit: int, level: Level, words: str
) -> None:
    """Before it refuses builds, if it is too small for the line that is allowed."""
    verdict = services.judge_memory(
        200, replace(GOOD, used_memory=used * MIB, max_memory=limit * MIB)
    )

    assert (verdict.level, words in verdict.detail) == (level, True)
    assert bool(verdict.advice) is (level is not Level.OK)


def test_the_memory_that_is_advised_is_enough() -> None:
    """Whoever does as told is not told again."""
    advice = services.judge_memory(3_000, replace(GOOD, max_memory=256 * MIB)).advice
    advised = int("".join(filter(str.isdigit, advice)))

    assert services.judge_memory(3_000, replace(GOOD, max_memory=advised * MIB)).level is Level.OK


def test_a_missing_worker_is_found() -> None:
    """Builds would be accepted and wait for ever."""

    def away() -> int:
        raise QueueUnavailable

    assert services.check_workers(lambda: 1) == fine("1 alive")
    assert services.check_workers(lambda: 0) == problem(
        "no worker is alive: builds are accepted and wait", "Start one: `asu worker`."
    )
    assert services.check_workers(away).level is Level.PROBLEM


def test_a_missing_socket_is_found(tmp_path: Path) -> None:
    """With what starts podman's service; a file that is no socket is told apart."""
    missing = machine.judge_podman(Settings(container_socket_path=tmp_path / "podman.sock"))
    (tmp_path / "file").touch()

    assert missing.level is Level.PROBLEM
    assert missing.detail == f"there is no {tmp_path}/podman.sock"
    assert "podman.socket" in missing.advice
    assert (
        "is not a socket"
        in machine.judge_podman(Settings(container_socket_path=tmp_path / "file")).detail
    )


@pytest.mark.parametrize(
    "name",
    [
        "openwrt imagebuilder",
        "ghcr.io/openwrt/imagebuilder:v1",
        "https://ghcr.io/x",
        "imagebuilder",
        "ghcr.io/Open/x",
    ],
)
def test_an_odd_name_of_builders_is_found(name: str) -> None:
    """Podman would answer it with words of its own, at the first build."""
    assert (
        machine.check_builders(Settings(base_container=name)).detail
        == f'BASE_CONTAINER "{name}" is not the name of a container image'
    )


@pytest.mark.parametrize(
    "name",
    [
        "ghcr.io/openwrt/imagebuilder",
        "localhost/asu-standin/imagebuilder",
        "registry.example.org:5000/a/b_c",
    ],
)
def test_a_good_name_of_builders_is_one(name: str) -> None:
    """Host, port, words between slashes."""
    assert machine.IMAGE_NAME.fullmatch(name)


def test_a_store_that_can_be_written_is_fine(tmp_path: Path) -> None:
    """It has nothing more afterwards than before."""
    LocalStore(tmp_path).open()

    assert machine.check_store(Settings(store_path=tmp_path)).level is Level.OK
    assert [path.name for path in tmp_path.rglob("*")] == [".incoming"]


def test_a_store_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    """A file lies where its directory, or its part for what is gathered, should be."""
    (tmp_path / "file").touch()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".incoming").touch()

    assert (
        machine.check_store(Settings(store_path=tmp_path / "file" / "store")).level is Level.PROBLEM
    )
    assert "not writable" in machine.check_store(Settings(store_path=tmp_path / "store")).detail


def test_a_store_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    """It would belong to whoever looked, and the services could not write into it."""
    assert machine.check_store(Settings(store_path=tmp_path / "store")).level is Level.WARNING
    assert not (tmp_path / "store").exists()


def test_a_full_disk_is_found(tmp_path: Path) -> None:
    """Below the reserve counts as full, and a store that is not there yet lies on the disk of its
    parents.
    """
    assert (
        machine.check_disk(Settings(store_path=tmp_path / "store", disk_reserve_mb=0)).level
        is Level.OK
    )
    verdict = machine.check_disk(Settings(store_path=tmp_path / "store", disk_reserve_mb=2**40))

    assert (verdict.level, "less than the reserve" in verdict.detail) == (Level.PROBLEM, True)


def test_a_key_that_cannot_be_used_is_found(tmp_path: Path) -> None:
    """A worker would not start with it."""
    assert machine.check_key(Settings()).level is Level.OK
    assert machine.check_key(Settings(build_key=tmp_path / "none")).level is Level.PROBLEM


def test_one_check_does_not_stop_the_others() -> None:
    """One hangs, one fails in a way that nobody thought of; the rest is told in its order, and no
    message that may hold a secret.
    """
    hanging = threading.Event()

    def hang() -> Finding:
        hanging.wait()
        return fine("too late")

    def fail() -> Finding:
        raise RuntimeError("a secret")

    findings = run_checks({"a": hang, "b": fail, "c": lambda: fine("well")}, seconds=0.2)
    hanging.set()

    assert [(finding.name, finding.level) for finding in findings] == [
        ("a", Level.PROBLEM),
        ("b", Level.PROBLEM),
        ("c", Level.OK),
    ]
    assert "no answer within 0.2 s" in findings[0].detail
    assert findings[1].detail == "the check itself failed: RuntimeError"


def test_a_check_may_have_longer() -> None:
    """One that starts containers is waited for, and the others' time is not longer for that."""
    hanging, slow = threading.Event(), threading.Event()

    def hang() -> Finding:
        hanging.wait()
        return fine("too late")

    def be_slow() -> Finding:
        slow.wait(0.3)
        return fine("at last")

    findings = run_checks({"slow": be_slow, "hang": hang}, seconds=0.1, longer={"slow": 30.0})
    hanging.set()

    assert [finding.detail for finding in findings] == ["at last", "no answer within 0.1 s"]


def test_warnings_are_no_problems() -> None:
    """Only a problem makes the command fail."""
    findings = [
        Finding(name="a", level=Level.WARNING, detail="d"),
        Finding(name="b", level=Level.OK, detail="d"),
    ]

    show(findings, as_json=False)
    with pytest.raises(SystemExit, match="1"):
        show([*findings, Finding(name="c", level=Level.PROBLEM, detail="d")], as_json=False)


def test_findings_are_told_to_people_and_programs() -> None:
    """Level, name, what was found, what to do."""
    findings = [Finding(name="disk", level=Level.PROBLEM, detail="full", advice="Free some.")]

    assert in_words(findings).split() == ["PROBLEM", "disk", "full", "→", "Free", "some."]
    assert json.loads(in_json(findings)) == {
        "findings": [{"name": "disk", "level": "problem", "detail": "full", "advice": "Free some."}]
    }


def test_each_part_of_a_server_has_its_checks() -> None:
    """A machine with workers alone listens on no port, one with the API alone needs no podman."""
    names = {
        part: set(checks_for(Settings(), part=part, host="127.0.0.1", port=8000))
        for part in ("all", "api", "worker")
    }

    assert names["all"] == names["api"] | names["worker"]
    assert names["api"] - names["worker"] == {"prepare", "port"}
    assert names["worker"] - names["api"] == {
        "podman",
        "network",
        "builders",
        "isolation",
        "key",
        "audit",
    }


def test_what_builds_must_not_reach_is_tried_from_inside() -> None:
    """Redis by its address, or through the way out of the network where it listens on this machine;
    the API; metadata of clouds.
    """
    far = isolation.targets(["10.1.2.3"], 7000, 8000, "203.0.113.5")
    near = isolation.targets(["127.0.0.1"], 6379, 8000, "")

    assert far == [
        *isolation.METADATA,
        "gateway:8000",
        "gateway:7000",
        "203.0.113.5:7000",
        "10.1.2.3:7000",
    ]
    assert near == [*isolation.METADATA, "gateway:8000", "gateway:6379"]


@pytest.mark.parametrize("command", ["api", "worker", "sweep"])
def test_mistakes_in_settings_are_told_without_a_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each, by the setting's name and without its value, which may be a secret."""
    monkeypatch.setenv("MAX_ATTEMPTS", "s3cret")
    monkeypatch.setenv("LOG_LEVEL", "loud")

    with pytest.raises(SystemExit) as ended:
        main([command])

    lines = str(ended.value.code).splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["MAX_ATTEMPTS", "LOG_LEVEL"]
    assert "s3cret" not in str(ended.value.code)


def test_mistakes_in_settings_are_findings_of_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the form that was asked for, with the exit code of a problem."""
    monkeypatch.setenv("DISK_RESERVE_MB", "-1")

    with pytest.raises(SystemExit) as ended:
        main(["check", "--json"])

    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert (
        ended.value.code,
        finding["name"],
        finding["level"],
        finding["detail"].split(":")[0],
    ) == (1, "settings", "problem", "DISK_RESERVE_MB")


def test_a_file_of_settings_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken file is a mistake in the settings like any other."""
    (tmp_path / "asu.toml").write_text("max_attempts = = 3")
    monkeypatch.setenv("ASU_CONFIG", str(tmp_path / "asu.toml"))

    with pytest.raises(SystemExit, match="not TOML"):
        main(["api"])


def test_an_audit_log_that_cannot_be_written_is_found_before_a_build_is_missing_in_it(
    tmp_path: Path,
) -> None:
    """A directory that is not there, or a link in the place of the file; nothing is written by the
    check.
    """
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    paths = (None, tmp_path / "audit.jsonl", tmp_path / "none" / "audit.jsonl", tmp_path / "link")

    levels = [machine.check_audit(Settings(audit_log=path)).level for path in paths]

    assert levels == [Level.OK, Level.OK, Level.PROBLEM, Level.PROBLEM]
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize(
    ("written", "level"), [("job_timeout = '10m'", "warning"), ("build_ttl = 7", "ok")]
)
def test_settings_that_nothing_reads_are_named(
    written: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They came with the file of another server, or are misspelt."""
    path = tmp_path / "asu.toml"
    path.write_text(f"{written}\n")
    monkeypatch.setenv("ASU_CONFIG", str(path))

    found = checks_for(Settings(), part="api", host="127.0.0.1", port=8000)["settings"]()

    assert found.level == level
    assert ("job_timeout in asu.toml has no effect here" in found.detail) is (level == "warning")


@pytest.mark.parametrize(
    ("assigned", "ports", "expected"),
    [("1", 2, True), ("1", 1, False), ("3", 2, False), ("1", 0, False)],
)
def test_a_bridge_without_an_address_of_its_own_is_unsteady(
    tmp_path: Path, assigned: str, ports: int, *, expected: bool
) -> None:
    """The kernel gives it the lowest of its ports', which matters as soon as it has two."""
    for number in range(ports):
        (tmp_path / "brif" / f"veth{number}").mkdir(parents=True)
    (tmp_path / "addr_assign_type").write_text(f"{assigned}\n")

    assert is_unsteady(tmp_path) == expected
    assert not is_unsteady(tmp_path / "of-another-machine")


def test_what_to_do_about_an_unsteady_bridge_is_said() -> None:
    """With the versions, and a command that fits the bridge."""
    steady = PodmanCondition(
        version="4.3.1", netavark="1.4.0", networks=("asu-build",), unsteady=(), builders=()
    )
    found = machine.judge_network("asu-build", replace(steady, unsteady=("podman7",)))

    assert machine.judge_network("asu-build", steady).level is Level.OK
    assert found.level is Level.WARNING
    assert "addr_assign_type 1, netavark 1.4.0" in found.detail
    assert "netavark to 1.9" in found.advice
    assert "ip link set dev podman7 address" in found.advice
    assert "podman network create other" in machine.judge_network("other", steady).advice
