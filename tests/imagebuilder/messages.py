"""What opkg of 24.10 and apk of 25.12 say about selections of the tree's test packages for x86/64
that cannot work.
"""

TARGET_DIR = "/builder/build_dir/target-x86_64_musl/root-x86"
CLASH_OWNER = "\tBut that file is already provided by package  * test-clash-a"
OPKG_ERRORS = {
    "no-such-pkg tmux also-missing": [
        "opkg_install_cmd: Cannot install package no-such-pkg.",
        "opkg_install_cmd: Cannot install package also-missing.",
    ],
    "test-conflict-b test-conflict-a": [
        "check_conflicts_for: The following packages conflict with test-conflict-a:",
        "check_conflicts_for: \ttest-conflict-b * ",
        "opkg_install_cmd: Cannot install package test-conflict-a.",
    ],
    "test-clash-a test-clash-b": [
        (
            "check_data_file_clashes: Package test-clash-b wants to install file"
            f" {TARGET_DIR}/usr/bin/test-clash\n{CLASH_OWNER}"
        ),
        "opkg_install_cmd: Cannot install package test-clash-b.",
    ],
    "test-missing-dep": [
        "pkg_hash_check_unresolved: cannot find dependency no-such-library for test-missing-dep",
        (
            "pkg_hash_fetch_best_installation_candidate: Packages for test-missing-dep found, but"
            " incompatible with the architectures configured"
        ),
        "opkg_install_cmd: Cannot install package test-missing-dep.",
    ],
    "test-version-dep": [
        "pkg_hash_check_unresolved: cannot find dependency curl (>= 99.0) for test-version-dep"
    ],
    "test-404": [
        "opkg_install_pkg: Failed to download test-404. Perhaps you need to run 'opkg update'?"
    ],
    "test-badsum": [
        (
            "opkg_install_pkg: Checksum or size mismatch for package test-badsum. Either the opkg"
            " or the package index are corrupt. Try 'opkg update'."
        ),
        "opkg_install_cmd: Cannot install package test-badsum.",
    ],
}
APK_ERRORS = {
    "no-such-pkg tmux": [
        "ERROR: unable to select packages:",
        "  no-such-pkg (no such package):",
        "    required by: world[no-such-pkg]",
    ],
    "test-conflict-a test-conflict-b": [
        "  test-conflict-b-1.0-r1:",
        "    breaks: test-conflict-a-1.0-r1[!test-conflict-b]",
        "    satisfies: world[test-conflict-b]",
    ],
    "nftables-json nftables-nojson": [
        "  nftables-json-1.1.6-r1:",
        "    conflicts: nftables-nojson-1.1.6-r1[nftables=1.1.6-r1]",
    ],
    "test-clash-a test-clash-b": [
        (
            "ERROR: test-clash-b-1.0-r1: trying to overwrite usr/bin/test-clash owned by"
            " test-clash-a-1.0-r1."
        )
    ],
    "test-missing-dep": [
        "  no-such-library (no such package):",
        "    required by: test-missing-dep-1.0-r1[no-such-library]",
    ],
    "test-version-dep": ["    breaks: test-version-dep-1.0-r1[curl>=99.0]"],
    "test-404": ["ERROR: test-404-1.0-r1: package mentioned in index not found (try 'apk update')"],
    "test-badsum": ["ERROR: test-badsum-1.0-r1: ADB block error"],
}
