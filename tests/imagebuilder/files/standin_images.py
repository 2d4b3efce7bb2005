"""Puts the images of a device together from its root file systems and a made-up kernel.

 An image `*.img.gz` is a disk (partition table, 16 MiB kernel partition, root file system from byte
17301504 on), or for `rootfs` the file system alone; every other one starts with the squashfs, so
`unsquashfs` opens it, and the kernel follows.
"""

# ruff: noqa: T201 - The genuine programs print, and so do these.

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import standin_trailer as trailer

KERNEL_BYTES = 256 * 1024  # Large enough to be seen in a size, small enough to cost nothing.
ERASE_BLOCK = 64 * 1024
SECTOR = 512
KERNEL_SECTOR, ROOTFS_SECTOR = 512, 33792  # Where the genuine x86 image has its partitions.
MEBIBYTE = 2**20
WITH_METADATA = {"sysupgrade", "combined", "combined-efi", "sdcard"}


@dataclass(frozen=True)
class Builder:
    """What is the same for all images of one run."""

    config: dict[str, Any]
    filesystems: list[str]
    linux_dir: Path
    bin_dir: Path
    json_dir: Path
    partsize: int
    key: bytes

    def build(self, profile: str, prefix: str) -> None:
        """Make all images of a profile, and a JSON file for each one that fits."""
        device = self.config["profiles"][profile]
        # Filler, no secret.
        kernel = random.Random(self.config["version_code"]).randbytes(KERNEL_BYTES)  # noqa: S311
        for image in device["images"]:
            filesystem = image.get("filesystem")
            if filesystem is not None and filesystem not in self.filesystems:
                continue
            name = f"{prefix}-{image['suffix']}"
            content = self._content(image, kernel)
            unsigned, signed = self._with_trailers(content, image["type"], device, profile)
            if self._fits(name, signed, image["type"], device):
                (self.bin_dir / name).write_bytes(signed)
                self._describe(profile, prefix, name, image, unsigned, signed)
            else:
                print(f"Skip JSON creation for non existing file {self.linux_dir / 'tmp' / name}")
        self._write_extras(prefix, kernel)

    def _content(self, image: dict[str, str], kernel: bytes) -> bytes:
        if "filesystem" not in image:
            return f"stand-in for {image['suffix']}\n".encode() + kernel
        root = self.linux_dir / f"root.{image['filesystem']}"
        if not image["suffix"].endswith(".gz"):
            content = root.read_bytes() + kernel
            return content + b"\xff" * (-len(content) % ERASE_BLOCK)
        rest = self._compressed_root(root)
        return (
            rest
            if image["type"] == "rootfs"
            else _gzip_member(self._disk_start(image["type"], kernel)) + rest
        )

    def _compressed_root(self, root: Path) -> bytes:
        """Return the root file system, filled up to its partition, as gzip members; made once and
        used by several images.
        """
        compressed = root.with_suffix(f"{root.suffix}.gz")
        if not compressed.exists() or compressed.stat().st_mtime < root.stat().st_mtime:
            filling = self.partsize * MEBIBYTE - root.stat().st_size
            zeros = _gzip_member(bytes(MEBIBYTE))
            rest = (
                _gzip_member(bytes(filling % MEBIBYTE)) + zeros * (filling // MEBIBYTE)
                if filling > 0
                else b""
            )
            compressed.write_bytes(_gzip_member(root.read_bytes()) + rest)
        return compressed.read_bytes()

    def _disk_start(self, kind: str, kernel: bytes) -> bytes:
        """Everything before the root partition: boot sector with its table, and the kernel."""
        entry = struct.Struct("<B3xB3xII")
        table = entry.pack(0x80, 0x83, KERNEL_SECTOR, 16 * MEBIBYTE // SECTOR)
        table += entry.pack(0, 0x83, ROOTFS_SECTOR, self.partsize * MEBIBYTE // SECTOR)
        boot = kind.encode().ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa"
        return (boot.ljust(KERNEL_SECTOR * SECTOR, b"\0") + kernel).ljust(
            ROOTFS_SECTOR * SECTOR, b"\0"
        )

    def _with_trailers(
        self, content: bytes, kind: str, device: dict[str, Any], profile: str
    ) -> tuple[bytes, bytes]:
        """Return the image without and with the signature; without a key both are the same."""
        if kind not in WITH_METADATA:
            return content, content
        if device["supported_devices"]:
            version = {
                "dist": "OpenWrt",
                "version": self.config["version_number"],
                "revision": self.config["version_code"],
            }
            words = {**version, "target": self.config["target"], "board": profile}
            content = trailer.append_block(
                content, trailer.METADATA, trailer.metadata(device["supported_devices"], words)
            )
        if not self.key:
            return content, content
        return content, trailer.append_block(
            content, trailer.SIGNATURE, trailer.signature(content, self.key)
        )

    def _fits(self, name: str, content: bytes, kind: str, device: dict[str, Any]) -> bool:
        """Say what the genuine tools of such a device say when an image is larger than its
        flash.
        """
        limit = device.get("limit")
        if not limit or len(content) <= limit["bytes"]:
            return True
        path, over = self.linux_dir / "tmp" / name, len(content) - limit["bytes"]
        if limit["tool"] == "check-size" and kind != "sysupgrade":
            return True
        if limit["tool"] == "tplink-safeloader":
            sys.stderr.write(
                f"file-system partition too big (more than {limit['partition']} bytes): Success\n"
            )
            if kind == "sysupgrade":
                sys.stderr.write(
                    f"stat: cannot statx '{path}': No such file or directory\nbash: line 1: [:"
                    f" {limit['bytes']}: unary operator expected\n"
                )
                sys.stderr.write(
                    f"    WARNING: Image file {path} is too big:  > {limit['bytes']}\nFailed to"
                    " open firmware file\n"
                )
                sys.stderr.write(f"sha256sum: {path}: No such file or directory\n")
            sys.stderr.write(f"cp: cannot stat '{path}': No such file or directory\n")
        elif limit["tool"] == "mktplinkfw":
            sys.stderr.write(f"[mktplinkfw] *** error: images are too big by {over} bytes\n")
            sys.stderr.write(f"cp: cannot stat '{path}': No such file or directory\n")
        else:
            sys.stderr.write(
                f"    WARNING: Image file {path} is too big: {len(content)} > {limit['bytes']}\n"
            )
        return False

    def _describe(
        self,
        profile: str,
        prefix: str,
        name: str,
        image: dict[str, str],
        unsigned: bytes,
        signed: bytes,
    ) -> None:
        device = self.config["profiles"][profile]
        entry: dict[str, Any] = {"name": name, "type": image["type"]}
        entry |= {
            "sha256": hashlib.sha256(signed).hexdigest(),
            "sha256_unsigned": hashlib.sha256(unsigned).hexdigest(),
        }
        if "filesystem" in image:
            entry["filesystem"] = image["filesystem"]
        if self.config["tells_size"]:
            entry["size"] = len(signed)
        described = {
            "device_packages": device["device_packages"],
            "image_prefix": prefix,
            "images": [entry],
        }
        described |= {"supported_devices": device["supported_devices"], "titles": device["titles"]}
        if self.config["tells_size"] and device.get("limit"):
            described["file_size_limits"] = {"image": device["limit"]["bytes"]}
        overview = {**self.config["overview"], "profiles": {profile: described}}
        (self.json_dir / f"{name}.json").write_text(json.dumps(overview, sort_keys=True))

    def _write_extras(self, prefix: str, kernel: bytes) -> None:
        """Files that profiles.json does not list."""
        if self.config["has_kernel_file"]:
            (self.bin_dir / f"{prefix}-kernel.bin").write_bytes(kernel)
            archive = self.linux_dir / "root.targz"
            if archive.exists():  # Only made while .config has CONFIG_TARGET_ROOTFS_TARGZ.
                (self.bin_dir / f"{prefix}-rootfs.tar.gz").write_bytes(archive.read_bytes())
        lines = (self.bin_dir / f"{prefix}.manifest").read_text().splitlines()
        components = [
            {"type": "library", "name": name, "version": version}
            for name, version in (line.split(" - ", 1) for line in lines)
        ]
        bom = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.4",
            "version": 1,
            "components": components,
        }
        (self.bin_dir / f"{prefix}.bom.cdx.json").write_text(json.dumps(bom))


def _gzip_member(data: bytes) -> bytes:
    """One gzip member without a time; members may be put one after the other."""
    engine = zlib.compressobj(1, zlib.DEFLATED, 31)
    return engine.compress(data) + engine.flush()


def main() -> int:
    """Make the images of all profiles that were asked for."""
    parser = argparse.ArgumentParser()
    for name in ("config", "linux-dir", "bin-dir", "json-dir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--profiles", type=str.split, required=True)
    parser.add_argument("--filesystems", type=str.split, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--partsize", type=int, required=True)
    parser.add_argument("--sign-with", type=Path, default=Path(os.devnull))
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text())
    key = arguments.sign_with.read_bytes()
    builder = Builder(
        config,
        arguments.filesystems,
        arguments.linux_dir.absolute(),
        arguments.bin_dir,
        arguments.json_dir,
        arguments.partsize,
        key,
    )
    for profile in arguments.profiles:
        builder.build(profile, f"{arguments.prefix}-{profile}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
