"""Paths that want to leave the store, at the API itself and through the gateway, sent as they are
written.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.integration.edge_world import BUILD, CONTENT, IMAGE, SECRET, Door, three_doors
from tests.integration.gateway_world import CAN_RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

# Ways to write `../`, or what some program or other takes for it.
UPWARDS = [
    *(
        "../",
        "..%2f",
        "..%2F",
        "%2e%2e/",
        "%2E%2E/",
        "%2e%2e%2f",
        ".%2e/",
        "%2e./",
        "./../",
        "..//",
        "...//",
        "....//",
        ".../",
        "..;/",
        "..;x=y/",
    ),
    *(
        "..%252f",
        "%252e%252e/",
        "%252e%252e%252f",
        "%25252e%25252e%25252f",
        "..%25252f",
        "%%32%65%%32%65/",
        "..%%35%63",
        "..%u2215",
        "%u002e%u002e/",
    ),
    *(
        "..\\",
        "..%5c",
        "%2e%2e%5c",
        "..%255c",
        "..\\/",
        "..%5c/",
        "\\..\\",
        "..%c0%af",
        "%c0%ae%c0%ae/",
        "%c0%ae%c0%ae%c0%af",
        "..%c1%9c",
    ),
    *(
        "%e0%80%ae%e0%80%ae/",
        "..%e0%80%af",
        "..%ef%bc%8f",
        "%ef%bc%8e%ef%bc%8e/",
        "..%e2%88%95",
        "..%e2%81%84",
        "\u2024\u2024/",
        "\uff0e\uff0e\uff0f",
    ),
    *(
        "..%00/",
        "%00../",
        ".%00./",
        "..%09/",
        "..%0a/",
        "..%0d/",
        "..%0d%0a/",
        "..%20/",
        "%20../",
        "..%23/",
        "..%3f/",
        "..%2f%2e/",
        "..%7f/",
        "..%ff/",
    ),
]
FROM = ["/store/", f"/store/{BUILD}/", f"//store//{BUILD}//", "/static/"]
TO = ["secret.bin", f"store/{IMAGE}", "etc/passwd"]
ALIASED = (
    "/metrics",
    "//metrics",
    "/livez",
    "/",
    "/api/v1/overview",
    f"/store/{BUILD}/{IMAGE}",
    "/api/v1/status",
    "/version",
    "/docs",
)
ABSOLUTE = [
    *(
        "/store//etc/passwd",
        f"/store/{BUILD}//etc/passwd",
        f"/store/{BUILD}/%2fetc%2fpasswd",
        f"/store/{BUILD}/%252fetc%252fpasswd",
    ),
    *(
        f"/store/{BUILD}/file:///etc/passwd",
        f"/store/{BUILD}/C:%5cWindows%5cwin.ini",
        f"/store/{BUILD}/%5c%5chost%5cshare",
        "/store/%2fetc/passwd",
    ),
    *(
        "http://asu/store/../secret.bin",
        f"http://127.0.0.1/store/{BUILD}/../../secret.bin",
        "/store/./../secret.bin",
        f"/store/{BUILD}/.hidden",
    ),
    *(
        f"/store/{BUILD}/{IMAGE}%00.txt",
        f"/store/{BUILD}/secret.bin%00{IMAGE}",
        f"/store/{BUILD}/{IMAGE}/../.hidden",
        f"/store/{BUILD}/link.bin",
    ),
    *(
        f"/store/{BUILD}/%2ehidden",
        f"/store/{BUILD}/./.hidden",
        f"/store/{BUILD}/{IMAGE}/../../{IMAGE}",
        "/store/secret.bin",
        "/store/./secret.bin",
    ),
    *(
        f"/store/{BUILD}/{IMAGE};/../.hidden",
        f"/store/{BUILD}/.",
        f"/store/{BUILD}/..",
        f"/store/{BUILD}/%2e",
        f"/store/{BUILD}/%2e%2e",
        "/store/~/x",
    ),
    *(
        "/store/.",
        "/store/..",
        "/store/%2e%2e",
        f"/store/{BUILD[:-1]}/{IMAGE}",
        f"/store/{BUILD.upper()}/{IMAGE}",
        f"/store/{BUILD}%00/{IMAGE}",
    ),
    *(
        f"/store/{BUILD}%2f{IMAGE}",
        f"/store/{BUILD}/*",
        f"/store/*/{IMAGE}",
        f"/store/{BUILD}/{'A' * 4000}",
        "/static/",
        "/static",
        "/static/%00",
    ),
    # To some patterns a path ends before a line break.
    *(
        f"{path}{end}"
        for path in ALIASED
        for end in ("%0a", "/%0A", "%0a/", "%0d%0a", "%0a?x=1", "%7f", "%1f")
    ),
]
CORPUS = [
    *ABSOLUTE,
    *(
        f"{start}{up * depth}{target}"
        for start, up, depth, target in itertools.product(FROM, UPWARDS, (1, 2), TO[:2])
    ),
    *(f"{start}{up * 12}{TO[2]}" for start, up in itertools.product(FROM, UPWARDS)),
]


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@pytest.fixture(scope="module")
def doors(
    tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer
) -> Iterator[dict[str, Door]]:
    """Run services and gateway over one store."""
    with three_doors(tmp_path_factory.mktemp("doors"), shared_redis) as doors:
        yield doors


@pytest.mark.parametrize("name", ["asu", "gateway"])
def test_the_image_itself_is_served(doors: dict[str, Door], name: str) -> None:
    """Or the corpus would prove nothing."""
    status, _, body = doors[name].get(f"/store/{BUILD}/{IMAGE}".encode())

    assert (status, body) == (200, CONTENT)


@pytest.mark.parametrize("name", ["asu", "gateway"])
def test_nothing_but_the_image_leaves_the_store(doors: dict[str, Door], name: str) -> None:
    """No spelling leads to a file beside it, above it or elsewhere, and none makes the server
    fail.
    """
    through = []
    for target in CORPUS:
        status, head, body = doors[name].get(target.encode())
        is_file = status == 200 and b"octet-stream" in head.lower()
        if status >= 500 or SECRET in body or b"root:" in body or (is_file and body != CONTENT):
            through.append((target, status, body[:80]))

    assert len(set(CORPUS)) >= 200
    assert through == []
    assert doors[name].is_well()


@pytest.mark.parametrize("name", ["asu", "prepare", "gateway"])
def test_no_path_with_a_control_character_leads_anywhere(doors: dict[str, Door], name: str) -> None:
    """What a gateway takes for one address and a service for another is what nobody has thought
    about, such as `/metrics%0A`.
    """
    targets = [target for target in CORPUS if _CONTROL.search(unquote(target.partition("?")[0]))]
    answers = {target: doors[name].get(target.encode())[0] for target in targets}

    assert len(targets) >= 100
    assert {target: status for target, status in answers.items() if status not in {400, 404}} == {}
