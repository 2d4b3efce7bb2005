"""`asu verify`: check files against their provenance, and that against a public key."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asu.keys.usign import PublicKey, UnusableKey, read_public_key
from asu.resolution import request_hash

from .envelope import PROVENANCE_FILE, Envelope, UnusableProvenance, read_envelope, signed_message
from .sources import Source, SourceError, file_sha256, open_source
from .statement import Provenance, read_statement


@dataclass(slots=True)
class Report:
    """What was found, in words: `facts` are what the provenance says and what agrees with it."""

    facts: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def in_words(self) -> str:
        """Return a line for each, without control characters that could steer a terminal."""
        lines = [*self.facts, *(f"DIFFERS: {difference}" for difference in self.differences)]
        return "".join(
            f"{''.join(letter if letter.isprintable() else '?' for letter in line)}\n"
            for line in lines
        )


def run_verify(place: str, files: Sequence[Path], key: Path | None) -> None:
    """Print what was found; end with 1 if anything differs or cannot be checked."""
    try:
        report = verify(open_source(place), files=files, key=_read_key(key) if key else None)
    except (SourceError, UnusableKey) as error:
        raise SystemExit(f"asu verify: {error}") from error
    except UnusableProvenance as error:
        raise SystemExit(f"asu verify: {place}: {error}") from error
    sys.stdout.write(report.in_words())
    if report.differences:
        raise SystemExit(1)


def _read_key(path: Path) -> PublicKey:
    try:
        return read_public_key(path.read_text(encoding="latin-1"))
    except OSError as error:
        raise UnusableKey(f"{path}: {error.strerror}") from error
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error}") from error


def verify(source: Source, *, files: Sequence[Path] = (), key: PublicKey | None = None) -> Report:
    """Check a provenance and its files.

    Without `files` check all that it names, and on this machine all files beside it. Raises
    UnusableProvenance and SourceError if there is nothing to check.
    """
    envelope = read_envelope(source.provenance())
    provenance, report = read_statement(envelope.payload), Report()
    _check_signature(envelope, key, report)
    _report_origin(provenance, report)
    _check_identity(provenance, source.key, report)
    # Pairs, since files of one name may be given from several places.
    given: list[tuple[str, str | None]] = [(path.name, file_sha256(path)) for path in files]
    for name, digest in given or [(name, source.sha256(name)) for name in provenance.files]:
        _check_file(name, digest, provenance.files.get(name), report)
    if not files:
        unknown = sorted(source.names() - provenance.files.keys())
        report.differences += [
            f"{name} is beside the provenance, but not named in it: nothing is known about it"
            for name in unknown
        ]
    return report


def _check_signature(envelope: Envelope, key: PublicKey | None, report: Report) -> None:
    signers = " and ".join(seal.key_id for seal in envelope.seals)
    if key is None:
        by = f"by key {signers}, but not checked: give the public key with --key"
        report.facts.append(f"signature: {by if signers else 'there is none'}")
        return
    named = key.fingerprint.hex()
    ours = [seal for seal in envelope.seals if seal.key_id == named]
    if any(key.verifies(signed_message(envelope.payload), seal.signature) for seal in ours):
        report.facts.append(f"signature: by key {named}, and good")
    elif ours:
        report.differences.append(
            f"the signature by key {named} is false: {PROVENANCE_FILE} is not what was signed"
        )
    else:
        others = f"by {signers}" if signers else "not at all"
        report.differences.append(f"{PROVENANCE_FILE} is not signed by key {named}, but {others}")


def _report_origin(provenance: Provenance, report: Report) -> None:
    request, builder = provenance.request, provenance.builder
    device = f"{request.get('profile')} ({request.get('target')})"
    script = ", with a first-boot script" if provenance.has_script else ""
    report.facts += [
        f"built: {request.get('version')} for {device}{script}, {provenance.finished}",
        f"by: {provenance.builder_id}, build and attempt {provenance.invocation}",
        f"from: {builder.name}, {builder.digest}, revision {builder.revision}",
        *(f"from: {feed}" for feed in provenance.feeds),
        f"with: {len(provenance.packages)} packages",
    ]


def _check_identity(provenance: Provenance, key: str, report: Report) -> None:
    """Compare the build's key with the place of the files, the attempt and the request."""
    if key and key != provenance.key:
        report.differences.append(f"it is the provenance of build {provenance.key}, not of {key}")
    if provenance.invocation.partition("/")[0] != provenance.key:
        report.differences.append("the attempt that it names belongs to another build")
    request = {**provenance.request, "defaults": None}
    try:
        is_request = provenance.has_script or request_hash(request) == provenance.key
    except (KeyError, TypeError, ValueError, AttributeError):
        is_request = False
    if not is_request:
        report.differences.append("its request does not have the hash that is its key")


def _check_file(name: str, digest: str | None, wanted: str | None, report: Report) -> None:
    if wanted is None:
        report.differences.append(f"{name} is not among the files that were built")
    elif digest is None:
        report.differences.append(f"{name} is missing")
    elif digest != wanted:
        report.differences.append(
            f"{name} is not what was built: its SHA-256 is {digest}, not {wanted}"
        )
    else:
        report.facts.append(f"{name}: as it was built")
