"""The tree of errors: drawn in full, each with a code of its own and a message that can be filled
in where it is raised.
"""

import ast
import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from asu import errors
from asu.errors import AsuError, InvalidRequest, Overloaded, UnknownBuild, UserError
from asu.errors.asu_error import DETAILS

PACKAGE = Path(errors.__file__).parents[1]
# What only people who run servers have words for.
JARGON = re.compile(
    r"podman|container|redis|\bstore\b|\blease\b|bucket|S3|\bplan\b|exec\b|pulled|/builder|\.config",
    re.IGNORECASE,
)
BRANCHES = ("AsuError", "UserError", "UpstreamError", "InfraError")  # Never raised themselves.


def classes(top: type[AsuError] = AsuError) -> Iterator[type[AsuError]]:
    """Yield all errors, each class before those below it."""
    yield top
    for below in top.__subclasses__():
        yield from classes(below)


RAISED = [error for error in classes() if error.__name__ not in BRANCHES]
ALL = {error.__name__: error for error in classes()}


def named(node: ast.expr | None) -> type[AsuError] | None:
    """Return the error that an expression names: `NotFound` or `errors.NotFound`."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "errors":
        return ALL.get(node.attr)
    return ALL.get(node.id) if isinstance(node, ast.Name) else None


@cache
def uses() -> list[tuple[str, type[AsuError], set[str]]]:
    """Return each place in the package that makes an error, and the values that it gives."""
    found: list[tuple[str, type[AsuError], set[str]]] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and (kind := named(node.func)):
                # Lists are no part of the message.
                found.append(
                    (where, kind, {word.arg or "**" for word in node.keywords} - {*DETAILS})
                )
            if isinstance(node, ast.Raise) and (kind := named(node.exc)):
                found.append((where, kind, set()))
    return found


def placeholders(error: type[AsuError]) -> set[str]:
    """Return the names that the message of an error wants filled in."""
    message = (error.__doc__ or "").split("\n\n")[0]
    return {name for _, name, _, _ in string.Formatter().parse(message) if name}


def drawn() -> list[tuple[int, str]]:
    """Return depth and name of each line of the tree in the module's docstring."""
    lines = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    return [((line.index("── ") - 1) // 4 + 1, line.split("── ")[1].split()[0]) for line in lines]


def test_the_drawn_tree_is_the_real_one() -> None:
    """Whoever reads the head of the module knows every error and what it belongs to."""
    depths = {error.__name__: len(error.__mro__) - len(AsuError.__mro__) for error in classes()}

    assert drawn() == [
        (depths[error.__name__], error.__name__) for error in classes() if error is not AsuError
    ]


def test_each_code_belongs_to_one_error() -> None:
    """Programs tell errors apart by their codes."""
    assert {
        code: count for code, count in Counter(error.code for error in RAISED).items() if count > 1
    } == {}
    assert all("code" in vars(error) for error in RAISED)


def test_each_error_has_what_an_answer_needs() -> None:
    """An error's status, a title, a message, and a fault that decides whether it is tried again."""
    for error in RAISED:
        assert 400 <= error.status < 600, error
        assert error.title, error
        assert (error.__doc__ or "").strip(), error
        assert error.fault in ("user", "upstream", "infra"), error
        assert (error.retry_after is None) == (error.fault == "user"), error


def test_each_error_gets_the_values_of_its_message() -> None:
    """Too few would be a crash instead of a message; too many would be seen by nobody."""
    assert len(uses()) > 100
    assert [
        (where, values) for where, error, values in uses() if values != placeholders(error)
    ] == []


def test_no_error_quotes_an_exception() -> None:
    """The words of an exception may hold a path, an address with a password, or what was sent; only
    an error of ours may pass its words on.
    """
    quoting = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and named(node.func):
                parts = [part for keyword in node.keywords for part in ast.walk(keyword.value)]
                told = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
                told += [
                    part.args[0]
                    for part in parts
                    if isinstance(part, ast.Call)
                    and isinstance(part.func, ast.Name)
                    and part.func.id in {"str", "repr"}
                ]
                quoting += [
                    f"{path.name}:{node.lineno}"
                    for part in told
                    if isinstance(part, ast.Name) and part.id in {"error", "exception", "exc", "e"}
                ]

    assert quoting == []


def test_no_error_is_dead() -> None:
    """Each error is raised somewhere, or the documentation would promise what never happens."""
    choices = (
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.IfExp)
    )
    chosen = {named(part) for choice in choices for part in (choice.body, choice.orelse)}

    assert set(RAISED) - {used for _, used, _ in uses()} - chosen == set()


def test_the_message_is_the_docstring_with_its_values() -> None:
    """The detail is one line without placeholders left, and the whole body is JSON."""
    for error in RAISED:
        made = error(**{name: f"<{name}>" for name in placeholders(error)})
        body = made.body()

        assert all(f"<{name}>" in made.detail for name in placeholders(error)), error
        assert "\n" not in body["detail"], error
        assert {type(body[key]) for key in ("title", "detail", "code")} == {str}, error
        assert json.loads(json.dumps(body))["status"] == error.status, error


def test_people_read_nothing_of_the_servers_parts() -> None:
    """They read whose fault it is and what to do; the reason is for the log and for operators."""
    reason = "podman did not look at the ImageBuilder's image"
    for error in RAISED:
        values = dict.fromkeys(placeholders(error), "7")
        hidden = {"reason": reason} if error.plain else {}
        made = error(**values | hidden)

        assert JARGON.search(made.body()["detail"]) is None, made.body()["detail"]
        if error.plain and "reason" in values:
            assert reason in made.detail, "the log needs it"
            assert "your request is not the cause" in made.body()["detail"]


@pytest.mark.parametrize("value", ["{limit}", "{0}", "{", "}", "%s", "{__class__}"])
def test_values_are_never_formats(value: str) -> None:
    """What a caller sent stands in the message as it is, braces included."""
    assert InvalidRequest(reason=value).detail == value


def test_lists_stand_beside_the_message() -> None:
    """`detail` stays a string, since a list there crashes the Firmware Selector."""
    mistakes: list[dict[str, Any]] = [{"type": "missing", "loc": ["body"], "msg": "Field required"}]

    body = InvalidRequest(reason="Field required", errors=mistakes).body()

    assert (body["detail"], body["errors"]) == ("Field required", mistakes)
    assert "errors" not in UnknownBuild().body()


def test_only_faults_that_pass_say_when_to_try_again() -> None:
    """A request that can never work is not invited to come back."""
    assert Overloaded(waiting=200).body()["retry_after"] > 0
    assert "retry_after" not in UnknownBuild().body()
    assert isinstance(UnknownBuild(), UserError)
