"""The whole job in a browser: search, preview, refuse, build, watch, download, find again."""

from __future__ import annotations

import hashlib
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.system.browser import CAN_BROWSE, ENTER, SPACE, Browser, opened_browser
from tests.system.native import CAN_RUN, NativeSystem, running_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not (CAN_RUN and CAN_BROWSE), reason="needs what a native system needs, and chromium-driver"
)
FORGOTTEN_SECONDS = 3  # After which polls know a failed build no more.
HOSTILE = (
    "/upgrade#target=x/y&profile=%3Cimg src=x onerror=alert(1)%3E"
    "&packages=%3Cscript%3Ealert(1)%3C/script%3E"
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSystem]:
    """Run one system for all tests of this module."""
    place = tmp_path_factory.mktemp("browser")
    with running_system(place, BUILD_FAILURE_TTL=str(FORGOTTEN_SECONDS)) as system:
        yield system


@pytest.fixture
def home(system: NativeSystem) -> str:
    """Return the address of the system."""
    return f"http://127.0.0.1:{system.environment['GATEWAY_PORT']}"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Return a browser whose downloads go to `tmp_path`."""
    with opened_browser(tmp_path) as browser:
        yield browser


def preview(browser: Browser, home: str, packages: str) -> None:
    """Search the device, fill the form in and wait for the preview."""
    browser.open(f"{home}/upgrade")
    browser.write("input[name=q]", f"home hub 5a{ENTER}")
    browser.click("a[href*=profile]")
    browser.write("[name=packages]", packages)
    browser.write("[name=from_version]", "24.10.4")
    browser.click("button[data-focus=preview]")
    browser.wait_for("What changes")


def downloaded(place: Path, browser: Browser) -> bytes:
    """Wait for a whole download."""
    browser.wait(lambda: [path for path in place.iterdir() if path.suffix == ".bin"], "a file")
    [file] = [path for path in place.iterdir() if path.suffix == ".bin"]
    return file.read_bytes()


def test_the_whole_job(browser: Browser, home: str, tmp_path: Path) -> None:
    """A refused change stays out, the log is seen before the end, and the file is the image.

    No page has a barrier that axe calls serious, in light or dark, on a desk or a phone.
    """
    preview(browser, home, "luci")
    browser.wait_for("kmod-dsa-gswip")
    barriers = browser.barriers()
    browser.click("input[name=ignore]")
    browser.wait_for("Refused by you")
    assert "ignore=" in browser.run("return location.hash")
    browser.resize(390, 800)
    assert not browser.is_too_wide()
    barriers += browser.barriers()
    browser.click("button[data-focus=build]")
    browser.wait(lambda: "/build/" in browser.run("return location.pathname"), "the build's page")
    browser.run("document.getElementById('output').open = true")
    browser.wait(lambda: browser.text("#log"), "a line of the log")
    assert "being built" in browser.text("h1")
    barriers += browser.barriers()
    browser.wait_for("Your image is ready")
    assert not browser.is_too_wide()
    barriers += browser.barriers()
    promised = browser.run("return document.querySelector('a[data-sha256]').dataset.sha256")
    browser.click("a[data-sha256]")
    browser.wait_for("SHA-256 is right")

    assert hashlib.sha256(downloaded(tmp_path, browser)).hexdigest() == promised
    assert barriers == []


def test_a_kept_link_leads_to_the_same_selection(browser: Browser, home: str) -> None:
    """The fragment alone brings the preview back."""
    preview(browser, home, "luci vim")
    link = browser.run("return location.href")
    browser.open("about:blank")
    browser.open(link)
    browser.wait_for("What changes")

    assert browser.run("return document.querySelector('[name=packages]').value") == "luci vim"


def test_by_keyboard_alone(browser: Browser, home: str) -> None:
    """Everything can be reached and used, and the focus stays where it was when a part is drawn."""
    browser.open(f"{home}/upgrade")
    browser.tab_to("input[name=q]")
    browser.press(f"home hub 5a{ENTER}")
    browser.wait_for("Home Hub")
    browser.tab_to("a[href*=profile]")
    browser.press(ENTER)
    browser.find("[name=packages]")
    browser.tab_to("[name=packages]")
    browser.press("htop")
    browser.tab_to("button[data-focus=preview]")
    browser.press(ENTER)
    browser.wait_for("What changes")
    browser.tab_to("button[data-focus=build]")
    browser.press(SPACE)
    browser.wait_for("Your image is ready")
    browser.tab_to("a[data-sha256]")


def test_in_german(home: str, tmp_path: Path) -> None:
    """A browser gets the language that it asks for, in the parts that a script draws, too."""
    with opened_browser(tmp_path, language="de") as browser:
        browser.open(f"{home}/upgrade#target=lantiq/xrx200&profile=bt_homehub-v5a&packages=luci")
        browser.wait_for("Image bauen")
        browser.click("button[data-focus=build]")
        browser.wait_for("Ihr Image ist fertig")
        assert browser.barriers() == []


def test_without_a_script(home: str, tmp_path: Path) -> None:
    """The pages load themselves again, and a download is a link."""
    with opened_browser(tmp_path, script=False) as browser:
        preview(browser, home, "luci nonexisting")
        browser.click("button[name=leave_out]")
        browser.wait(lambda: "nonexisting" not in browser.text(), "the package to go")
        browser.click("button[data-focus=build]")
        browser.wait_for("Your image is ready")
        browser.click("a[data-sha256]")
        assert downloaded(tmp_path, browser)
        assert "SHA-256 is right" not in browser.text(), "a script ran"


def test_a_failed_build_is_found_again(browser: Browser, home: str, system: NativeSystem) -> None:
    """By twelve digits, when polls have forgotten it, with the line that says why."""
    preview(browser, home, "luci test-clash-a test-clash-b")
    browser.click("button[data-focus=build]")
    browser.wait_for("This build failed")
    digits = browser.run("return location.pathname")[len("/build/") :][:12]
    barriers = browser.barriers()
    browser.wait(lambda: system.ask(f"/api/v1/build/{digits}").status == 404, "the record's end")
    browser.open(f"{home}/build/{digits}")

    assert "test-clash" in browser.text("mark")
    assert "impossible-selection" in browser.text()
    assert barriers == []


@pytest.mark.parametrize("path", ["/", "/upgrade", "/status", "/stats", "/nothing"])
def test_no_page_has_barriers(browser: Browser, home: str, path: str) -> None:
    """In light and dark, on a desk and on a phone."""
    browser.open(home + path)
    barriers = browser.barriers()
    browser.resize(390, 800)

    assert not browser.is_too_wide()
    assert barriers + browser.barriers() == []


def test_nothing_hostile_runs(browser: Browser, home: str) -> None:
    """Whatever a fragment holds; an open dialog would make every further command fail."""
    browser.open(home + HOSTILE)
    browser.wait_for("<img src=x onerror=alert(1)>")

    assert "<script>" in browser.run("return document.querySelector('[name=packages]').value")
    assert browser.run("return document.querySelectorAll('main img, main script').length") == 0


def test_text_is_compressed(system: NativeSystem) -> None:
    """Pages, their files and lists, for all who ask for it and for nobody else."""
    port = int(system.environment["GATEWAY_PORT"])
    paths = ("/stats", "/static/style.css", "/static/upgrade.js", "/json/v1/overview.json")
    for path in paths:
        for wanted, encoding in (("gzip", "gzip"), ("identity", None)):
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path, headers={"Accept-Encoding": wanted})
            assert connection.getresponse().getheader("Content-Encoding") == encoding, path
            connection.close()
