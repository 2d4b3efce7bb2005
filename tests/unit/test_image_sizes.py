"""Images that are too big: each way in which builders say so, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from asu.errors import ImageTooBig
from asu.worker.image_sizes import check, size_error
from tests.unit.test_builder_failures import text_of

CARAMBOLA = "openwrt-24.10.4-0123456789ab-ath79-generic-8dev_carambola2-squashfs-sysupgrade.bin"
ARCHER = "openwrt-24.10.4-tplink_archer-c7-v5-squashfs-sysupgrade.bin"
SEVERAL = "openwrt-24.10.4-0123456789ab-ath79-generic-tplink_archer-c7-v5-squashfs-"


def entry(image: str | None, filesystem: str | None = "squashfs", **sizes: int) -> dict[str, Any]:
    """Return what programs are told of one image."""
    return {
        "image": image,
        "filesystem": filesystem,
        "bytes": None,
        "limit": None,
        "excess": None,
        **sizes,
    }


SIZES: dict[str, list[dict[str, Any]]] = {
    "image-check-size": [entry(CARAMBOLA, bytes=25427972, limit=16384000, excess=9043972)],
    "image-check-size-alone": [entry(ARCHER, limit=15728640)],
    "image-mktplinkfw": [entry(None, None, excess=17501967)],
    "image-tplink-safeloader": [entry(ARCHER, limit=12842208)],
    "image-ext4": [entry(None, "ext4", excess=14252 * 4096)],
    "image-several": [
        entry(f"{SEVERAL}sysupgrade.bin", limit=12842208),
        entry(f"{SEVERAL}factory.bin", excess=17501967),
        entry(f"{SEVERAL}factory-us.bin", bytes=300, limit=200, excess=100),
    ],
}

WORDS = {
    "image-check-size": (
        f"{CARAMBOLA} has 25427972 bytes, 9043972 more than the 16384000 that fit; ask for fewer"
        " packages."
    ),
    "image-check-size-alone": f"{ARCHER} has more than the 15728640 bytes that fit; ask",
    "image-mktplinkfw": "an image has 17501967 bytes more than fit; ask",
    "image-tplink-safeloader": "has more than the 12842208 bytes that fit; ask",
    "image-ext4": (
        "the ext4 root file system has at least 58376192 bytes more than fit; ask for fewer"
        " packages, a larger `rootfs_size_mb`, or"
    ),
    "image-several": (
        f"{SEVERAL}factory.bin has 17501967 bytes more than fit; {SEVERAL}factory-us.bin has 300"
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_each_image_is_told_with_all_that_is_known(name: str) -> None:
    """Name, file system and sizes stand beside the sentence, null where the tool does not tell; no
    image stands there twice.
    """
    error = size_error("", text_of(name))

    assert error is not None
    assert error.body()["too_big"] == SIZES[name]
    assert WORDS[name] in error.detail


def test_the_colours_of_a_terminal_change_nothing() -> None:
    """check-size prints in colour where it can."""
    error = size_error("", text_of("image-check-size-colour"))

    assert error is not None
    assert (
        "-8dev_carambola2-squashfs-sysupgrade.bin has 25427972 bytes, 9043972 more" in error.detail
    )


def test_the_size_of_a_full_root_file_system_is_told_where_it_is_printed() -> None:
    """The limit of ext4 is its own size, which the tool prints on the other stream."""
    error = size_error(
        "Creating filesystem with parameters:\n    Size: 2097152\n    Block size: 4096\n",
        text_of("image-ext4"),
    )

    assert error is not None
    [told] = error.body()["too_big"]
    assert told["limit"] == 2097152


def test_an_upgrade_image_that_fits_is_enough() -> None:
    """That the image for a first installation does not fit is no failure of an upgrade."""
    check("", text_of("image-several"), {"x-squashfs-sysupgrade.bin", "profiles.json"})


def test_another_image_that_fits_is_not_enough() -> None:
    """Without the image to upgrade with, the build is no use."""
    with pytest.raises(ImageTooBig, match=r"sysupgrade\.bin"):
        check("", text_of("image-several"), {"x-squashfs-initramfs.bin", "profiles.json"})


def test_images_that_were_left_out_without_a_word_are_named() -> None:
    """A builder that ends well, makes nothing and says nothing has left out what did not fit."""
    with pytest.raises(ImageTooBig, match="was left out without a word") as raised:
        check(text_of("image-left-out"), "", {"sha256sums"})

    assert raised.value.body()["too_big"] == [
        entry(f"{SEVERAL}sysupgrade.bin"),
        entry(f"{SEVERAL}factory.bin"),
    ]


def test_an_image_that_is_missing_beside_others_means_nothing_by_itself() -> None:
    """A device without an image to upgrade with is not told that something is too big when nobody
    says so.
    """
    check(text_of("image-left-out"), "", {"x-squashfs-combined.img.gz", "profiles.json"})
