"""The pages of an upgrade, without a script: search, preview, build, follow, fetch, find again."""

import gzip
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from asu.errors import BuildFailed, ImpossibleSelection, InvalidRequest
from asu.pages.build_page import marked
from asu.pages.upgrade_form import UpgradeForm, read_form
from asu.web.edge import MAX_BODY_BYTES
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.test_pages import Page
from tests.unit.worlds import REQUEST, World, indexed, opened

PROFILE, TARGET = REQUEST["profile"], REQUEST["target"]
EVIL = "<script>alert(1)</script>"
CHOSEN = {
    "version": "24.10.4",
    "target": TARGET,
    "profile": PROFILE,
    "packages": "luci auc",
    "from_version": "22.03.5",
}


@pytest.fixture
def world() -> Iterator[World]:
    """Return an API whose releases list their devices, one of which has a hostile name."""
    documents = indexed("luci", "owut", "vim")
    for version in ("23.05.10", "24.10.4", "25.12.0-rc1"):
        documents[f"releases/{version}/.overview.json"] = {
            "profiles": [
                {
                    "id": PROFILE,
                    "target": TARGET,
                    "titles": [{"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"}],
                },
                {"id": "evil", "target": TARGET, "titles": [{"title": EVIL}]},
            ]
        }
    with opened(upstream=MemoryUpstream(documents), allow_defaults=True) as world:
        yield world


def page(answer: Any, status: int = 200) -> Page:
    """Return a page whose elements are all closed, and which runs no script but ours."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "text/html; charset=utf-8",
    )
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    found = Page(answer.text)
    assert (found.unbalanced, found.open) == ([], [])
    assert all(script["src"].startswith("/static/") for script in found.all("script"))
    return found


def values(found: Page, name: str) -> list[str]:
    """Return the values of all inputs and buttons of a name."""
    return [
        each["value"]
        for tag in ("input", "button")
        for each in found.all(tag)
        if each.get("name") == name
    ]


def test_a_device_is_found_and_leads_to_its_form(world: World) -> None:
    """The form names the releases that the device is in, and the newest stable one is chosen."""
    found = page(world.client.get("/upgrade?q=archer+c7"))
    [link] = [each["href"] for each in found.all("a") if "profile=" in each["href"]]
    form = page(world.client.get(link.replace("&amp;", "&")))

    assert values(form, "profile") == [PROFILE]
    assert "<option>25.12.0-rc1" in world.client.get(link).text
    assert "<option selected>24.10.4" in world.client.get(link).text


def test_a_preview_says_what_changes_and_takes_a_refusal(world: World) -> None:
    """A replaced package has its reason; refused, it stays as it was, and can be taken back."""
    first = world.client.post("/upgrade", data=CHOSEN)
    refused = world.client.post("/upgrade", data={**CHOSEN, "ignore": "auc-owut"})

    assert "auc → owut" in first.text
    assert "auc was replaced by owut" in first.text
    assert "From 22.03 to 24.10 passes over a release" in first.text
    [box] = [each for each in page(first).all("input") if each.get("name") == "ignore"]
    assert (box["value"], "checked" in box) == ("auc-owut", False)
    assert "auc → owut" not in refused.text
    [box] = [each for each in page(refused).all("input") if each.get("name") == "ignore"]
    assert (box["value"], "checked" in box) == ("auc-owut", True)
    assert first.headers["cache-control"] == "no-store"


def test_nothing_of_a_form_is_an_element(world: World) -> None:
    """Whatever a device, a package or a pasted text is called."""
    answers = [
        world.client.get("/upgrade?q=alert"),
        world.client.get(f"/upgrade?target={EVIL}&profile={EVIL}"),
        world.client.post("/upgrade", data={**CHOSEN, "packages": EVIL, "defaults": EVIL}),
        world.client.post("/upgrade", data={"pasted": EVIL}),
        world.client.post("/upgrade/build", data={**CHOSEN, "version": EVIL}),
        world.client.get(f"/build/{EVIL}", headers={"Accept": "text/html"}),
    ]

    for answer in answers:
        page(answer, answer.status_code)
        assert EVIL not in answer.text
    assert [answer.status_code for answer in answers] == [200, 200, 422, 422, 422, 404]


def test_a_build_is_asked_for_followed_and_fetched(world: World) -> None:
    """It is the build that the API gives for the same request, and its page holds all of it."""
    answer = world.client.post("/upgrade/build", data=CHOSEN)
    key = answer.headers["location"].removeprefix("/build/")
    same = world.key({**REQUEST, "from_version": "22.03.5"})
    waiting = page(world.client.get(f"/build/{key}"))
    attempt, progress = world.start(key, "building_image")
    world.records.append_log(attempt, f"a line {EVIL}", 9)
    running = world.client.get(f"/build/{key}").text
    place = world.store.workplace(key)
    (place / "openwrt-sysupgrade.bin").write_bytes(b"image")
    world.store.publish(key, place, 1000)
    progress.gathered |= {
        "bin_dir": key,
        "images": [{"name": "openwrt-sysupgrade.bin", "type": "sysupgrade", "sha256": "ab"}],
        "manifest": {"owut": "1.0"},
        "titles": [{"vendor": "TP-Link", "model": EVIL}],
    }
    world.records.finish(attempt, progress.done(), 1000)
    done = world.client.get(f"/build/{key[:12]}")

    assert (answer.status_code, key) == (303, same)
    assert [each["content"] for each in waiting.all("meta") if "http-equiv" in each] == ["5"]
    assert "a line &lt;script&gt;" in running
    assert 'aria-current="step">Make the image' in running
    [link] = [each for each in page(done).all("a") if "data-sha256" in each]
    assert world.client.get(link["href"]).content == b"image"
    assert "5 bytes" in done.text
    assert EVIL not in done.text
    later = next(each["href"] for each in page(done).all("a") if "/upgrade#" in each["href"])
    assert read_form(later.partition("#")[2].replace("&amp;", "&").encode()) == UpgradeForm(
        target=TARGET, profile=PROFILE, from_version="24.10.4", packages=("luci", "owut")
    )


def test_a_failed_build_is_found_again_when_polls_have_forgotten_it(world: World) -> None:
    """With its reason, the failing line, and a way to build it again."""
    key = world.key(REQUEST)
    attempt, progress = world.start(key)
    progress.stderr = "fine\n * opkg_install_cmd: Cannot install package luci.\nmake: *** [x] 2\n"
    problems = [{"package": "luci", "kind": "missing", "suggestion": "luci-ssl", "detail": "d"}]
    failed = progress.failed(ImpossibleSelection(reason="luci is missing", problems=problems))
    world.records.finish(attempt, failed, 600)
    world.store.keep_failure(key, gzip.compress(failed.body))
    fresh = world.client.get(f"/build/{key}").text
    world.records.redis.flushall()
    polled = world.client.get(f"/api/v1/build/{key}")
    answer = world.client.get(f"/build/{key[:12]}")
    again = {each["name"]: each["value"] for each in page(answer).all("input") if "value" in each}

    assert polled.status_code == 404
    for text in (fresh, answer.text):
        assert "<mark> * opkg_install_cmd: Cannot install package luci.</mark>" in text
        assert "Use luci-ssl instead" in text
        assert "impossible-selection" in text
    again_key = world.client.post("/upgrade/build", data=again).headers["location"]
    assert again_key == f"/build/{key}"


def test_two_builds_are_compared(world: World) -> None:
    """The table names what the other build has otherwise."""
    one, other = world.key(REQUEST), world.key({**REQUEST, "packages": ["vim"]})
    world.finish(one)
    world.fail(other, BuildFailed(reason="it lacks a file"))

    rows = page(world.client.get(f"/build/{one}?with={other[:12]}")).rows
    assert ["packages", "['luci', 'owut']", "['vim']"] in rows


def test_a_pasted_device_is_understood() -> None:
    """Board and packages of opkg and of apk, with whatever stands around them."""
    board = {"board_name": "tplink,archer-c7-v5", "release": {"target": TARGET, "version": "23.05"}}
    installed = "vim - 9.1-1\nluci-app-sqm-1.4.0-r2 noarch {x} (GPL) [installed]\n\n"
    form = read_form(urlencode({"pasted": f"$ x\n{json.dumps(board)}\n{installed}"}).encode())

    assert form == UpgradeForm(
        target=TARGET,
        profile="tplink,archer-c7-v5",
        from_version="23.05",
        packages=("vim", "luci-app-sqm"),
        diff_packages=True,
    )
    for wrong in (b"pasted=nothing", b"pasted={}", b"pasted={%5B", b"\xff=%ff&a", b"a=1&" * 5000):
        with pytest.raises(InvalidRequest):
            read_form(wrong)


def test_the_buttons_beside_a_problem() -> None:
    """`Use X instead` keeps the place; `leave out` removes a default that is not in the list."""
    fields = b"packages=a+b+c&"

    assert read_form(fields + b"use=b+x").packages == ("a", "x", "c")
    assert read_form(fields + b"leave_out=b").packages == ("a", "c")
    assert read_form(fields + b"leave_out=d").packages == ("a", "b", "c", "-d")
    assert read_form(fields + b"leave_out=d&diff_packages=on").packages == ("a", "b", "c")
    assert read_form(fields + b"add=c,d").packages == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nERROR: x failed\nmake: *** [y] 1\n", "ERROR: x failed"),
        ("a\nmake[2]: *** [y] Error 1\n", "make[2]: *** [y] Error 1"),
        ("ERROR: unable to select packages:\n", "ERROR: unable to select packages:"),
        ("all is well", ""),
    ],
)
def test_the_line_that_says_why(text: str, line: str) -> None:
    """What a package manager refuses goes before what make reports of it."""
    output = marked(text)

    assert output.failing == line
    assert output.before + output.failing + output.after == text


def test_browsers_get_errors_as_pages_and_programs_as_json(world: World) -> None:
    """With the same status; what may be cached depends on who asks."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/nothing", f"/build/{'0' * 64}", "/store/x/y", "/api/v1/devices?limit=0"):
        shown, plain = world.client.get(path, headers=browser), world.client.get(path)
        found = page(shown, plain.status_code)
        assert "/" in [link["href"] for link in found.all("a")]
        assert shown.headers["vary"] == "Accept, Accept-Language"
        assert plain.json()["detail"]


WORDS = ["".join(letters) for letters in itertools.product("abcdefghijklm", repeat=4)]
MANY = {"profile": "generic", "target": "x86/64", "version": "24.10.4", "packages": "luci"}
PRINTED = '{"board_name": "x", "release": {"target": "a/b", "version": "24.10.4"}}'
LARGEST: dict[str, dict[str, Any]] = {
    "words": {**MANY, "packages": " ".join(WORDS)},
    "packages left out": {**MANY, "packages": " ".join(WORDS), "leave_out": ["z"] * 1900},
    "packages replaced": {**MANY, "packages": " ".join(WORDS), "use": ["aaaa b"] * 1900},
    "as many as are allowed": {
        **MANY,
        "packages": " ".join(WORDS[:1000]),
        "leave_out": WORDS[:950],
        "use": [f"{word} z" for word in WORDS[1000:1950]],
    },
    "changes ignored": {**MANY, "ignore": [str(number) for number in range(1990)]},
    "packages pasted": {"pasted": "\n".join([PRINTED, *(f"{word} - 1" for word in WORDS[:15000])])},
    "a line of dashes": {"pasted": f"{PRINTED}\n{'a-1' * 60_000}!"},
    "nesting": {"pasted": '{"a":' * 20_000},
    "words of a profile": {**MANY, "profile": "a b " * 40_000},
    "fields": {f"field{number}": "1" for number in range(15_000)},
}
BUDGET = 0.03  # Seconds of processor time, the client's included; `use` took 14 s.


@pytest.mark.parametrize("form", LARGEST.values(), ids=LARGEST.keys())
@pytest.mark.parametrize("path", ["/upgrade", "/upgrade/build"])
def test_the_largest_form_costs_little(path: str, form: dict[str, Any]) -> None:
    """One person within the limits cannot hold the server up."""
    content = urlencode(form, doseq=True)
    assert len(content) < MAX_BODY_BYTES
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with opened() as world:
        spent = BUDGET
        for _ in range(8):  # Other programs disturb some of them.
            if spent < BUDGET:
                break
            begun = time.process_time()
            world.client.post(path, content=content, headers=headers, follow_redirects=False)
            spent = time.process_time() - begun

    assert spent < BUDGET
