#!/bin/sh
# As the official image does: before nginx starts, what lies in /docker-entrypoint.d is run, or read where it ends in .envsh, in the
# order of the names; what may not be executed is passed over.
set -e

if [ "$1" = nginx ]; then
	for script in /docker-entrypoint.d/*; do
		[ -x "$script" ] || continue
		case "$script" in
		*.envsh) . "$script" ;;
		*.sh) "$script" ;;
		esac
	done
fi
exec "$@"
