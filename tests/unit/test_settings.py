"""Settings are read once from arguments, environment and file, in that order, and never change."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from asu.settings import COPY_MB_PER_SECOND, Settings
from asu.unread_settings import unread_settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the settings' file, still to be written."""
    path = tmp_path / "asu.toml"
    monkeypatch.setenv("ASU_CONFIG", str(path))
    return path


def test_settings_cannot_be_changed() -> None:
    """Nobody assigns to a setting while the server runs."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().max_pending_jobs = 1


def test_a_file_sets_what_the_environment_leaves_open(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins over the file, the file over the defaults."""
    file.write_text('max_pending_jobs = 7\nserver_contact = "from the file"\n', encoding="utf-8")
    monkeypatch.setenv("SERVER_CONTACT", "from the environment")

    settings = Settings()

    assert (settings.max_pending_jobs, settings.server_contact) == (7, "from the environment")


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files hand on unset variables as empty ones."""
    monkeypatch.setenv("MAX_PENDING_JOBS", "")
    monkeypatch.setenv("PREPARE_SERVICE_URL", "")

    settings = Settings()

    assert (settings.max_pending_jobs, settings.prepare_service_url) == (200, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_PENDING_JOBS", "0"),
        ("BUILD_TTL", "-1"),
        ("PULL_POLICY", "sometimes"),
        ("PREPARE_DEADLINE", "0"),
        ("CORS", "maybe"),
        ("S3_PUBLIC_URL", "https://images.example.org/?token=1"),
        ("S3_PUBLIC_URL", "images.example.org"),
        ("S3_ENDPOINT_URL", "s3.example.org"),
        ("S3_PREFIX", "/images/"),
        ("S3_PREFIX", "im ages/"),
    ],
)
def test_a_senseless_value_is_refused_at_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with a wrong setting does not start, instead of failing at the first request."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


ALLOWED = ("https://feeds.example.org/a", "http://192.0.2.7:8080/")


@pytest.mark.parametrize(
    "text",
    [
        "https://feeds.example.org/a,http://192.0.2.7:8080",
        " https://feeds.example.org/a/ , http://192.0.2.7:8080/ ,",
        "https://feeds.example.org/a\nhttp://192.0.2.7:8080",
        '["https://feeds.example.org/a", "http://192.0.2.7:8080"]',
        ' ["HTTPS://Feeds.Example.org:443/a/", "http://192.0.2.7:8080"] ',
    ],
    ids=range(5),
)
def test_a_variable_lists_addresses(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, or with commas, blanks or line breaks between; each address in its one spelling."""
    monkeypatch.setenv("REPOSITORY_ALLOW_LIST", text)

    assert Settings().repository_allow_list == ALLOWED


def test_a_file_lists_addresses(file: Path) -> None:
    """As an array of TOML."""
    file.write_text(
        'repository_allow_list = ["https://feeds.example.org/a", "http://192.0.2.7:8080"]\n',
        encoding="utf-8",
    )

    assert Settings().repository_allow_list == ALLOWED


def test_no_feed_is_allowed_unless_said() -> None:
    """As on the reference server."""
    assert Settings().repository_allow_list == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "https://feeds.example.org feeds.example.org",
            "entry 2 has an address that begins with neither",
        ),
        (
            "https://operator:secret@feeds.example.org",
            "entry 1 has an address with a user or a password in it",
        ),
        ("*", "entry 1 has an address that begins with neither"),
        ('["https://feeds.example.org/../a"]', "entry 1 has an address with `.` or `..`"),
        ('["https://feeds.example.org"', "begins as a JSON array and is none"),
        ("[1]", "valid string"),
    ],
)
def test_a_broken_list_stops_the_start_with_words(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that was passed over would refuse what its operator meant to admit; no password gets
    into a log.
    """
    monkeypatch.setenv("REPOSITORY_ALLOW_LIST", text)

    with pytest.raises(ValidationError, match="repository_allow_list") as caught:
        Settings()

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings may end up in a log; who has the secret opens it where it is used."""
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "do-not-tell")

    settings = Settings()

    assert settings.s3_secret_access_key is not None
    assert settings.s3_secret_access_key.get_secret_value() == "do-not-tell"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "do-not-tell" not in shown


def test_an_attempt_has_time_to_upload_what_it_made() -> None:
    """To a bucket the files are copied once more."""
    settings = Settings(max_output_mb=COPY_MB_PER_SECOND * 100)

    assert (
        Settings(max_output_mb=COPY_MB_PER_SECOND * 100, s3_bucket="images").build_deadline
        == settings.build_deadline + 100
    )


def test_an_attempt_may_take_as_long_as_its_steps_together() -> None:
    """RQ's limit for a job follows the deadlines of the steps, or it would end builds that are in
    time.
    """
    settings = Settings(
        pull_deadline=1,
        info_deadline=10,
        manifest_deadline=100,
        image_deadline=1000,
        max_output_mb=20_000,
    )

    assert settings.build_deadline > 1 + 3 * 10 + 100 + 1000 + 20_000 / COPY_MB_PER_SECOND


def test_signing_gives_an_attempt_more_time(tmp_path: Path) -> None:
    """Images are read again to be signed, which takes as long as copying them once more."""
    more = Settings(build_key=tmp_path / "key").build_deadline - Settings().build_deadline

    assert more >= Settings().max_output_mb // COPY_MB_PER_SECOND


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str) -> None:
    """The table of settings in the documentation is made from these descriptions."""
    description = Settings.model_fields[name].description

    assert description is not None
    assert description.endswith(".")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("7d", 604_800), ("24h", 86_400), ("30m", 1_800), ("90s", 90), ("5", 5)],
)
def test_a_time_may_have_a_unit(
    written: str, seconds: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in settings of the reference server, in the file and in the environment."""
    file.write_text(f'build_ttl = "{written}"\n', encoding="utf-8")
    monkeypatch.setenv("BUILD_FAILURE_TTL", written)

    settings = Settings()

    assert (settings.build_ttl, settings.build_failure_ttl) == (seconds, seconds)


@pytest.mark.parametrize("written", ["0d", "-1h", "7 days", "1.5h", "d", "7D"])
def test_a_time_that_is_none_is_refused(written: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"build_ttl": written})


def test_the_level_of_the_log_may_be_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the reference server has it."""
    monkeypatch.setenv("LOG_LEVEL", "INFO")

    assert Settings().log_level == "info"


# The settings of the reference server, each with a value; those of the same meaning are left out.
REFERENCE = {
    "public_path": "/public",
    "cache_url": "http://cache",
    "async_queue": True,
    "branches_file": "x",
    "container_identity": "x",
    "store_backend": "s3",
    "s3_endpoint": "http://s3",
    "s3_access_key": "k",
    "s3_secret_key": "s",
    "server_stats": True,
    "job_timeout": "10m",
    "squid_cache": True,
    "branches": "x",
}


@pytest.mark.parametrize("name", REFERENCE)
def test_a_setting_of_the_reference_server_is_named(name: str, file: Path) -> None:
    """Where it stands in the file or in the environment; its value may be a secret."""
    file.write_text(f"{name} = {json.dumps(REFERENCE[name])}\n", encoding="utf-8")
    [in_file] = unread_settings({"ASU_CONFIG": str(file)})
    [in_environment] = unread_settings({name.upper(): "hidden", "ASU_CONFIG": "nowhere.toml"})

    assert in_file.startswith(f"{name} in asu.toml has no effect here; ")
    assert in_environment.startswith(f"{name.upper()} has no effect here; ")
    assert "hidden" not in in_environment


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("max_pending_job = 7", "did you mean max_pending_jobs?"),
        ("BUILD_TTL = 7", "did you mean build_ttl?"),
        ("build-ttl = 7", "did you mean build_ttl?"),
        ("[redis]\nurl = 'x'", "did you mean redis_url?"),
        ("zzz = 1", "REFERENCE.md lists all settings."),
        ("'a\\u0007b' = 1", "REFERENCE.md lists all settings."),
    ],
)
def test_no_key_of_the_file_is_ignored_in_silence(written: str, named: str, file: Path) -> None:
    """A misspelt setting would otherwise be found on the day when it counts."""
    file.write_text(f"max_pending_jobs = 7\n{written}\n", encoding="utf-8")

    [sentence] = unread_settings({"ASU_CONFIG": str(file)})

    assert sentence.endswith(named)
    assert sentence.isprintable()


def test_known_settings_are_not_complained_of(file: Path) -> None:
    """Neither those of this server, nor variables that belong to other programs."""
    names = {name.upper(): "x" for name in Settings.model_fields}
    file.write_text("max_pending_jobs = 7\n", encoding="utf-8")

    assert unread_settings({**names, "ASU_CONFIG": str(file), "PATH": "/bin", "BRANCH": "x"}) == []
