"""Which store the settings name, and what a server pays for it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from asu.errors import StoreFailed
from asu.logs import configure_logging
from asu.settings import Settings
from asu.stores import open_store
from asu.stores.local import LocalStore

SECRET = SecretStr("do-not-tell")


def test_without_a_bucket_images_lie_on_the_disk(tmp_path: Path) -> None:
    """In the directory that the settings name, which is made."""
    store = open_store(Settings(store_path=tmp_path / "a" / "store"))

    assert isinstance(store, LocalStore)
    assert (tmp_path / "a" / "store").is_dir()


def test_with_a_bucket_nothing_is_asked_or_made_at_the_start(tmp_path: Path) -> None:
    """The API has no need of a disk, and starts before the bucket's server does."""
    store = open_store(
        Settings(
            s3_bucket="images",
            s3_access_key_id=SECRET,
            s3_secret_access_key=SECRET,
            store_path=tmp_path / "store",
        )
    )

    assert type(store).__name__ == "S3Store"
    assert not (tmp_path / "store").exists()


def test_half_a_key_is_refused_at_the_start(tmp_path: Path) -> None:
    """The secret is not told."""
    with pytest.raises(StoreFailed, match="cannot be set up") as caught:
        open_store(Settings(s3_bucket="images", s3_secret_access_key=SECRET, store_path=tmp_path))

    assert "do-not-tell" not in str(caught.value)


def test_a_server_with_a_local_store_does_not_load_boto3(tmp_path: Path) -> None:
    """It would cost every process memory and the start a part of a second."""
    program = (
        "import sys, asu.services, asu.app, asu.worker.process; from asu.stores import open_store;"
        " from asu.settings import Settings\nopen_store(Settings()); print({'boto3', 'botocore'} &"
        " set(sys.modules))"
    )
    environment = {"STORE_PATH": str(tmp_path), "ASU_CONFIG": str(tmp_path / "none.toml")}
    result = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )

    assert result.stdout == "set()\n"


@pytest.mark.parametrize(
    "name", ["botocore.auth", "botocore.endpoint", "urllib3.connectionpool", "boto3.session"]
)
def test_signed_requests_are_not_logged(name: str) -> None:
    """Not even where an operator wants to see everything."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("debug")
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
