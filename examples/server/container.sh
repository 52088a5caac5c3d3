#!/usr/bin/env bash
# Makes a container of the server from a wheel and a Debian root, starts it with a model, and asks it a question.
#   examples/server/container.sh WHEEL MODEL [FOLDER]     FOLDER: where root.tar and the rest are made (default build/container)
#
# mmdebstrap makes the root of Debian 12, once. python3.11 (Debian 12's version, of any origin) fetches what the wheel
# requires, so that the build itself needs no network. buildah builds the image and podman runs it. Where either is
# missing or refuses, its message is printed, and bubblewrap does and runs the same in the same root, though no image
# comes of it. INTACT_CONTAINER=bubblewrap tries nothing else. $INTACT_PORT (default 8017) is the port here.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }
wheel=$(realpath "$1") model=$(realpath "$2") here=$(cd "$(dirname "$0")" && pwd)
folder=$(realpath -m "${3:-build/container}") port=${INTACT_PORT:-8017}
mkdir -p "$folder"
cd "$folder"
if [ ! -e root.tar ]; then
    mmdebstrap --variant=minbase --include=python3,python3-venv bookworm root.part.tar && mv root.part.tar root.tar
fi
rm -rf wheels && mkdir wheels
cp "$here/Containerfile" "$here/install.sh" .
python3.11 -m pip download -q --only-binary=:all: --dest wheels "$wheel[serve]"

ask() {  # waits until the server is ready, then prints its answer
    python3 - "$port" <<'END'
import json, sys, time, urllib.request
server = f"http://127.0.0.1:{sys.argv[1]}"
for attempt in range(240):
    try:
        urllib.request.urlopen(server + "/ready")
        break
    except OSError:
        time.sleep(0.5)
body = {"messages": [{"role": "user", "content": "Why is the sky blue?"}], "seed": 7, "max_tokens": 16, "temperature": 0.8}
(name,) = [model["id"] for model in json.load(urllib.request.urlopen(server + "/v1/models"))["data"]]
request = urllib.request.Request(
    server + "/v1/chat/completions", json.dumps({"model": name, **body}).encode(), {"content-type": "application/json"}
)
print("container: answered", json.dumps(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]))
END
}

serve=(serve model=/model.gguf --no-auth)
by_podman() {
    local name=intact-$$
    buildah build -q --format docker --isolation "${BUILDAH_ISOLATION:-chroot}" -t intact-server . || return
    podman run -d --rm --name "$name" --network host -v "$model:/model.gguf:ro" intact-server \
        "${serve[@]}" --host 127.0.0.1 --port "$port" || return
    local status=0
    ask || status=$?
    podman stop "$name" || true
    return "$status"
}
by_bubblewrap() {
    rm -rf root && mkdir root && tar -xf root.tar -C root
    mkdir -p root/wheels root/models root/state && : >root/install.sh
    : >root/model.gguf
    local inside=(bwrap --unshare-all --die-with-parent --clearenv --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin --proc /proc --dev /dev
        --tmpfs /tmp --tmpfs /run)
    "${inside[@]:0:1}" --bind root / "${inside[@]:1}" --ro-bind wheels /wheels --ro-bind install.sh /install.sh sh /install.sh
    bwrap --ro-bind root / "${inside[@]:1}" --share-net --ro-bind "$model" /model.gguf --tmpfs /models \
        --setenv INTACT_HOME /models --uid 65534 --gid 65534 --unshare-user \
        /opt/intact/bin/intact "${serve[@]}" --host 127.0.0.1 --port "$port" &
    local server=$! status=0
    ask || status=$?
    kill "$server"
    wait "$server" || true
    return "$status"
}

if [ "${INTACT_CONTAINER:-}" != bubblewrap ]; then
    if by_podman; then
        echo "container: built by buildah, run by podman"
        exit
    fi
    echo "container: buildah and podman do not work here (their message is above): bubblewrap is tried"
fi
by_bubblewrap
echo "container: built and run by bubblewrap"
