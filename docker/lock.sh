#!/bin/sh
# Write docker/images.lock: the digests that the bases' tags stand for now; build.sh takes the bases by them. An image of
# several platforms has one, that of its index. Needs an engine; if a registry tells no digest, nothing is changed.
#
# From the environment, all optional:
#   DOCKER                    the command (docker)
#   PYTHON_IMAGE, CUDA_IMAGE  other bases than the Dockerfile names, such as a mirror's
set -eu
cd "$(dirname "$0")/.."
. docker/bases.sh

# Pulled, not only asked for: every docker can, and what came was checked against the digest. `image inspect` would tell
# all digests that the image was ever pulled by.
lock="# What the bases' tags stood for; made by 'make lock-images', followed by docker/build.sh."
for name in $BASES; do
    image=$(base "$name")
    echo "pulling $image" >&2
    said=$("${DOCKER:-docker}" pull "$image" </dev/null) || said=
    digest=$(echo "$said" | sed -n 's/^Digest: \(sha256:[0-9a-f]\{64\}\)$/\1/p')
    if [ -z "$digest" ]; then
        echo "error: no registry told the digest of $name, $image (docker pull); $LOCK is unchanged" >&2
        exit 1
    fi
    lock="$lock
${image%@*}@$digest"
done

new=$LOCK.$$
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
echo "$lock" >"$new"
mv "$new" "$LOCK"
cat "$LOCK"
