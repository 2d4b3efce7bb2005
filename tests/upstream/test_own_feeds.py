"""The feeds of the tree that are not OpenWrt's: signed with keys that nobody has yet."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.imagebuilder.files.standin_adb import Document
from tests.upstream.catalogue import Format
from tests.upstream.indexes import parse_stanzas
from tests.upstream.own_feeds import (
    FORMATS,
    OTHER_PEM_KEY,
    OTHER_USIGN_KEY,
    PEM_KEY,
    USIGN_KEY,
    feed_files,
    key_name,
)


@pytest.mark.parametrize("form", FORMATS)
def test_each_package_of_the_index_is_there(form: Format) -> None:
    """File names, sizes and checksums of the index are those of the files."""
    files = feed_files(form)

    listed = (
        Document(files["packages.adb"]).stanzas()
        if form == "apk"
        else parse_stanzas(files["Packages"].decode())
    )

    assert {stanza["Package"] for stanza in listed} == {"own-tool", "vim"}
    assert all(
        hashlib.sha256(files[stanza["Filename"]]).hexdigest() == stanza["SHA256sum"]
        for stanza in listed
    )


def test_signatures_name_the_keys_as_the_stand_ins_look_them_up() -> None:
    """Opkg finds a key by the fingerprint in the signature, apk by the digest of the key's file."""
    assert (
        feed_files("opkg")["Packages.sig"].decode().split()[3]
        == key_name("opkg")
        == "f29ca57bd24e4e6e"
    )
    assert Document(feed_files("apk")["packages.adb"]).signature.decode() == key_name("apk")
    assert hashlib.sha256(PEM_KEY.encode()).hexdigest().startswith(key_name("apk"))


def test_the_other_keys_are_others() -> None:
    """Keys of the same form sign nothing, so that a feed can be distrusted."""
    assert base64.b64decode(OTHER_USIGN_KEY)[2:10].hex() != key_name("opkg")
    assert (
        base64.b64decode(OTHER_USIGN_KEY)[:2]
        == base64.b64decode(USIGN_KEY.splitlines()[1])[:2]
        == b"Ed"
    )
    assert not hashlib.sha256(OTHER_PEM_KEY.encode()).hexdigest().startswith(key_name("apk"))
