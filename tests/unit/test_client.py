"""The command line for a laptop: what it reads, shows and ends with."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from asu.__main__ import main
from asu.client.building import download
from asu.client.connection import Answer, ClientError, Server
from asu.client.node import MARK, Node, installed_packages, node_of, read_node
from asu.client.preview_words import exit_code
from asu.client.terminal import Terminal, plain, size

BOARD = {
    "hostname": "ap1",
    "model": "TP-Link Archer C7 v5",
    "board_name": "tplink,archer-c7-v5",
    "rootfs_type": "squashfs",
    "release": {"version": "23.05.5", "target": "ath79/generic"},
}


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("vim - 9.0-1", "vim", "9.0-1"),
        ("kmod-ath9k - 5.15.167-1", "kmod-ath9k", "5.15.167-1"),
        ("vim-9.1.1918-r1 mips_24kc {feeds/packages} (Vim) [installed]", "vim", "9.1.1918-r1"),
        ("luci-app-2fa-1.0-r3 noarch {x} (MIT) [installed]", "luci-app-2fa", "1.0-r3"),
        ("libubox20240329-2024.03.29~eb9bcb64-r1 mips {x} (ISC)", "libubox20240329",
         "2024.03.29~eb9bcb64-r1"),
    ],
    ids=["opkg", "opkg kmod", "apk", "apk, digits in the name", "apk, an ABI name"],
)  # fmt: skip
def test_installed_packages_are_read_as_both_package_managers_list_them(
    line: str, name: str, version: str
) -> None:
    """Names may hold digits and hyphens."""
    assert installed_packages(line) == {name: version}


def test_a_device_is_read_with_the_packages_that_its_owner_chose() -> None:
    """Where the device can say which packages others brought along, those are left out."""
    listed = json.dumps({"packages": {"luci": "1", "vim": "2"}})

    node = node_of(f"{json.dumps(BOARD)}\n{MARK}\n{listed}\n{MARK}\nluci - 1\nlibc - 1\n")

    assert (node.name, node.profile, node.version) == ("ap1", "tplink,archer-c7-v5", "23.05.5")
    assert node.request("25.12.1", ignore=["x"])["packages"] == ["luci", "vim"]


def test_a_device_without_that_list_gives_all_its_packages() -> None:
    """Older images have no `packagelist`."""
    assert set(node_of(f"{json.dumps(BOARD)}\n{MARK}\n\n{MARK}\nluci - 1\nvim - 2\n").packages) == {
        "luci",
        "vim",
    }


@pytest.mark.parametrize("output", ["", "Linux", f"{{}}{MARK}{MARK}vim - 1", json.dumps(BOARD)])
def test_what_is_no_openwrt_device_is_said_in_a_sentence(output: str) -> None:
    """Nobody gets a traceback."""
    with pytest.raises(ClientError, match=r"^the device .*"):
        node_of(output)


def test_what_inspect_writes_prepare_reads(tmp_path: Path) -> None:
    """The file goes through unchanged."""
    node = Node(name="a", model="b", profile="c", target="d/e", version="23.05.5", filesystem=None,
    packages={"vim": "1"})  # fmt: skip
    file = tmp_path / "a.json"
    file.write_text(node.as_json())

    assert read_node(file) == node


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, 0),
        ({"changes": [{}]}, 2),
        ({"changes": [{}], "problems": [{}]}, 3),
    ],
    ids=["nothing changes", "changes", "problems"],
)
def test_prepare_ends_with_what_scripts_need(answer: dict[str, Any], code: int) -> None:
    """0, 2 and 3; a mistake in the options is 64."""
    assert exit_code(answer) == code


def test_a_mistake_in_the_options_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """It does not end like changes."""
    with pytest.raises(SystemExit) as ended:
        main(["prepare"])

    assert ended.value.code == 64
    assert "required: node, --to" in capsys.readouterr().err


@pytest.mark.parametrize("server", ["", "ftp://x", "host"])
def test_without_a_server_a_sentence_says_how_to_name_one(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable and the option are named, or the form of an address."""
    monkeypatch.setenv("ASU_SERVER", server)

    with pytest.raises(SystemExit) as ended:
        main(["versions"])

    assert ended.value.code == 1
    assert "--server" in (said := capsys.readouterr().err) or "https://" in said


def test_what_a_server_sends_cannot_steer_a_terminal() -> None:
    """Control characters are shown as question marks."""
    assert plain("a\x1b[31mb\n") == "a?[31mb?"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (2048, "2.0 KiB"), (7_759_462, "7.4 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    """Three digits are enough."""
    assert size(count) == text


class StandInServer(Server):
    """A server whose builds have one image; `digest` is what its provenance says of it."""

    def __init__(self, digest: str) -> None:
        super().__init__("https://asu.example.org")
        self.digest, self.downloaded = digest, list[str]()

    @override
    def ask(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Answer:
        subject = {"name": "x-sysupgrade.bin", "digest": {"sha256": self.digest}}
        payload = base64.b64encode(json.dumps({"subject": [subject]}).encode()).decode()
        return Answer(200, {"payload": payload})

    @override
    def download(
        self, path: str, file: Path, sha256: str, progress: Callable[[int, int], None]
    ) -> None:
        self.downloaded.append(path)


FINISHED = {
    "bin_dir": "b" * 64,
    "images": [{"name": "x-sysupgrade.bin", "type": "sysupgrade", "sha256": "a" * 64}],
}


def test_nothing_is_downloaded_where_the_answer_and_the_provenance_disagree(tmp_path: Path) -> None:
    """One of the two is not about this build, and nobody can say which."""
    server = StandInServer(digest="c" * 64)

    with pytest.raises(ClientError, match=r"x-sysupgrade\.bin: .* name different files"):
        download(server, FINISHED, tmp_path, Terminal())

    assert server.downloaded == []


def test_what_answer_and_provenance_agree_on_is_downloaded(tmp_path: Path) -> None:
    """Under the name that the answer gives."""
    server = StandInServer(digest="a" * 64)

    files = download(server, FINISHED, tmp_path, Terminal())

    assert files == [tmp_path / "x-sysupgrade.bin"]
    assert server.downloaded == [f"/store/{'b' * 64}/x-sysupgrade.bin"]


def test_the_client_runs_without_anything_installed() -> None:
    """No package beyond the standard library is imported, so the wheel alone is enough."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from asu.__main__ import main; main(['--help'])"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "fleet" in ended.stdout
