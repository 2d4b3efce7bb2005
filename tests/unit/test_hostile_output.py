"""Whatever a package prints is read in a moment, so it stops neither the worker nor its lease."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from asu.errors import AsuError, OutputUnreadable
from asu.pages.build_page import marked
from asu.worker import image_sizes, imagebuilder
from asu.worker.builder_failures import Selection, check, failure
from asu.worker.container import CommandResult
from asu.worker.interpreting import LINE, time_limited, with_short_lines
from asu.worker.live_log import LiveLog, withheld
from asu.worker.package_managers import Apk, Opkg, OwnFeeds

SIZE = 128 * 1024  # Characters; as much is kept of an output.
# Beginnings of what the patterns look for, each with what may follow it in endless repetition.
BEGINNINGS = {
    "apk block": ("  a:\n    breaks: ", "[", "a[", "a[b", "a[b]", "\n      a"),
    "apk needs": ("  a (no such package):\n    required by: ", "a[", "world[", "\n        x["),
    "apk blocks": ("", "  a:\n    ", "  a (no such package):\n", "    \n", "  :"),
    "apk file": ("ERROR: ", "a: trying to overwrite ", "owned by ", "."),
    "apk feed": ("", "WARNING: opening from cache ", "WARNING: updating and opening a", ": "),
    "opkg needs": ("", "cannot find dependency ", "cannot find dependency a (", "a (b) for "),
    "opkg list": ("Cannot satisfy the following dependencies for a:\n", " * \ta (", " *    \t"),
    "opkg conflict": ("packages conflict with a:\n", " * check_conflicts_for: \t", "\ta ("),
    "opkg file": ("", "Package a wants to install file b\n", "\tBut that file is already "),
    "opkg lists": ("Collected errors:\n", " * a", " * connectivity.\n", "\t", "Downloading x\n"),
    "opkg feed": ("", "Downloading ", "Downloading https://feeds.example/own/Packages.gz\n"),
    "image": ("Image file ", "/a", "a/", "Image file /a", " is too big: 1", "1 > "),
    "no image": ("", "cannot stat '/", "/a", "cannot statx '/a/", "'"),
    "ext4": ("", "ext4_allocate", "ext4_allocate_a: failed to allocate ", "Size: 1\n"),
    "script": ("postinst script ", "/a", "a-1", "-1", "a-1-r1.Xa", ".postinst", "/a.X"),
    "anything": ("", " ", "\n", "\t", "\x1b[", "\x1b[1", "é", "0", " \n"),
    "make": ("", "No rule to make target '", 'Profile "', "make[1]: ", "a.b-c: ", "Error 127 "),
}
TEXTS = {
    f"{name}, {number}": (beginning + repeated * (SIZE // len(repeated)))[:SIZE]
    for name, (beginning, *all_repeated) in BEGINNINGS.items()
    for number, repeated in enumerate(all_repeated)
}
FEEDS = Selection(own=OwnFeeds({"own": "https://feeds.example/own"}))
BUDGET = 0.5  # Seconds of processor time; nothing takes a tenth of it.


def raised(read: Callable[[], object]) -> None:
    """Read something, which may fail as a build fails."""
    with contextlib.suppress(AsuError):
        read()


def readers(text: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield everything that reads what a build prints."""
    for manager in (Apk(), Opkg()):
        name = type(manager).__name__
        for code in (0, 2):
            for result in (CommandResult(code, text, ""), CommandResult(code, "", text)):
                short = with_short_lines(result)
                yield f"{name} outcome", lambda m=manager, r=short: check(r, m, FEEDS)  # type: ignore[misc]
                yield f"{name} failure", lambda m=manager, r=short: failure(r, m)  # type: ignore[misc]
    short = with_short_lines(CommandResult(0, text, text))
    yield "sizes", lambda: image_sizes.check(short.stdout, short.stderr, [])
    yield "info", lambda: imagebuilder.parse_info(text)
    yield "manifest", lambda: imagebuilder.parse_manifest(text)
    yield "withheld", lambda: withheld(text, "a first line\nanother line\n")
    yield "page", lambda: marked(text)

    def follow() -> None:
        with LiveLog(lambda *_: None, "a first line") as printed:
            printed.write(text.encode())

    yield "live log", follow


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_takes_long(name: str) -> None:
    """Not even without the limit, which is for what nobody has thought of."""
    for reader, read in readers(TEXTS[name]):
        begun = time.process_time()
        raised(read)
        spent = time.process_time() - begun
        assert spent < BUDGET, f"{reader}: {spent:.2f} s"


def test_there_are_enough_texts() -> None:
    """At least sixty."""
    assert len(TEXTS) >= 60


def _search_for_hours() -> None:
    with time_limited(0.05):
        re.findall(r"(\S+?)\[([^\]\n]*)\]", "[" * 60_000)


def test_what_takes_long_is_given_up() -> None:
    """As the user's failure, with a code of its own; the time before does not count."""
    with time_limited(5.0):
        pass

    with pytest.raises(OutputUnreadable) as caught:
        _search_for_hours()

    assert (caught.value.fault, caught.value.code) == ("user", "output-unreadable")


def test_another_thread_is_not_interrupted() -> None:
    """Only the main thread can be; others go on."""
    ended = []

    def work() -> None:
        with time_limited(0.001):
            sum(range(200_000))
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended


def test_long_lines_are_cut() -> None:
    """All others stay as they are."""
    result = CommandResult(2, f"short\n{'a' * 5000}\n\nlast", "b" * LINE)

    assert with_short_lines(result) == CommandResult(2, f"short\n{'a' * LINE}\n\nlast", "b" * LINE)
