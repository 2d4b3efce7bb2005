"""Rules of an operator's directory: used beside the shipped ones, read again when they change."""

import logging
from pathlib import Path

import pytest

from asu.resolution import LiveRules, load_rules
from tests.unit.worlds import REQUEST, opened

RULE = """
[[rule]]
id = "own-tool-renamed"
since = "24.10"
replace = "old-tool"
with = "new-tool"
reason = "old-tool was renamed."
"""
SHIPPED = len(load_rules().rules)


def changes(rules: LiveRules) -> list[str]:
    """Return the rules that a preview of `old-tool` names."""
    request = {**REQUEST, "packages": ["old-tool"]}
    with opened(rules=rules) as world:
        answer = world.client.post("/api/v1/build/prepare", json=request).json()
    return [change["rule"] for change in answer["changes"]]


def test_a_file_adds_rules_without_a_release(tmp_path: Path) -> None:
    """It is there from the next look on, and gone with the file; other files mean nothing."""
    rules = LiveRules(tmp_path)
    before = changes(rules)
    (tmp_path / "own.toml").write_text(RULE)
    (tmp_path / "README").write_text("not TOML")
    rules.look()
    with_file = changes(rules)
    (tmp_path / "own.toml").unlink()
    rules.look()

    assert (before, with_file, changes(rules)) == ([], ["own-tool-renamed"], [])
    assert not rules.trouble


BROKEN: dict[str, str | bytes] = {
    "no TOML": "[[rule",
    "bytes": b"\xff\xfe",
    "another table": "[rules]\nx = 1",
    "a table in place of a list": '[rule]\nid = "a"',
    "no action": '[[rule]]\nid = "a"\nreason = "R."',
    "no id": '[[rule]]\nremove = "a"\nreason = "R."',
    "no reason": '[[rule]]\nid = "a"\nremove = "a"',
    "another field": RULE + 'becaus = "x"',
    "a number for a name": '[[rule]]\nid = "a"\nremove = 7\nreason = "R."',
    "a text for a list": '[[rule]]\nid = "a"\nadd = "x"\nreason = "R."',
    "a list of numbers": '[[rule]]\nid = "a"\nadd = [1]\nreason = "R."',
    "an empty list": '[[rule]]\nid = "a"\nadd = []\nreason = "R."',
    "a name for a shell": '[[rule]]\nid = "a"\nadd = ["$(id)"]\nreason = "R."',
    "an option": '[[rule]]\nid = "a"\nreplace = "a"\nwith = "--force"\nreason = "R."',
    "a pattern of everything": '[[rule]]\nid = "a"\nremove_pattern = "*"\nreason = "R."',
    "no version": RULE.replace("24.10", "yesterday"),
    "a shipped id": RULE.replace("own-tool-renamed", "auc-owut"),
    "a circle": '[[rule]]\nid = "back"\nreplace = "new-tool"\nwith = "old-tool"\nreason = "R."',
    "itself": RULE.replace("new-tool", "old-tool"),
    "an exclusive without packages": '[[exclusive]]\nid = "e"\nreason = "R."',
    "a branch without number": '[branch_off_revision]\n"26.04" = "r1"',
    "a large file": f"# {'x' * 300_000}",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_leaves_the_last_good_rules(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with it; /readyz and the log say so once, and name the file."""
    (tmp_path / "good.toml").write_text(RULE)
    rules = LiveRules(tmp_path)
    content = BROKEN[name]
    if isinstance(content, str):
        content = content.replace("own-tool-renamed", "another").encode()
    (tmp_path / "broken.toml").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        rules.look()
        rules.look()

    assert changes(rules) == ["own-tool-renamed"]
    with opened(rules=rules) as world:
        ready = world.client.get("/readyz?verbose")
    assert ready.status_code == 200
    assert "the last good rules stay" in ready.json()["notice"]
    assert ready.json()["checks"]["rules"] == rules.trouble
    assert caplog.text.count("the last good rules stay") == 1
    assert name in {"a circle", "itself", "a shipped id"} or "broken.toml" in rules.trouble


def test_a_mended_file_is_used(tmp_path: Path) -> None:
    """Nobody has to start the service again."""
    (tmp_path / "own.toml").write_text("[[rule")
    rules = LiveRules(tmp_path)
    at_start = (len(rules.current.rules), bool(rules.trouble))
    (tmp_path / "own.toml").write_text(RULE)
    rules.look()

    assert at_start == (SHIPPED, True)
    assert (len(rules.current.rules), rules.trouble) == (SHIPPED + 1, "")


def test_a_directory_that_goes_away_leaves_the_last_good_rules(tmp_path: Path) -> None:
    """A disk may be away for a while."""
    place = tmp_path / "rules"
    place.mkdir()
    (place / "own.toml").write_text(RULE)
    rules = LiveRules(place)
    (place / "own.toml").unlink()
    place.rmdir()
    rules.look()

    assert len(rules.current.rules) == SHIPPED + 1
    assert "No such file or directory" in rules.trouble


def test_without_a_directory_there_is_nothing_to_say() -> None:
    """The shipped rules are a part of the program."""
    rules = LiveRules()
    with opened(rules=rules) as world:
        ready = world.client.get("/readyz?verbose").json()

    assert "notice" not in ready
    assert ready["checks"]["rules"] == f"{SHIPPED} package rules"
