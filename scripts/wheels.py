#!/usr/bin/env python3
"""Build the source distribution and the manylinux wheels, install each wheel, and keep those that a Python can run.

    scripts/wheels.py [--out dist] [--arch x86_64] [--arch aarch64] [--emulated FOLDER]...

The compiler is zig's clang, from the package index, which includes the C library of any version for either machine; its
C++ library is linked statically. There are two wheels per machine: one for Python 3.11, one with the stable ABI for
3.12 and later.

A wheel is written to the folder only after `intact selftest` has passed in a new environment on a Python that it
supports, and `auditwheel` has found nothing that its tag does not allow. Pythons are those that
`tests/support/pythons.py` finds. For the other machine, they are folders as `scripts/arm64.sh` creates them
(docs/dev/building.md): `python` runs an emulated Python, and `usr/include` has its headers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheels"
GLIBC = "2.17"
"""The oldest C library that the wheels support, as in manylinux2014."""
STABLE = (3, 12)
"""The first Python with the stable ABI; must match `wheel.py-api` in pyproject.toml."""
MACHINES = ("x86_64", "aarch64")

sys.path.insert(0, str(ROOT / "tests"))
from support.pythons import interpreters  # noqa: E402
from support.requirements import required  # noqa: E402


@dataclass(frozen=True)
class Python:
    """A Python on which a wheel is tested.

    Attributes
    ----------
    version : (int, int)
        Its version.
    command : str
        Command that runs it.
    folder : Path or None
        Folder of an emulated Python.
    """

    version: tuple[int, int]
    command: str
    folder: Path | None = None

    @property
    def stable(self) -> bool:
        """If true, it loads modules with the stable ABI."""
        return self.version >= STABLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="output folder (default: dist)")
    parser.add_argument("--arch", action="append", choices=MACHINES, help="machine to build for (default: this one)")
    parser.add_argument(
        "--emulated",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="emulated Python of another machine",
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    environment = own_tools()
    wasm = [environment / "bin" / "python", ROOT / "scripts" / "wasm.py"]
    subprocess.run(wasm, check=True, env=tool_path(environment))
    source = build_source(options.out)
    for machine in options.arch or [platform.machine()]:
        pythons = native() if machine == platform.machine() else emulated(options.emulated)
        for stable in (False, True):
            able = [python for python in pythons if python.stable is stable]
            if not able:
                print(f"wheels: not built: found no Python {'3.12 or later' if stable else '3.11'} for {machine}")
                continue
            wheel = build_wheel(source, machine, able[0])
            check_contents(wheel, stable)
            check_tag(wheel)
            for python in able:
                check_install(wheel, machine, python)
            print("wheels: wrote", shutil.move(wheel, options.out / wheel.name), flush=True)


def tool_path(environment: Path) -> dict[str, str]:
    """Return environment variables with an environment's tools first on the PATH."""
    return {**os.environ, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}


def native() -> list[Python]:
    """Return the Pythons of this machine, oldest first."""
    found = [Python(_numbers(version), command) for version, command in interpreters().items()]
    return sorted(found, key=lambda python: python.version)


def emulated(folders: list[Path]) -> list[Python]:
    """Return the emulated Pythons of the other machine, oldest first."""
    found = []
    for folder in folders:
        command = str((folder / "python").resolve(strict=True))
        text = _output([command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        found.append(Python(_numbers(text.strip()), command, folder.resolve()))
    return sorted(found, key=lambda python: python.version)


def build_source(out: Path) -> Path:
    """Write the source distribution; return a folder with its contents, from which the wheels are built."""
    environment = own_tools()
    archive = out / _backend(environment, ROOT, f"build_sdist({str(out.resolve())!r})", os.environ)
    shutil.rmtree(WORK / "source", ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(WORK / "source", filter="data")
    print("wheels: wrote", archive, flush=True)
    (folder,) = (WORK / "source").iterdir()
    return folder


def build_wheel(source: Path, machine: str, python: Python) -> Path:
    """Build the wheel of a machine for a Python, using an interpreter of the same version on this machine."""
    version = f"{python.version[0]}.{python.version[1]}"
    try:
        environment = tools(interpreters()[version], python.version)
    except KeyError:
        raise SystemExit(f"wheels: to build for {python.command}, a Python {version} is needed here") from None
    programs = compiler(f"{machine}-linux-gnu.{GLIBC}")
    arguments = [f"-DCMAKE_{tool}={path}" for tool, path in programs.items()]
    if python.folder is not None:
        include = python.folder / "usr" / "include"
        soabi = _output([python.command, "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))"]).strip()
        arguments += [
            "-DCMAKE_SYSTEM_NAME=Linux",
            f"-DCMAKE_SYSTEM_PROCESSOR={machine}",
            f"-DCMAKE_CXX_FLAGS=-I{include}",
            f"-DPython_INCLUDE_DIR={include / f'python{version}'}",
            f"-DSKBUILD_SOABI={soabi}",
        ]
    build = fresh(WORK / f"build-{machine}-{version}", source)
    settings = {
        "CXX": str(programs["CXX_COMPILER"]),
        "CMAKE_ARGS": shlex.join(arguments),
        "INTACT_TIERS": "all",
        "SKBUILD_BUILD_DIR": str(build),
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        "CCACHE_COMPILERCHECK": "content",  # its time is that of this run
        "PATH": tool_path(environment)["PATH"],
    }
    if shutil.which("ccache"):
        settings["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
    made = WORK / "made"
    wheel = made / _backend(environment, source, f"build_wheel({str(made)!r})", {**os.environ, **settings})
    tag = f"--platform-tag=manylinux_{GLIBC.replace('.', '_')}_{machine}"
    command = [str(environment / "bin" / "python"), "-m", "wheel", "tags", "--remove", tag, str(wheel)]
    return made / _output(command).strip()


def fresh(folder: Path, source: Path) -> Path:
    """Return a build folder, emptied if it was built from other sources.

    Ninja would not notice the change: the files of a source distribution have no useful times.
    """
    digest = hashlib.sha256()
    for path in [
        source / "CMakeLists.txt",
        *sorted((source / "cmake").iterdir()),
        *sorted(source.glob("native/**/*.*")),
    ]:
        digest.update(path.name.encode() + path.read_bytes())
    state = folder / "sources.sha256"
    if not state.exists() or state.read_text("utf-8") != digest.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        state.write_text(digest.hexdigest(), "utf-8")
    return folder


def tools(python: str, version: tuple[int, ...]) -> Path:
    """Create the build environment for a Python, once."""
    folder = WORK / f"tools-{version[0]}.{version[1]}"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    needed += ["auditwheel", "cmake>=3.26", "ninja", "wheel", "ziglang>=0.14"]
    ready = folder / "ready"
    if not ready.exists() or ready.read_text("utf-8") != str(needed):
        if not (folder / "bin" / "pip").exists():
            subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *needed], check=True)
        ready.write_text(str(needed), "utf-8")
    return folder


def own_tools() -> Path:
    """Return the build environment for the Python that runs this script."""
    return tools(sys.executable, tuple(sys.version_info[:2]))


def compiler(target: str) -> Mapping[str, Path]:
    """Write scripts that call zig for a target, given by zig's name for it; return them by CMake's name for each."""
    folder = WORK / f"zig-{target}"
    folder.mkdir(parents=True, exist_ok=True)
    # Without mcpu, zig would tune every file, including the portable tier, for the machine it runs on.
    commands = {"c++": f"c++ -target {target} -mcpu=baseline", "ar": "ar", "ranlib": "ranlib"}
    # One script for all Pythons, so that ccache recognises what another has compiled.
    zig = next(own_tools().glob("lib/python3*/site-packages/ziglang")) / "zig"
    for name, command in commands.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(zig))} {command} "$@"\n', "utf-8")
        (folder / name).chmod(0o755)
    return {"CXX_COMPILER": folder / "c++", "AR": folder / "ar", "RANLIB": folder / "ranlib"}


def check_contents(wheel: Path, stable: bool) -> None:
    """Raise unless the wheel holds one module, with the ABI in its name, and does not require a foreign `intact`.

    It must also hold the WebAssembly module, which `intact page` embeds in its page.
    """
    names = ZipFile(wheel).namelist()
    if "intact/js/dist/intact.wasm" not in names:
        raise SystemExit(f"wheels: {wheel.name} lacks intact/js/dist/intact.wasm")
    modules = [name for name in names if name.endswith(".so")]
    right = len(modules) == 1 and modules[0].endswith(".abi3.so") is stable
    if not right or ("-abi3-" in wheel.name) is not stable:
        raise SystemExit(
            f"wheels: {wheel.name} holds {modules}; expected the {'stable' if stable else 'version-specific'} ABI"
        )
    with ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        lines = Parser().parsestr(file.read(name).decode()).get_all("Requires-Dist") or []
    if any(one.name == "intact" for one in required(lines)):
        raise SystemExit(f"wheels: {wheel.name} requires `intact`, which is another project: {lines}")


def check_tag(wheel: Path) -> None:
    """Raise unless auditwheel confirms the wheel's tag."""
    auditwheel = own_tools() / "bin" / "auditwheel"
    report = " ".join(_output([str(auditwheel), "show", str(wheel)]).split())
    found = re.search(r'platform tag: "manylinux_(\d+)_(\d+)_(\w+)"', report)
    machine = wheel.stem.partition(f"manylinux_{GLIBC.replace('.', '_')}_")[2]
    if not found or _numbers(f"{found[1]}.{found[2]}") > _numbers(GLIBC) or found[3] != machine:
        raise SystemExit(f"wheels: {wheel.name}: {report}")
    print(f"wheels: {wheel.name} runs with glibc {found[1]}.{found[2]} or later, as auditwheel finds", flush=True)


def check_install(wheel: Path, machine: str, python: Python) -> None:
    """Install the wheel in an empty environment, and let it compare its digests."""
    folder = WORK / "try"
    shutil.rmtree(folder, ignore_errors=True)
    if python.folder is None:
        subprocess.run([python.command, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "--only-binary=:all:", wheel], check=True)
        command, environment = [str(folder / "bin" / "intact")], dict(os.environ)
    else:
        version = f"{python.version[0]}.{python.version[1]}"
        _, newest = _numbers(
            _output([python.command, "-c", "import os; print(os.confstr('CS_GNU_LIBC_VERSION')[6:])"]).strip()
        )
        tags = ["2014", *(f"_2_{minor}" for minor in range(17, newest + 1))]
        platforms = [f"--platform=manylinux{tag}_{machine}" for tag in tags]
        where = [f"--target={folder}", "--implementation=cp", f"--python-version={version}", *platforms]
        # An emulated Python has no pip, so this machine's pip selects packages for the other machine.
        pip = [interpreters()[version], "-m", "pip", "install", "-q", "--only-binary=:all:"]
        subprocess.run([*pip, *where, wheel], check=True)
        command, environment = [python.command, "-m", "intact.cli"], {**os.environ, "PYTHONPATH": str(folder)}
    environment["INTACT_HOME"] = str(folder / "home")
    facts = json.loads(_output([*command, "selftest", "--json"], cwd=folder, env=environment))
    if facts["as_documented"] is not True:
        raise SystemExit(f"wheels: {wheel.name} computes different digests: {facts}")
    print(f"wheels: {wheel.name} passes its self-test on Python {'.'.join(map(str, python.version))}", flush=True)


def _backend(environment: Path, folder: Path, call: str, settings: Mapping[str, str]) -> str:
    """Call the build backend in a folder; return the name of the file that it wrote."""
    code = f"import sys; sys.path.insert(0, 'build_backend'); import intact_build; name = intact_build.{call}"
    code += f"; open({str(WORK / 'name')!r}, 'w').write(name)"
    subprocess.run([environment / "bin" / "python", "-c", code], cwd=folder, env=dict(settings), check=True)
    return (WORK / "name").read_text("utf-8")


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


def _output(command: list[str], **options: object) -> str:
    return str(subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
