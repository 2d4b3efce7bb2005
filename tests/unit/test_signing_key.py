"""The server's key: made by `asu key`, read when a worker starts."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from asu.__main__ import main
from asu.keys.certificate import self_signed
from asu.keys.usign import UnusableKey, new_secret_key
from asu.settings import Settings
from asu.worker.process import chosen_signer
from asu.worker.signing_key import make_signing_key, read_signing_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a new key lies, with its certificate."""
    path = tmp_path / "key-build"
    make_signing_key(path)
    return path


def beside(path: Path, suffix: str) -> Path:
    """Return the file that belongs to a key."""
    return path.with_name(path.name + suffix)


def with_certificate(path: Path, *, begins: float, ends: float) -> None:
    """Give a key another certificate, whose times are told in days from now."""
    now = time.time()
    chain = self_signed(
        read_signing_key(path).secret,
        valid_from=int(now + begins * DAY),
        expires_at=int(now + ends * DAY),
    )
    beside(path, ".ucert").write_bytes(chain)


def test_a_new_key_is_read_with_its_certificate(path: Path) -> None:
    """What `asu key` makes is what a worker needs, for today and for years."""
    key = read_signing_key(path)

    key.check_time(time.time())
    key.check_time(time.time() + 9 * 365 * DAY)
    assert key.certificate.key == key.secret.public
    assert beside(path, ".pub").read_text() == key.secret.public.text()
    assert key.chain == beside(path, ".ucert").read_bytes()


def test_a_new_secret_key_is_for_its_owner_alone(path: Path) -> None:
    """The files that go to devices and into images may be read by all, the secret one may not."""
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "key-build": 0o600,
        "key-build.pub": 0o644,
        "key-build.ucert": 0o644,
    }


@pytest.mark.parametrize("suffix", ["", ".pub", ".ucert"])
def test_no_file_is_ever_overwritten(tmp_path: Path, suffix: str) -> None:
    """A key that devices trust already cannot be had back, so what is there stays, and nothing is
    put beside it.
    """
    taken = tmp_path / f"key{suffix}"
    taken.write_text("precious")

    with pytest.raises(UnusableKey, match="there already"):
        make_signing_key(tmp_path / "key")

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {taken.name: "precious"}


def test_the_command_makes_a_key_and_names_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`asu key PATH` tells what it made; nothing secret is on the terminal."""
    main(["key", str(tmp_path / "key")])

    assert capsys.readouterr().out.split() == [
        str(tmp_path / f"key{suffix}") for suffix in ("", ".pub", ".ucert")
    ]
    read_signing_key(tmp_path / "key")


def test_the_command_says_what_is_in_the_way(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal is one line, not a traceback."""
    with pytest.raises(SystemExit, match=rf"asu key: {path} is there already"):
        main(["key", str(path)])

    assert capsys.readouterr().out == ""


def test_without_a_setting_nothing_is_signed() -> None:
    """A worker without BUILD_KEY leaves images alone."""
    assert chosen_signer(Settings()) is None


def test_a_worker_tells_which_key_it_signs_with(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names fingerprint and end of the certificate, and nothing of the key."""
    caplog.set_level(logging.INFO)

    chosen_signer(Settings(build_key=path))

    [record] = caplog.records
    assert read_signing_key(path).secret.public.fingerprint.hex() in record.message
    assert record.levelno == logging.INFO
    assert path.read_text().splitlines()[1] not in caplog.text


def test_a_certificate_that_ends_soon_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """There is time to have another one issued."""
    with_certificate(path, begins=-1, ends=20)

    chosen_signer(Settings(build_key=path))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def _no_key(path: Path) -> None:
    path.unlink()


def _no_certificate(path: Path) -> None:
    beside(path, ".ucert").unlink()


def _damaged_key(path: Path) -> None:
    path.write_text(path.read_text().replace("\n", "\nAAAA", 1))


def _damaged_certificate(path: Path) -> None:
    beside(path, ".ucert").write_bytes(b"nonsense")


def _certificate_of_another(path: Path) -> None:
    beside(path, ".ucert").write_bytes(
        self_signed(new_secret_key(), valid_from=0, expires_at=2**40)
    )


def _certificate_before_an_authority(path: Path) -> None:
    chain = beside(path, ".ucert")
    chain.write_bytes(
        chain.read_bytes() + self_signed(new_secret_key(), valid_from=0, expires_at=2**40)
    )


def _long_chain(path: Path) -> None:
    chain = beside(path, ".ucert")
    chain.write_bytes(chain.read_bytes() * 3)


def _expired(path: Path) -> None:
    with_certificate(path, begins=-2, ends=-1)


def _not_yet(path: Path) -> None:
    with_certificate(path, begins=1, ends=2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_key, "key-build: No such file or directory; `asu key` makes"),
        (_no_certificate, "key-build.ucert: No such file or directory; `asu key` makes"),
        (_damaged_key, "key-build: it is no secret key file"),
        (_damaged_certificate, "key-build.ucert: it is no certificate file"),
        (_certificate_of_another, "vouches for another key"),
        (_certificate_before_an_authority, "vouches for another key"),
        (_long_chain, "more than fits"),
        (_expired, "has expired"),
        (_not_yet, "not valid yet"),
    ],
)
def test_a_worker_does_not_start_with_a_key_of_no_use(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    """Instead of images that every device refuses, the operator gets a sentence that names the file
    and what to do.
    """
    secret = path.read_text().splitlines()[1]
    spoil(path)

    with pytest.raises(SystemExit) as ended:
        chosen_signer(Settings(build_key=path))

    assert str(ended.value).startswith("asu worker: BUILD_KEY: ")
    assert words in str(ended.value)
    assert secret not in str(ended.value)


def test_a_chain_of_two_fits(path: Path) -> None:
    """A key that another one vouches for is the usual case of an organisation."""
    authority, chain = new_secret_key(), beside(path, ".ucert")
    chain.write_bytes(self_signed(authority, valid_from=0, expires_at=2**40) + chain.read_bytes())

    assert read_signing_key(path).certificate.key == read_signing_key(path).secret.public
