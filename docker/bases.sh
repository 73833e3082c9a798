# Sourced by build.sh and lock.sh in the project's directory: the images that the Dockerfile's stages begin with.

BASES=$(sed -n 's/^ARG \([A-Z]*_IMAGE\)=.*/\1/p' docker/Dockerfile)
LOCK=docker/images.lock

base() { # base NAME: the image of an argument; the environment's before the Dockerfile's
    printenv "$1" | grep . || sed -n "s/^ARG $1=//p" docker/Dockerfile
}

locked() { # locked IMAGE: the image by its digest, if it is locked
    if [ -f "$LOCK" ]; then awk -F @ -v image="$1" '$1 == image { print; exit }' "$LOCK"; fi
}
