"""The images that are deployed: made, looked into and weighed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.smoke.engine import ROOT, Engine, SmokeError, fetch_builder_base, package_index_options

# What the compose files name unless .env says otherwise; a name from there would do as well.
PYTHON, NGINX, REDIS = (
    "docker.io/library/python:3.13-slim",
    "docker.io/library/nginx:1.28",
    "docker.io/library/redis:8-bookworm",
)
PROMETHEUS = "docker.io/prom/prometheus:v3.5.0"
ASU, PREPARE = "localhost/asu:smoke", "localhost/asu-prepare:smoke"
BASE_CONTAINER = "localhost/asu-standin-smoke/imagebuilder"
MIRROR = "10.89.252.2"  # The address that standin.yml gives the downloads server.
FEEDS = f"http://{MIRROR}:8002"
VERSION, TARGET = "25.12.1", "lantiq/xrx200"

MIB = 1024 * 1024
MOST_ADDED = {ASU: 150, PREPARE: 60}  # MiB on top of the base image; the bars of the design.
FOREIGN = {
    ASU: ("asu_prepare", "pip", "pytest", "ensurepip._bundled"),
    PREPARE: ("asu", "redis", "rq", "podman", "boto3", "pip", "pytest"),
}
TOOLS = ("gcc", "cc", "g++", "clang", "pip", "pip3", "pytest")

PROBE = """
import importlib.util, json, shutil, sys
modules, tools = json.loads(sys.argv[1])
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
found = [name for name in modules if has(name)]
print(json.dumps(found + [name for name in tools if shutil.which(name)]))
"""


def make_bases(engine: Engine) -> None:
    """Pull the base images, or make what stands in for them."""
    fetch_builder_base(engine)
    engine.run(
        [str(ROOT / "tests" / "containers" / "make_bases"), PYTHON, NGINX, REDIS, PROMETHEUS]
    )


def tree_of(engine: Engine) -> Path:
    """Return where the files of the stand-in downloads server lie."""
    return engine.directory / "upstream"


def make_tree(engine: Engine) -> Path:
    """Make the files of the stand-in downloads server; takes two seconds."""
    tree = tree_of(engine)
    if not tree.is_dir():
        engine.run([sys.executable, "-m", "tests.upstream.make_tree", str(tree)])
    return tree


def make_builders(engine: Engine, tree: Path) -> None:
    """Make the stand-in ImageBuilder that the requests need."""
    command = [
        sys.executable,
        "-m",
        "tests.imagebuilder.build",
        "--tree",
        str(tree),
        "--feeds",
        FEEDS,
        "--base-container",
        BASE_CONTAINER,
    ]
    engine.run([*command, "--version", VERSION, "--target", TARGET])


def build_options(engine: Engine) -> list[str]:
    """Return what podman-compose has podman build with."""
    return [f"--podman-build-args={' '.join(['--pull=never', *package_index_options(engine)])}"]


def revision() -> str:
    """Return what the images are made from, for their labels; nothing where there is no git."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()


def check_images(engine: Engine) -> list[str]:
    """Return lines about the sizes; raises SmokeError when an image is too large, runs as root or
    holds what it should not.
    """
    lines = []
    base = _size(engine, PYTHON)
    for image, most in MOST_ADDED.items():
        added = (_size(engine, image) - base) / MIB
        lines.append(f"{image} adds {added:.1f} MiB to its base (at most {most})")
        if added > most:
            raise SmokeError(lines[-1])
        wanted = json.dumps([FOREIGN[image], TOOLS])
        found = json.loads(
            engine.podman(
                "run", "--rm", "--network=none", "--entrypoint=python", image, "-c", PROBE, wanted
            )
        )
        if found:
            raise SmokeError(f"{image} holds {', '.join(found)}")
        described = json.loads(engine.podman("image", "inspect", image))[0]
        if described["Config"].get("User", "0").partition(":")[0] in {"", "0", "root"}:
            raise SmokeError(f"{image} runs as root")
        missing = {
            name
            for name in ("title", "description", "licenses", "version", "revision", "source")
            if f"org.opencontainers.image.{name}" not in described["Labels"]
        }
        if missing:
            raise SmokeError(f"{image} lacks the labels {', '.join(sorted(missing))}")
    return lines


def _size(engine: Engine, image: str) -> int:
    return int(engine.podman("image", "inspect", "--format", "{{.Size}}", image))
