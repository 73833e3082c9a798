#!/bin/sh
# Make a base image where no registry can be reached: Debian 12 and its Python 3.11, from Debian's own packages.
# Needs root, debootstrap and a running engine. docker/local-base.sh NAME; then PYTHON_IMAGE=NAME make images TARGET=cpu
set -eu
name=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3-venv bookworm "$root" >"$root.log" 2>&1 \
    || { tail -n 20 "$root.log" >&2 && exit 1; }
rm -rf "$root.log" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
tar --create --directory "$root" --numeric-owner . | "${DOCKER:-docker}" import - "$name"
