#!/bin/sh
# Build an image from the project's directory: docker/build.sh cpu|gpu. `make images` calls it; it needs BuildKit.
#
# From the environment, all optional:
#   DOCKER                    the command (docker)
#   PYTHON_IMAGE, CUDA_IMAGE  other bases than the Dockerfile names; those in docker/images.lock are taken by their digest
#   TORCH_INDEX               address of an index whose torch is for processors alone (PyTorch has one of CPU wheels)
#   SOURCE                    address of the source code, for the image's label
#   BUILD_OPTIONS             more options of `docker build`
set -eu
cd "$(dirname "$0")/.."
target=${1:-}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' receipt_counter/__init__.py)
case $target in
    cpu) tag=receipt-counter:$version ;;
    gpu) tag=receipt-counter:$version-gpu ;;
    *) echo "error: no such image: '$target'; there are cpu and gpu" >&2 && exit 2 ;;
esac
revision=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)

. docker/bases.sh
scratch=$(mktemp -d) # pip's settings may hold a password: a build that is stopped leaves them no more than another
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
. docker/pip_settings.sh

set -- --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "SOURCE=${SOURCE:-}"
for name in $BASES; do
    image=$(base "$name")
    pinned=$(locked "$image")
    if [ -f "$LOCK" ] && [ -z "$pinned" ] && [ -z "$(printenv "$name")" ]; then
        echo "error: $LOCK does not have the Dockerfile's $image; 'make lock-images' writes it anew" >&2
        exit 1
    fi
    set -- "$@" --build-arg "$name=${pinned:-$image}"
done
[ "$target" = gpu ] || [ -n "${TORCH_INDEX:-}" ] || ls docker/wheels/torch-*.whl >/dev/null 2>&1 \
    || echo "note: no TORCH_INDEX and no torch in docker/wheels: the image gets a torch with CUDA, several GB more" >&2
[ -z "${TORCH_INDEX:-}" ] || set -- "$@" --build-arg "TORCH_INDEX=$TORCH_INDEX"

# shellcheck disable=SC2086  # several options
DOCKER_BUILDKIT=1 "${DOCKER:-docker}" build --progress plain --file docker/Dockerfile --target "$target" --tag "$tag" \
    --secret "id=pip.conf,src=$scratch/pip.conf" --secret "id=ca.pem,src=$scratch/ca.pem" "$@" ${BUILD_OPTIONS:-} .
echo "$tag"
