#!/usr/bin/env bash
# README's two commands as a new user meets them: in an empty root file system of this Debian release with Python, venv, git and certificates
# alone (no compiler, no bubblewrap, no model, no data), in a clone of HEAD with nothing beside it, as a user without rights.
#   scripts/empty_root.sh                both commands, in a new copy of the root
#   scripts/empty_root.sh --ci WHEEL     the steps of action.yml and the hooks for pre-commit on examples/ci, with a wheel; both must fail if an
#                                        answer changed. $PYTHON (default python3) has PyYAML
#   scripts/empty_root.sh PATH...        the tests on these paths alone; the last copy and what is installed there are kept
# Needs root's rights and debootstrap. The mirror is apt's, and the package index pip's, as this machine is configured.
#   INTACT_EMPTY_ROOT     where the roots are kept, by default build/empty-root
#   INTACT_EMPTY_NATIVE   for debugging: a compiled extension to use, instead of compiling one
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ci.sh  # readme
cache=${INTACT_EMPTY_ROOT:-$PWD/build/empty-root}
base=$cache/base root=$cache/root
home=/home/user clone=/home/user/intact
[ "$(id -u)" = 0 ] || { echo "empty_root: making a root file system needs root's rights" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "empty_root: debootstrap is missing: apt-get install debootstrap" >&2; exit 2; }

# Pip's settings on this machine, as variables.
pip_settings() {
    python3 -m pip config list 2>/dev/null | python3 -c '
import ast, sys
for line in sorted(sys.stdin, reverse=True):  # what files say comes before what the environment says, and is replaced by it
    key, _, value = line.strip().partition("=")
    print("PIP_" + key.rpartition(".")[2].upper().replace("-", "_") + "=" + " ".join(ast.literal_eval(value).split()))
'
}

make_base() {
    local release mirror
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }')
    rm -rf "$base" "$base.new"
    debootstrap --variant=minbase --include=python3,python3-venv,git,ca-certificates "$release" "$base.new" "$mirror" >"$cache/debootstrap.log" ||
        { tail "$cache/debootstrap.log" >&2; exit 1; }
    chroot "$base.new" apt-get update -qq
    chroot "$base.new" useradd --create-home user
    mv "$base.new" "$base"
}

# Runs a command in the root, apart from this machine's processes and files; the network is this machine's.
inside() {
    local variables=("HOME=$home" PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PIP_PROGRESS_BAR=off) line
    while IFS= read -r line; do variables+=("$line"); done < <(pip_settings; env | grep -iE '^(https?|no)_proxy=' || true)
    [ -z "${INTACT_EMPTY_NATIVE:-}" ] || variables+=(SKBUILD_WHEEL_CMAKE=false SKBUILD_WHEEL_PY_API=py3 "SKBUILD_SDIST_INCLUDE=src/intact/_native*.so")
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    unshare --mount --pid --ipc --uts --fork --kill-child bash -euo pipefail -c '
        root=$1 clone=$2 command=$3
        shift 3
        mount -t proc proc "$root/proc"
        mount -t sysfs -o ro sysfs "$root/sys"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
        hostname empty
        # what pip is configured with: certificates, constraints, folders of packages and indexes
        for path in $(printf "%s\n" "$@" | sed -n "s/^PIP_[A-Z_]*=//p"); do
            [[ $path = file://* ]] && path=$(dirname "${path#file://}")  # the packages of an index lie beside it
            [[ $path = /* && -e $path ]] || continue
            if [ -d "$path" ]; then
                mkdir -p "$root$path"
            elif [ ! -e "$root$path" ]; then
                mkdir -p "$(dirname "$root$path")"
                touch "$root$path"
            fi
            mount --bind -o ro "$path" "$root$path"
        done
        exec chroot --userspec=user:user "$root" env -i "$@" bash -euo pipefail -c "cd $clone && TIMEFORMAT=\"%R s, %U s + %S s of processor time\" && time { $command; }"
    ' empty_root "$root" "$clone" "$1" "${variables[@]}"
}

# What a repository does that has examples/ci as its contents, in an environment that has nothing but Python and git.
ci() {
    local wheel project=$home/project steps
    wheel=$(basename "$1")
    cp "$1" "$root$home/"
    cp -r examples/ci "$root$project"
    sed "s|INTACT_REPOSITORY|$clone|; s|INTACT_REVISION|$(git rev-parse HEAD)|" examples/ci/pre-commit-config.yaml >"$root$project/.pre-commit-config.yaml"
    chroot "$root" chown -R user:user "$home"
    for steps in action.sh changed.sh; do
        "${PYTHON:-python3}" scripts/action_steps.py "package=$home/$wheel[serve]" "lock=${steps/%sh/json}" >"$root$home/$steps"
    done
    inside "
        git config --global user.name n; git config --global user.email e@example.org; git config --global --add safe.directory '*'
        python3 -m venv ~/venv
        export PATH=~/venv/bin:\$PATH
        cd $project && git init -q && echo __pycache__/ >.gitignore && cp answers.json action.json && sed 's/The answer to/An answer to/' answers.json >changed.json
        echo '== action.yml'; bash ~/action.sh
        echo '== action.yml, an answer changed'; if bash ~/changed.sh; then echo 'empty_root: passed with a changed answer' >&2; exit 1; fi
        echo '== hooks'; pip install -q pre-commit; git add .; pre-commit run --all-files --verbose
        echo '== hooks, an answer changed'; cp changed.json answers.json
        if pre-commit run --all-files; then echo 'empty_root: hooks passed with a changed answer' >&2; exit 1; fi
        echo '== all steps did as they should'"
}

mkdir -p "$cache"
[ -d "$base" ] || make_base
if [ "${1:-}" = --ci ]; then
    [ -f "${2:-}" ] || { echo "empty_root: --ci needs a wheel that the root's Python can install, got ${2:-nothing}" >&2; exit 2; }
    rm -rf "$root"
    cp -a "$base" "$root"
    git clone -q --depth 1 "file://$PWD" "$root$clone"
    ci "$2"
    exit
fi
if [ $# -eq 0 ] || [ ! -d "$root" ]; then
    rm -rf "$root"
    cp -a "$base" "$root"
    git clone -q --depth 1 "file://$PWD" "$root$clone"
else
    git -c safe.directory='*' -C "$root$clone" fetch -q --depth 1 "file://$PWD" HEAD
    git -c safe.directory='*' -C "$root$clone" reset -q --hard FETCH_HEAD
fi
[ -z "${INTACT_EMPTY_NATIVE:-}" ] || cp "$INTACT_EMPTY_NATIVE" "$root$clone/src/intact/"
chroot "$root" chown -R user:user "$home"
if [ $# -eq 0 ]; then
    for name in run test; do
        printf '\n==== %s\n' "$(readme $name)"
        inside "$(readme $name)"
    done
else
    install=$(readme test)
    [ -e "$root$clone/.venv/bin/pytest" ] || inside "${install%&&*}"
    inside ".venv/bin/python -m pytest -q ${*@Q}"
fi
