"""The envelope around a provenance: one line of JSON, as DSSE defines it.

{"payload": Base64, "payloadType": "application/vnd.in-toto+json",
"signatures": [{"keyid": "16 hex digits", "sig": Base64}]}       empty without a key
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PAYLOAD_TYPE = "application/vnd.in-toto+json"
# Beside the images; the name that in-toto gives to such files.
PROVENANCE_FILE = "provenance.intoto.jsonl"


class UnusableProvenance(Exception):
    """A document cannot be read as a provenance; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature with the number of its key: usign's, 16 hexadecimal digits."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was read; nothing about it has been checked yet."""

    payload: bytes
    seals: tuple[Seal, ...]


# Returns the signatures of a message: none without a key.
Sealing = Callable[[bytes], Sequence[Seal]]


def signed_message(payload: bytes) -> bytes:
    """Return the bytes that are signed, which no image can be: the same key signs both."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return JSON that is the same bytes for the same content."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def sealed(statement: Mapping[str, Any], seal: Sealing) -> bytes:
    """Return the line with a statement and its signatures."""
    payload = canonical(statement)
    signatures = [
        {"keyid": one.key_id, "sig": base64.b64encode(one.signature).decode()}
        for one in seal(signed_message(payload))
    ]
    encoded = base64.b64encode(payload).decode()
    envelope = {"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    return canonical(envelope) + b"\n"


def read_envelope(document: bytes) -> Envelope:
    """Read the line; raises UnusableProvenance."""
    try:
        values = json.loads(document)
        if values["payloadType"] != PAYLOAD_TYPE:
            raise UnusableProvenance("the envelope does not hold a provenance")
        payload = base64.b64decode(values["payload"], validate=True)
        seals = tuple(
            Seal(str(one["keyid"]), base64.b64decode(one["sig"], validate=True))
            for one in values["signatures"]
        )
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise UnusableProvenance("it is not a DSSE envelope") from error
    return Envelope(payload, seals)
