"""What every answer is checked for besides its description; schemathesis loads this as its hooks.

A failed build answers 500 by the contract with clients, who show its reason at no other status. It
differs from a failure of the server by its class: only a build whose selection cannot work is the
user's. And the stand-in downloads server has one release that is half published, on purpose; to say
so is right.
"""

from typing import Any

import schemathesis

SERVER_ERROR, ERROR = 500, 400


def _header(response: Any, name: str) -> list[str]:
    values = response.headers.get(name, [])
    return [values] if isinstance(values, str) else list(values)


@schemathesis.check
def no_server_error(_context: Any, response: Any, case: Any) -> None:
    """Fail for a status of 500 and above, except for a build that could never work."""
    if response.status_code < SERVER_ERROR or case.method.upper() == "HEAD":
        return
    body = response.json()
    is_users = body.get("imagebuilder_status") == "failed" and body.get("fault") == "user"
    if not is_users and body.get("code") != "half-published":
        raise AssertionError(f"{response.status_code}: {body.get('code')}: {body.get('detail')}")


@schemathesis.check
def one_error_shape(_context: Any, response: Any, case: Any) -> None:
    """Fail for an error, of a service or the gateway, without status, title, detail and code."""
    if response.status_code < ERROR or case.method.upper() == "HEAD":
        return
    body = response.json()
    if body["status"] != response.status_code:
        raise AssertionError(f"status {body['status']} in the body of a {response.status_code}")
    for name in ("title", "detail", "code"):
        if not isinstance(body[name], str) or not body[name]:
            raise AssertionError(f"{name} is {body[name]!r}")
    if not _header(response, "content-type")[0].startswith("application/json"):
        raise AssertionError("an error that is not JSON")


@schemathesis.check
def one_cors_header(_context: Any, response: Any, _case: Any) -> None:
    """Fail for an answer that a page cannot read: without the header, and with two."""
    if _header(response, "access-control-allow-origin") != ["*"]:
        raise AssertionError(
            f"Access-Control-Allow-Origin: {_header(response, 'access-control-allow-origin')}"
        )
