#!/bin/sh
# Write docker/images.lock: the digests that the Dockerfile's base images have now; build.sh takes the bases by them.
# Where no registry can be asked it says so and changes nothing.
set -eu
cd "$(dirname "$0")"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
echo "# What the tags in the Dockerfile stood for; made by 'make lock-images'." >"$new"
sed -n 's/^ARG \([A-Z]*_IMAGE\)=\([^@]*\)$/\1 \2/p' Dockerfile | while read -r name image; do
    digest=$("${DOCKER:-docker}" buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}' </dev/null) || digest=
    if ! echo "$digest" | grep -Eqx 'sha256:[0-9a-f]{64}'; then
        echo "error: no registry told the digest of $image (docker buildx imagetools inspect); images.lock is unchanged" >&2
        exit 1
    fi
    echo "$name=$image@$digest" | tee -a "$new"
done
cp "$new" images.lock
