#!/usr/bin/env bash
# An aarch64 Python of a Debian release, with its headers, that runs here under qemu's user mode: what scripts/wheels.py --emulated takes.
#   scripts/emulated_python.sh [RELEASE [FOLDER]]     default: trixie (Python 3.13) in ~/.cache/intact-arm64-RELEASE
# Needs mmdebstrap and qemu-user-static. The mirror is apt's, as this machine is configured. Nothing is run while it is made, so that no rights
# of root are needed: packages are unpacked, not configured. FOLDER/python runs it.
set -euo pipefail
release=${1:-trixie}
folder=$(realpath -m "${2:-$HOME/.cache/intact-arm64-$release}")
for program in mmdebstrap qemu-aarch64-static; do
    command -v "$program" >/dev/null || { echo "emulated_python: $program is missing" >&2; exit 2; }
done
[ -x "$folder/python" ] && "$folder/python" -c 'import ssl' && exit 0
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 ~ /^[a-z]+$/ && $3 == "main" { print $1; exit }')
rm -rf "$folder" "$folder.tar"
mkdir -p "$folder"
mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3,libpython3-dev "$release" "$folder.tar" "$mirror"
tar -xf "$folder.tar" -C "$folder" --exclude='./dev/*' --no-same-owner
rm "$folder.tar"
version=$(cd "$folder/usr/include" && ls -d python3.*)
cat >"$folder/python" <<RUN
#!/usr/bin/env bash
QEMU_LD_PREFIX="$folder" PYTHONPATH="$folder/site\${PYTHONPATH:+:\$PYTHONPATH}" exec qemu-aarch64-static "$folder/usr/bin/$version" "\$@"
RUN
chmod +x "$folder/python"
[ -e "$folder/lib" ] || ln -s usr/lib "$folder/lib"
mkdir -p "$folder/site"
"$folder/python" -c 'import platform, ssl; print("emulated_python:", platform.machine(), "Python", platform.python_version())'
