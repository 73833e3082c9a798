#!/bin/sh
# Make a base image where no registry can be reached: Debian 12 and its Python 3.11, from Debian's own packages.
# Needs root, debootstrap and a running engine. docker/local-base.sh NAME; then PYTHON_IMAGE=NAME make images TARGET=cpu
set -eu
name=${1:?name the image to make, such as receipt-counter-base:bookworm}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
root=$scratch/root
debootstrap --variant=minbase --include=ca-certificates,python3-venv bookworm "$root" >"$scratch/log" 2>&1 \
    || { tail -n 20 "$scratch/log" >&2 && exit 1; }
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
tar --create --directory "$root" --numeric-owner . | "${DOCKER:-docker}" import - "$name"
