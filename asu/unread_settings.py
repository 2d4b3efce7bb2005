"""Settings that somebody wrote and this server does not read: other servers' and misspelt ones.

Each is named at start and by `asu check`. What is ignored in silence is found on a bad day.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .settings import CONFIG, Settings

# Of the reference server, by name: what to do instead.
ELSEWHERE: Mapping[str, str] = {
    "async_queue": "builds are always queued",
    "branches": "releases come from UPSTREAM_URL, OLDEST_BRANCH leaves old ones out, and "
    "PACKAGE_CHANGES_DIR adds rules",
    "branches_file": "releases come from UPSTREAM_URL, OLDEST_BRANCH leaves old ones out, and "
    "PACKAGE_CHANGES_DIR adds rules",
    "cache_url": "set UPSTREAM_URL to the cache, and PUBLIC_UPSTREAM_URL to what devices reach",
    "container_identity": "podman is reached at CONTAINER_SOCKET_PATH",
    "job_timeout": "set INFO_DEADLINE, MANIFEST_DEADLINE and IMAGE_DEADLINE",
    "public_path": "set STORE_PATH to the directory of the images",
    "s3_access_key": "set S3_ACCESS_KEY_ID",
    "s3_endpoint": "set S3_ENDPOINT_URL",
    "s3_secret_key": "set S3_SECRET_ACCESS_KEY",
    "server_stats": "statistics are always kept",
    "squid_cache": "set UPSTREAM_URL to the cache, and PUBLIC_UPSTREAM_URL to what devices reach",
    "store_backend": "images are kept in S3_BUCKET if that is set, else in STORE_PATH",
}


def unread_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each setting that has no effect, without its value."""
    written = {name.lower() for name, value in environment.items() if value} & ELSEWHERE.keys()
    path = Path(environment.get("ASU_CONFIG", CONFIG))
    return [
        *(f"{name.upper()} has no effect here; {ELSEWHERE[name]}." for name in sorted(written)),
        *_of_file(path, tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}),
    ]


def _of_file(path: Path, written: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(written.keys() - Settings.model_fields.keys()):
        shown, plain = ascii(name[:64]).strip("'"), name.lower().replace("-", "_")
        advice = ELSEWHERE.get(plain)
        near = difflib.get_close_matches(plain, Settings.model_fields, n=1)
        if advice is None:
            advice = f"did you mean {near[0]}?" if near else "REFERENCE.md lists all settings"
        yield f"{shown} in {path.name} has no effect here; {advice.rstrip('.')}.".replace("?.", "?")
