"""A stand-in for downloads.openwrt.org: a generator of a static tree and a small server for it
(README.md).
"""
