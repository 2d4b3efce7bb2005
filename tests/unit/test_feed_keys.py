"""Public keys of feeds: each has one spelling, and no secret comes through or back."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asu.catalogue.feed_policy import FeedPolicy
from asu.catalogue.package_manager import package_manager_of
from asu.errors import MalformedRepositoryKey, UserError
from asu.resolution import FeedKey, InvalidFeedError, Version
from tests.unit.fixtures import feed_keys
from tests.unit.fixtures.feed_keys import DER, FINGERPRINT, PEM, USIGN, USIGN_LINE


def admit(*keys: str, version: str = "24.10.4") -> None:
    """Let keys pass, with a feed that they may belong to."""
    url = "https://feeds.example.org/own"
    feeds = {
        "own": f"{url}/packages.adb" if package_manager_of(Version.parse(version)) == "apk" else url
    }
    FeedPolicy.of([url]).admit(feeds, keys, Version.parse(version))


def is_admitted(*keys: str, version: str = "24.10.4") -> bool:
    """Whether keys pass."""
    try:
        admit(*keys, version=version)
    except UserError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        USIGN,
        USIGN_LINE,
        f"\n{USIGN_LINE}\n",
        f"untrusted comment: Jane's feed\n{USIGN_LINE}\n",
        f"untrusted comment: $(id) `id` src/gz evil https://evil.example\r\n{USIGN_LINE}\r\n",
        f"untrusted comment:\n  {USIGN_LINE}  ",
        f"untrusted comment: \u2028src/gz\x0bevil\n{USIGN_LINE}",
    ],
    ids=range(7),
)
def test_a_usign_key_has_one_spelling(text: str) -> None:
    """The comment is made anew, so nothing travels in it; the file is called what opkg looks
    for.
    """
    key = FeedKey.parse(text)

    assert (key.kind, key.text, key.file_name) == ("usign", USIGN, FINGERPRINT)


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        f"{PEM}\n",
        PEM.replace("\n", "\r\n"),
        feed_keys.pem(DER),
        PEM.replace("\n", "\n  "),
        f"\n\n{PEM}\n\n",
    ],
    ids=range(6),
)
def test_a_pem_key_has_one_spelling(text: str) -> None:
    """However its lines are broken; the file is called after the key."""
    key = FeedKey.parse(text)

    assert (key.kind, key.text, key.file_name) == (
        "pem",
        PEM,
        f"{hashlib.sha256(DER).hexdigest()}.pem",
    )


@pytest.mark.parametrize(
    ("key", "version", "other"),
    [
        (USIGN, "24.10.4", "25.12.0"),
        (USIGN_LINE, "23.05.10", "SNAPSHOT"),
        (PEM, "25.12.0", "24.10.4"),
        (feed_keys.pem(DER), "SNAPSHOT", "23.05.10"),
    ],
)
def test_a_public_key_is_admitted(key: str, version: str, other: str) -> None:
    """Both kinds, in the release that can use them only; the library reads the PEM file, too."""
    assert is_admitted(key, version=version)
    assert not is_admitted(key, version=other)


def test_a_key_without_a_feed_is_refused() -> None:
    """It changes nothing that the user wants, and could stand in the way of OpenWrt's own keys."""
    with pytest.raises(MalformedRepositoryKey, match="belongs to no feed"):
        FeedPolicy(()).admit({}, [USIGN], Version.parse("24.10.4"))


def test_two_keys_of_one_fingerprint_are_refused() -> None:
    """Opkg would find one of them only, and which of the two is no part of the build's identity."""
    other = base64.b64encode(base64.b64decode(USIGN_LINE)[:10] + bytes(32)).decode()

    with pytest.raises(MalformedRepositoryKey, match=r"Key 2 .* fingerprint of another"):
        admit(USIGN, other)
    assert is_admitted(USIGN, USIGN_LINE), "the same key twice is one key"


MALFORMED = [
    "",
    "\n",
    "key",
    "\u00e4",
    USIGN_LINE[:-4],
    f"{USIGN_LINE}AAAA",
    f"{USIGN_LINE[:-1]}!",
    base64.b64encode(b"ed" + bytes(40)).decode(),
    base64.b64encode(b"Ed" + bytes(39)).decode(),
    f"comment\n{USIGN_LINE}",
    f"{USIGN}\n{USIGN_LINE}",
    f"{USIGN}\nsrc/gz evil https://evil.example",
    f"untrusted comment: a\n\n{USIGN_LINE}",
    f"{USIGN_LINE[:20]}\n{USIGN_LINE[20:]}",
    f"{USIGN_LINE[:20]} {USIGN_LINE[20:]}",
    "untrusted comment: a",
    f"{PEM}\n{PEM}",
    f"{PEM}\ntrailing",
    f"leading\n{PEM}",
    PEM.replace("PUBLIC KEY", "CERTIFICATE"),
    PEM.removesuffix("-----END PUBLIC KEY-----"),
    PEM.replace("M", "*"),
    feed_keys.pem(b""),
    feed_keys.pem(b"\x30"),
    feed_keys.pem(DER[:-1]),
    feed_keys.pem(DER + b"\0"),
    feed_keys.pem(DER[:-1] + bytes([DER[-1] ^ 1])),  # A point that is not on the curve.
    feed_keys.compressed(),
    feed_keys.PEM_ED25519,
    feed_keys.rsa_public(),
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("version", ["24.10.4", "25.12.0"])
def test_anything_else_is_refused(text: str, version: str) -> None:
    """The refusal says which of the keys, and repeats nothing of it."""
    good = USIGN if version == "24.10.4" else PEM
    with pytest.raises(MalformedRepositoryKey) as caught:
        admit(good, text, version=version)

    assert caught.value.detail.startswith("Key 2 of `repository_keys` ")
    assert "evil" not in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        feed_keys.USIGN_SECRET,
        feed_keys.USIGN_SECRET.split("\n")[1],
        feed_keys.PEM_PRIVATE,
        feed_keys.PEM_EC_PRIVATE,
        PEM + feed_keys.PEM_PRIVATE,
    ],
)
@pytest.mark.parametrize("version", ["24.10.4", "25.12.0"])
def test_a_private_key_is_called_what_it_is(text: str, version: str) -> None:
    """Whoever sent one learns that it is lost, and it is not repeated."""
    with pytest.raises(MalformedRepositoryKey, match="is a private key") as caught:
        admit(text, version=version)

    assert not [
        line for line in text.split("\n") if len(line) > 16 and line[:16] in caught.value.detail
    ]


@given(
    st.text(max_size=100)
    | st.binary(max_size=120).map(lambda content: base64.b64encode(content).decode())
    | st.binary(max_size=90).map(feed_keys.pem)
)
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is read has a spelling that is read as the same key; all else is refused in
    words.
    """
    try:
        key = FeedKey.parse(text)
    except InvalidFeedError:
        return

    assert FeedKey.parse(key.text) == key
