#!/bin/sh
# Download this target's builder and unpack it here. As the genuine one: UPSTREAM_URL replaces FILE_HOST, everything
# said goes to stderr, and the exit code of a failed download is wget's. Signatures are not checked, checksums are.
set -e

FILE_HOST="${UPSTREAM_URL:-${FILE_HOST:-https://downloads.openwrt.org}}"
VERSION_PATH="${VERSION_PATH:-snapshots}"
TARGET="${TARGET:-x86/64}"
DOWNLOAD_FILE="${DOWNLOAD_FILE:-imagebuilder-.*x86_64.tar.[xz|zst]}"

download() {
	echo "$FILE_HOST/$VERSION_PATH/targets/$TARGET/$1" >&2
	python3 - "$FILE_HOST/$VERSION_PATH/targets/$TARGET/$1" "$1" <<-'END'
		import sys, urllib.error, urllib.request
		try:
		    content = urllib.request.urlopen(sys.argv[1], timeout=20).read()
		except urllib.error.HTTPError as error:
		    sys.exit(print(f"ERROR {error.code}: {error.reason}.", file=sys.stderr) or 8)
		except OSError as error:
		    sys.exit(print(f"failed: {error}.", file=sys.stderr) or 4)
		open(sys.argv[2], "wb").write(content)
	END
}

download sha256sums
grep "$DOWNLOAD_FILE" sha256sums >sha256sums_min
archive=$(cut -d '*' -f 2 <sha256sums_min)
download "$archive"
sha256sum -c sha256sums_min >&2
python3 -c 'import sys, tarfile
tar = tarfile.open(sys.argv[1])
for member in tar:
    member.name = member.name.partition("/")[2]
    tar.extract(member, ".")' "$archive"
rm -f "$archive" sha256sums sha256sums_min
