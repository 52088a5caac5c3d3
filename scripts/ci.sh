# Sourced by .ci/run and .ci/nightly: what both set, install and build with.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PYTEST_XDIST_AUTO_NUM_WORKERS=$(($(nproc) + 1))  # as some tests wait
export INTACT_TIERS=all INTACT_REQUIRE_TIERS=all  # compile all tiers; fail if one that this processor has is missing
unset PYTHONDONTWRITEBYTECODE                     # processes of tests would compile what they import again, each
tools=${INTACT_TOOLS:-../shared/tools}
build_tools=(cmake ninja nanobind scikit-build-core)

# debian COMMAND[=PACKAGE]...: installs the packages of Debian whose commands are missing; a package has the command's name unless it is given.
debian() {
    local each missing=()
    for each in "$@"; do
        command -v "${each%%=*}" >/dev/null || missing+=("${each#*=}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null || return
    fi
    echo "installed: ${missing[*]:-nothing was missing}"
}

# requirements EXTRA...: what these extras require, each requirement on a line, those of our own extras that they name among them. `plain` is what
# every installation requires.
requirements() {
    python3 - "$@" <<'END'
import re, sys, tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = {"plain": project["dependencies"], **project["optional-dependencies"]}
left, done = sys.argv[1:], set()
while left:
    if (name := left.pop()) not in done:
        done.add(name)
        for requirement in extras[name]:
            own = re.fullmatch(r"intact-llm\[(.*)\]", requirement)
            left += own[1].split(",") if own else []
            print(end="" if own else requirement + "\n")
END
}

# readme NAME: a command of README.md as it stands there, the block behind <!-- command: NAME -->.
readme() {
    awk -v mark="<!-- command: $1 -->" '$0 == mark { found = 1; next } found && /^```/ { if (open) exit; open = 1; next } found && open' README.md
}

# models NAME...: fetches real models, or says that their tests are skipped.
models() {
    if [ -e "$tools/get_models.py" ]; then
        python3 "$tools/get_models.py" "$@"
    else
        echo "no $tools/get_models.py: tests that need real models are skipped"
    fi
}
