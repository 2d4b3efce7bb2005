"""The pages for people: complete without a script, nothing from elsewhere, and safe whatever was
counted.
"""

import asyncio
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from asu.statistics.build_statistics import Failure, FinishedBuild, Problem, hour_of, today
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.test_api_operations import AbsentRecords, absent_fleet
from tests.unit.test_figures import WatchedStatistics
from tests.unit.worlds import REQUEST, World, indexed, opened

VOID = {"meta", "link", "br", "input", "img", "hr"}
FAILURE = Failure(
    hour=hour_of(datetime.now(UTC)),
    code="impossible-selection",
    fault="user",
    version="24.10.4",
    target="x86/64",
    profile="generic",
    problems=(Problem(kind="missing", package="nothing"),),
)


class Page(HTMLParser):
    """What a browser finds in a page: every element with its attributes, and the text of tables by
    row.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def busy() -> Iterator[World]:
    """Return an API that has built and failed today; no test changes it."""
    statistics, now = ImitatedStatistics(), datetime.now(UTC)
    for version in ("24.10.3", "24.10.4", "24.10.4", "25.12.0"):
        statistics.add_finished(
            FinishedBuild(
                at=now, version=version, seconds=90.0, packages=frozenset({"vim", "luci"})
            )
        )
    statistics.add_failure(FAILURE, {})
    statistics.add_failure(replace(FAILURE, profile="<script>alert(1)</script>"), {})
    asyncio.run(statistics.add_requests(today(), requests=1234, cache_hits=617))
    upstream = MemoryUpstream(indexed("vim", "luci", "nothing"))
    with opened(
        statistics=statistics, upstream=upstream, server_contact="<b>me</b> & you"
    ) as world:
        yield world


def page(world: World, path: str) -> Page:
    """Return a page that is there."""
    answer = world.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return Page(answer.text)


@pytest.mark.parametrize("path", ["/", "/stats", "/stats?branch=24.10"])
def test_a_page_is_well_formed(busy: World, path: str) -> None:
    """Every element is closed, and the page has a language, a title, one main heading and a way
    past the links.
    """
    found = page(busy, path)

    assert (found.unbalanced, found.open) == ([], [])
    assert found.all("html") == [{"lang": "en"}]
    assert [len(found.all(tag)) for tag in ("h1", "main")] == [1, 1]
    assert re.search(
        "<head>.*<title>[^<]*OpenWrt firmware on demand</title>.*</head>",
        busy.client.get(path).text,
        re.DOTALL,
    )
    assert "#content" in [link["href"] for link in found.all("a")]


@pytest.mark.parametrize("path", ["/", "/stats"])
def test_a_page_loads_only_what_is_ours(busy: World, path: str) -> None:
    """The policy forbids all else, and the page needs nothing else: no inline script or style, no
    other host, nothing missing.
    """
    answer = busy.client.get(path)
    found = Page(answer.text)
    loaded = [script["src"] for script in found.all("script")] + [
        link["href"] for link in found.all("link")
    ]

    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not found.all("style")
    assert not [
        attributes
        for _, attributes in found.elements
        if any(name == "style" or name.startswith("on") for name in attributes)
    ]
    assert all(
        address.startswith("/static/") and busy.client.get(address).status_code == 200
        for address in loaded
    )


def test_every_link_leads_somewhere(busy: World) -> None:
    """A link to one of our own addresses is answered."""
    links = {
        link["href"]
        for path in ("/", "/stats")
        for link in page(busy, path).all("a")
        if link["href"].startswith("/")
    }

    assert {
        "/stats",
        "/docs",
        "/json/v1/overview.json",
        "/api/v1/build-errors",
        "/stats?branch=24.10#weeks",
    } <= links
    assert {link for link in links if busy.client.get(link).status_code != 200} == set()


def test_the_statistics_need_no_script(busy: World) -> None:
    """Charts are drawings of the page, and every number stands in a table."""
    found = page(busy, "/stats")

    assert len([drawing for drawing in found.all("svg") if drawing.get("role") == "img"]) == 4, (
        "two charts, for desk and phone"
    )
    assert [str(today()), "1,234", "617", "2", "4"] in found.rows
    assert ["Week", "24.10", "25.12"] in found.rows
    assert ["vim", "4", ""] in found.rows
    assert [
        hour_of(datetime.now(UTC))[:10],
        "generic, x86/64, 24.10.4",
        "impossible-selection (the selection)",
        "nothing (missing)",
        "1",
    ] in [[row[0][:10], *(" ".join(cell.split()) for cell in row[1:])] for row in found.rows]


def test_one_branch_by_version(busy: World) -> None:
    """A branch that is linked shows its versions; whatever else is asked for shows all branches."""
    assert ["Week", "24.10.3", "24.10.4"] in page(busy, "/stats?branch=24.10").rows
    for odd in ("19.07", "<b>", ""):
        assert ["Week", "24.10", "25.12"] in page(busy, f"/stats?branch={odd}").rows


def test_what_was_counted_is_never_html(busy: World) -> None:
    """Neither a name out of Redis nor the operator's own words become elements."""
    assert len(page(busy, "/stats").all("script")) == 1
    assert "<b>me</b>" not in busy.client.get("/").text
    assert "&lt;b&gt;me&lt;/b&gt; &amp; you" in busy.client.get("/").text


@pytest.mark.parametrize("host", ["asu.example.org", "asu.example.org:8080", "[2001:db8::1]"])
def test_the_front_page_names_the_setting_of_this_server(busy: World, host: str) -> None:
    """The command can be copied as it is: it holds the address that the browser asked for."""
    text = html.unescape(busy.client.get("/", headers={"Host": host}).text)

    assert f"uci set attendedsysupgrade.server.url='http://{host}'" in text


def test_the_front_page_tells_how_busy_the_server_is() -> None:
    """Those who wait for their image see what they wait behind."""
    with opened() as world:
        world.start(world.key(REQUEST))
        world.post({**REQUEST, "packages": []})
        text = re.sub(r"<[^>]+>", "", world.client.get("/").text)

    assert re.search(r"Builds that wait\s+1\s+Builds that run\s+1\s+Workers alive\s+1", text)


def test_a_new_server_has_a_page_too() -> None:
    """Nothing has been counted: no chart without a curve, no division by zero."""
    with opened() as world:
        found = page(world, "/stats")

    assert "Nothing has been counted yet." in world.client.get("/stats").text
    assert (found.unbalanced, len(found.rows)) == ([], 31)


def test_failures_of_servers_are_not_put_down_to_openwrt_alone(busy: World) -> None:
    """The feeds of a request are served by others, and count there as well."""
    assert (
        "2 by their selection, 0 by the servers that packages come from, 0 by this server"
        in " ".join(busy.client.get("/stats").text.split())
    )


def test_a_crowd_before_the_page_costs_one_reading() -> None:
    """Whoever opens it gets what was drawn a moment ago, whatever branch is asked for that does not
    exist.
    """
    statistics = WatchedStatistics()
    with opened(statistics=statistics) as world:
        pages = {world.client.get(f"/stats?branch={number}").text for number in range(20)}

    assert (len(pages), statistics.readings) == (1, 3), "days, packages, failures"


def test_without_redis_the_pages_say_so() -> None:
    """The front page is there all the same; that of the statistics has nothing to show."""
    statistics = WatchedStatistics()
    statistics.is_away = True
    with opened(statistics=statistics, records=AbsentRecords(), fleet=absent_fleet()) as world:
        front, stats = world.client.get("/"), world.client.get("/stats")

    assert (front.status_code, stats.status_code) == (200, 503)
    assert all(
        "no figures at this moment" in answer.text
        and answer.headers["content-type"].startswith("text/html")
        for answer in (front, stats)
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("style.css", "text/css; charset=utf-8"),
        ("stats.js", "text/javascript; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
    ],
)
def test_a_static_file(busy: World, name: str, kind: str) -> None:
    """With its kind, to be kept for a day, and not sent twice to a browser that has it."""
    answer = busy.client.get(f"/static/{name}")
    again = busy.client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    head = busy.client.head(f"/static/{name}")

    assert (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["x-content-type-options"],
    ) == (200, kind, "nosniff")
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert (again.status_code, again.content) == (304, b"")
    assert (head.status_code, head.content, head.headers["content-length"]) == (
        200,
        b"",
        str(len(answer.content)),
    )


@pytest.mark.parametrize(
    "name", ["", "none.css", "%2e%2e/app.py", "..%2fapp.py", "%00", "style.css/x"]
)
def test_no_other_file_is_there(busy: World, name: str) -> None:
    """404 in JSON, as everywhere."""
    answer = busy.client.get(f"/static/{name}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
