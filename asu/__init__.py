"""Firmware images of OpenWrt on demand: API, queue, worker and store."""

__version__ = "0.1.0"
