#!/bin/sh
# Keeps the description of each package that is extracted, where scanners of images look for it. mmdebstrap runs this with the root's path.
set -eu
mkdir -p "$1/var/lib/dpkg/status.d"
for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$deb" >"$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"
done
