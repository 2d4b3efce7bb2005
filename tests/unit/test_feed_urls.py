"""Which addresses of feeds are admitted: a corpus, and whatever else can be made of its parts."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asu.catalogue.feed_policy import FeedPolicy
from asu.errors import MalformedRepository, RepositoryNotAllowed
from asu.resolution import FeedUrl, InvalidFeedError, Version

ALLOWED = (
    "https://feeds.example.org/packages",
    "https://downloads.openwrt.org/releases",
    "http://mirror.example.net:8080",
    "http://192.0.2.7/feed",
    "https://xn--bcher-kva.example/a-b_c~d+e",
)
POLICY = FeedPolicy.of(ALLOWED)

ADMITTED = [
    # The entry itself.
    ("https://feeds.example.org/packages", "https://feeds.example.org/packages"),
    # The same directory.
    ("https://feeds.example.org/packages/", "https://feeds.example.org/packages"),
    # Below it.
    (
        "https://feeds.example.org/packages/24.10/x86_64/base",
        "https://feeds.example.org/packages/24.10/x86_64/base",
    ),
    # Case means nothing in scheme and host.
    ("HTTPS://Feeds.EXAMPLE.org/packages/a", "https://feeds.example.org/packages/a"),
    # One dot at the end is the root of DNS.
    ("https://feeds.example.org./packages/a", "https://feeds.example.org/packages/a"),
    # The port that is meant anyway.
    ("https://feeds.example.org:443/packages/a", "https://feeds.example.org/packages/a"),
    # Letters, encoded.
    ("https://feeds.example.org/%70ackages/%61", "https://feeds.example.org/packages/a"),
    # Signs that are admitted, encoded.
    (
        "https://feeds.example.org/packages/a%2Db%2bc%7Ed",
        "https://feeds.example.org/packages/a-b+c~d",
    ),
    # Names that only begin with dots.
    (
        "https://feeds.example.org/packages/.hidden/...",
        "https://feeds.example.org/packages/.hidden/...",
    ),
    (
        "https://downloads.openwrt.org/releases/24.10.4/packages/x86_64/luci",
        "https://downloads.openwrt.org/releases/24.10.4/packages/x86_64/luci",
    ),
    # An entry without a path admits the whole server.
    ("http://mirror.example.net:8080", "http://mirror.example.net:8080/"),
    ("http://mirror.example.net:8080/", "http://mirror.example.net:8080/"),
    ("http://mirror.example.net:8080/any/thing", "http://mirror.example.net:8080/any/thing"),
    # An IP address that is listed, in its plain spelling.
    ("http://192.0.2.7/feed/x", "http://192.0.2.7/feed/x"),
    ("http://192.0.2.7:80/feed", "http://192.0.2.7/feed"),
    # Punycode is compared as it is.
    ("https://XN--bcher-kva.example/a-b_c~d+e/1", "https://xn--bcher-kva.example/a-b_c~d+e/1"),
    # 512 characters.
    (
        "https://feeds.example.org/packages/" + "a" * 477,
        "https://feeds.example.org/packages/" + "a" * 477,
    ),
]

NOT_LISTED = [
    "https://feeds.example.org",  # Above the entry.
    "https://feeds.example.org/",
    "https://feeds.example.org/other",  # Beside it.
    "https://feeds.example.org/packages-evil",  # Begins with the same letters.
    "https://feeds.example.org/packages.evil/a",
    "https://feeds.example.org/package",
    "https://feeds.example.org/Packages",  # Paths have a case.
    "https://feeds.example.org/x/packages",
    "http://feeds.example.org/packages",  # Another scheme.
    "http://feeds.example.org:443/packages",
    "https://feeds.example.org:8443/packages",  # Another port.
    "https://feeds.example.org:80/packages",
    "http://mirror.example.net/any",  # The usual port where another is listed.
    "http://mirror.example.net:8081/any",
    "https://feeds.example.org.evil.example/packages",  # Look-alikes.
    "https://downloads.openwrt.org.evil.example/releases",
    "https://evilfeeds.example.org/packages",
    "https://evil.feeds.example.org/packages",
    "https://feeds-example.org/packages",
    "https://feeds.example.orga/packages",
    "https://example.org/packages",
    "https://evil.example/feeds.example.org/packages",
    "https://evil.example/packages",
    "https://xn--feds-hpa.example.org/packages",  # A letter that only looks like the right one.
    "https://bcher-kva.example/a-b_c~d+e",
    "http://192.0.2.70/feed",  # An address beside the listed one.
    "http://127.0.0.1/feed",  # The server's own network.
    "http://169.254.169.254/latest/meta-data",
    "http://localhost/feed",
    "http://localhost:6379/feed",
]

USER, QUERY, DOTS, SLASHES, SIGNS = (
    "user or a password",
    "query or a fragment",
    "`.` or `..`",
    "two slashes in a row",
    "whose path holds other",
)
SCHEME, HOST, ADDRESS, PORT, VISIBLE = (
    "neither https:// nor http://",
    "no plain name",
    "another spelling",
    "port is no number",
    "a blank, a control",
)
BASE = "https://feeds.example.org/packages"
MALFORMED = [
    ("https://user@feeds.example.org/packages", USER),
    ("https://user:secret@feeds.example.org/packages", USER),
    ("https://feeds.example.org@evil.example/packages", USER),
    ("https://feeds.example.org:443@evil.example/packages", USER),
    ("https://@feeds.example.org/packages", USER),
    ("https://feeds.example.org%40evil.example/packages", HOST),
    (f"{BASE}?x=1", QUERY),
    (f"{BASE}?", QUERY),
    (f"{BASE}#x", QUERY),
    (f"{BASE}/a#", QUERY),
    ("https://evil.example#@feeds.example.org/packages", QUERY),
    ("https://evil.example?@feeds.example.org/packages", QUERY),
    (f"{BASE}/..", DOTS),
    (f"{BASE}/../other", DOTS),
    (f"{BASE}/./a", DOTS),
    (f"{BASE}/a/.", DOTS),
    (f"{BASE}/%2e%2e/other", DOTS),
    (f"{BASE}/%2E%2e/other", DOTS),
    (f"{BASE}/.%2e/other", DOTS),
    (f"{BASE}/%2e./other/", DOTS),
    (f"{BASE}/%2e", DOTS),
    (f"{BASE}/%252e%252e/other", SIGNS),
    (f"{BASE}/%25%32%65%25%32%65/other", SIGNS),
    (f"{BASE}/..%2fother", SIGNS),
    (f"{BASE}/..%2Fother", SIGNS),
    (f"{BASE}/..%5cother", SIGNS),
    (f"{BASE}/..\\other", SIGNS),
    ("https://feeds.example.org\\@evil.example/packages", USER),
    ("https:\\\\feeds.example.org\\packages", SCHEME),
    ("https://feeds.example.org\\packages", HOST),
    (f"{BASE}/a%00b", SIGNS),
    (f"{BASE}/a%0ab", SIGNS),
    (f"{BASE}/a%0d%0ab", SIGNS),
    (f"{BASE}/a%09b", SIGNS),
    (f"{BASE}/a%20b", SIGNS),
    (f"{BASE}/a%7fb", SIGNS),
    (f"{BASE}/a%23b", SIGNS),
    (f"{BASE}/a%3fb", SIGNS),
    (f"{BASE}/a%22b", SIGNS),
    (f"{BASE}/a%27b", SIGNS),
    (f"{BASE}/a%24b", SIGNS),
    (f"{BASE}/%c3%a4", SIGNS),
    (f"{BASE}/%c0%ae%c0%ae/other", SIGNS),
    (f"{BASE}/%u002e%u002e/other", SIGNS),
    (f"{BASE}/%", SIGNS),
    (f"{BASE}/%2", SIGNS),
    (f"{BASE}/%zz", SIGNS),
    (f"{BASE}/..;/other", SIGNS),
    *((f"{BASE}/a{sign}b", SIGNS) for sign in "$`;|&<>(){}[]!*'\"^,=:@"),
    (f"{BASE}/$(id)", SIGNS),
    (f"{BASE}/`id`", SIGNS),
    (f"{BASE}//a", SLASHES),
    (f"{BASE}//", SLASHES),
    ("https://feeds.example.org//packages", SLASHES),
    ("https:////feeds.example.org/packages", HOST),
    ("https:///packages", HOST),
    ("ftp://feeds.example.org/packages", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("file:packages", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("//feeds.example.org/packages", SCHEME),
    ("feeds.example.org/packages", SCHEME),
    ("https:feeds.example.org/packages", SCHEME),
    ("https:/feeds.example.org/packages", SCHEME),
    ("@taghttps://feeds.example.org/packages", SCHEME),
    ("", VISIBLE),
    (f" {BASE}", VISIBLE),
    (f"{BASE} ", VISIBLE),
    (f"{BASE}\n", VISIBLE),
    (f"{BASE}\nsrc/gz evil https://evil.example", VISIBLE),
    (f"{BASE}/a\tb", VISIBLE),
    (f"{BASE}/a\0b", VISIBLE),
    (f"{BASE}/\u00e4", VISIBLE),
    ("https://feeds\u3002example.org/packages", VISIBLE),
    ("https://feeds.example.org\uff0fpackages", VISIBLE),
    ("https://f\u0435eds.example.org/packages", VISIBLE),
    (f"{BASE}/" + "a" * 478, "more than 512"),
    ("https://feeds.example.org../packages", HOST),
    ("https://feeds..example.org/packages", HOST),
    ("https://.feeds.example.org/packages", HOST),
    ("https://-feeds.example.org/packages", HOST),
    ("https://feeds_.example.org/packages", HOST),
    (f"https://{'a' * 64}.example.org/packages", HOST),
    (f"https://{'a.' * 127}example/packages", HOST),
    ("https://feeds%2eexample.org/packages", HOST),
    ("https://$(id).example.org/packages", HOST),
    ("http://[::1]/feed", HOST),
    ("http://[::ffff:192.0.2.7]/feed", HOST),
    ("http://3221225991/feed", ADDRESS),
    ("http://0xc0000207/feed", ADDRESS),
    ("http://192.0.519/feed", ADDRESS),
    ("http://192.0.2.07/feed", ADDRESS),
    ("http://0300.0.2.7/feed", ADDRESS),
    ("http://192.0.2.0x7/feed", ADDRESS),
    ("http://192.0.2.7.1/feed", ADDRESS),
    ("http://192.0.2.256/feed", ADDRESS),
    ("https://feeds.example.org:/packages", PORT),
    ("https://feeds.example.org:0443/packages", PORT),
    ("https://feeds.example.org:0/packages", PORT),
    ("https://feeds.example.org:65979/packages", PORT),
    ("https://feeds.example.org:+443/packages", PORT),
    ("https://feeds.example.org:443:443/packages", PORT),
    ("https://feeds.example.org:https/packages", PORT),
]


def admit(url: str) -> None:
    """Let a feed with this address pass for a release that takes directories."""
    POLICY.admit({"mine": url}, [], Version.parse("24.10.4"))


@pytest.mark.parametrize(("url", "text"), ADMITTED)
def test_what_lies_below_an_entry_is_admitted_in_one_spelling(url: str, text: str) -> None:
    """What is put into the builder is made anew of the parts."""
    admit(url)

    assert FeedUrl.parse(url).text == text


@pytest.mark.parametrize("url", NOT_LISTED)
def test_another_place_is_not_allowed(url: str) -> None:
    """A good address, but not of the operator's: another scheme, host, port or path."""
    with pytest.raises(RepositoryNotAllowed) as caught:
        admit(url)

    assert caught.value.code == "repository-not-allowed"


@pytest.mark.parametrize(("url", "reason"), MALFORMED, ids=lambda value: ascii(value)[:60])
def test_what_could_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    """The refusal tells the reason and repeats nothing of the address."""
    with pytest.raises(MalformedRepository) as caught:
        admit(url)

    assert reason in caught.value.detail
    assert caught.value.detail.startswith("Repository not allowed: mine has an address ")
    assert "evil" not in caught.value.detail


def test_the_corpus_is_large() -> None:
    """Each address once."""
    urls = [url for url, _ in ADMITTED + MALFORMED] + NOT_LISTED

    assert len(set(urls)) == len(urls) > 120


# Parts of which addresses are made, good and bad ones, and any text besides.
PLAIN = [
    "https://",
    "HTTP://",
    "feeds.example.org",
    "evil.example",
    "packages",
    "releases",
    "feed",
    "a.adb",
    ":443",
    ":8080",
    "/",
    "%41",
    "~",
    "+",
]
STRANGE = [
    ":",
    "@",
    "//",
    "..",
    ".",
    "%2e",
    "%2E%2e",
    "%252e",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "%0a",
    "\n",
    " ",
    "#",
    "?",
    ";",
    "$(id)",
    "`",
    "|",
    "%",
    "\u00e4",
]
PARTS = st.sampled_from([*ALLOWED, *PLAIN, *STRANGE]) | st.text(max_size=4)
ADDRESSES = st.lists(PARTS, max_size=8).map("".join) | st.tuples(
    st.sampled_from(ALLOWED), st.lists(PARTS, max_size=6)
).map(lambda parts: parts[0] + "".join(parts[1]))


@given(ADDRESSES)
def test_whatever_is_admitted_lies_below_an_entry_for_others_too(url: str) -> None:
    """Another reader of addresses finds the same server and a path below the entry's, in letters
    without any meaning.
    """
    try:
        admit(url)
    except RepositoryNotAllowed:
        return

    text = FeedUrl.parse(url).text
    read = urlsplit(text)
    assert re.fullmatch(r"https?://[A-Za-z0-9._~+:/-]+", text)
    assert ".." not in read.path.split("/")
    assert not read.query + read.fragment + (read.username or "")
    assert unquote(text) == text
    assert any(
        (read.scheme, read.netloc) == (entry.scheme, entry.netloc)
        and f"{read.path.rstrip('/')}/".startswith(f"{entry.path}/")
        for entry in map(urlsplit, ALLOWED)
    )


@given(ADDRESSES)
def test_the_one_spelling_is_its_own(url: str) -> None:
    """A prepared request brings it back, and means the same address by it."""
    try:
        parsed = FeedUrl.parse(url)
    except InvalidFeedError:
        return

    assert FeedUrl.parse(parsed.text) == parsed
