"""Writes down what our container images hold, as a bill of materials in CycloneDX's form.

Python packages come from the locks, with the hashes of all files that may be installed of them; the
base from the Containerfile; Debian's packages from the image, if there is one on this machine. A
package that only some machines need is optional, and its marker says which.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from misc.supply.locks import ROOT, SERVICES, Requirement, read_lock

CONTAINERFILES = {"asu": ROOT / "Containerfile", "asu-prepare": ROOT / "asu-prepare/Containerfile"}
_BASE = re.compile(r"^ARG BASE_IMAGE=([^\s@]+):([^\s:/@]+)(?:@\S+)?$", re.MULTILINE)
_VERSION = re.compile(r"^ARG VERSION=(\S+)$", re.MULTILINE)
DPKG = ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n"]


def write_boms(directory: Path, *, tag: str) -> None:
    """Write the bill of each service's image `tag` into a directory, and print what it holds."""
    directory.mkdir(parents=True, exist_ok=True)
    for service, lock in SERVICES.items():
        image = f"localhost/{service}:{tag}"
        packages = read_lock(lock.read_text())
        system, debian = installed_packages(image, os.environ)
        bom = bill(service, CONTAINERFILES[service].read_text(), packages, system)
        path = directory / f"{service}.cdx.json"
        path.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", encoding="utf-8")
        print(f"{path}: {len(packages)} Python packages, {debian}")


def bill(
    service: str,
    containerfile: str,
    packages: Iterable[Requirement],
    system: Iterable[tuple[str, str, str]],
) -> Bom:
    """Return the bill of an image; `system` has name, version, architecture of Debian packages."""
    base, version = _BASE.search(containerfile), _VERSION.search(containerfile)
    if base is None or version is None:
        raise ValueError(f"the Containerfile of {service} names neither base nor version")
    bom = Bom()
    bom.metadata.component = Component(
        name=service, version=version[1], type=ComponentType.CONTAINER, bom_ref=service
    )
    parts = [
        Component(name=base[1], version=base[2], type=ComponentType.CONTAINER, bom_ref="base"),
        *map(_python, packages),
        *_debian(system),
    ]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(bom.metadata.component, parts)
    return bom


def installed_packages(
    image: str, environment: Mapping[str, str]
) -> tuple[list[tuple[str, str, str]], str]:
    """Return the Debian packages of an image as (name, version, architecture), and a summary."""
    if shutil.which("podman") is None or _podman(environment, "image", "exists", image).returncode:
        return [], f"no Debian packages, since there is no image {image} here"
    limits = ["--rm", "--network=none", "--cap-drop=all", "--read-only", f"--entrypoint={DPKG[0]}"]
    listed = _podman(environment, "run", *limits, image, *DPKG[1:])
    if listed.returncode:
        return (
            [],
            f"no Debian packages of {image} can be listed: {listed.stderr.strip()[-200:]}",
        )
    found = [
        (name, version, architecture)
        for name, version, architecture in (line.split("\t") for line in listed.stdout.splitlines())
    ]
    return found, f"{len(found)} Debian packages"


def _podman(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["podman", *arguments], env=dict(environment), check=False, capture_output=True, text=True
    )


def _python(package: Requirement) -> Component:
    purl = PackageURL(type="pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=purl.to_string(),
        scope=ComponentScope.OPTIONAL if package.marker else ComponentScope.REQUIRED,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes],
        properties=[Property(name="asu:marker", value=package.marker)] if package.marker else [],
    )


def _debian(system: Iterable[tuple[str, str, str]]) -> Iterator[Component]:
    for name, version, architecture in system:
        purl = PackageURL(
            type="deb",
            namespace="debian",
            name=name,
            version=version,
            qualifiers={"arch": architecture},
        )
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=purl.to_string(),
        )
