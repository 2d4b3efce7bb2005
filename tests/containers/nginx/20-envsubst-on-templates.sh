#!/bin/sh
# As the official image does: each template becomes a configuration, with those variables replaced that are in the environment.
set -e
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d /etc/nginx/templates ] || exit 0
[ -w "$output" ] || {
	echo "20-envsubst-on-templates.sh: $output is not writable" >&2
	exit 0
}
names=$(awk 'BEGIN { for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/) printf "${%s} ", name }')
find -L /etc/nginx/templates -type f -name '*.template' | while read -r template; do
	envsubst "$names" <"$template" >"$output/$(basename "$template" .template)"
done
