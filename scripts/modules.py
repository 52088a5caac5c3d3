#!/usr/bin/env python3
"""Cross-build the Python module for macOS and Windows, check the objects, and write wheels that nobody has run.

    scripts/modules.py [--wheel FILE] [--out dist/untested] [--build-type Debug] [SYSTEM...]     (default: all)

The compiler is zig's clang, as for the wheels, and the module uses the stable ABI. Of Python it needs the headers,
which are those of a Python 3.12 or later on this machine with a `pyconfig.h` for the other system, and for Windows an
import library of the stable ABI. Each object is then read (`scripts/objects.py`): its format and machine, the
libraries that it loads, the functions of Python that it calls, and what it exports must be as expected.

FILE is the Linux wheel with the stable ABI: the other files come from there. The version of what is written ends in
`+untested`. Package indexes refuse such versions, so that it cannot be published by mistake.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from objects import Rules, problems
from targets import configure_and_build
from wheels import ROOT, STABLE, compiler, interpreters, own_tools, tools

WORK = ROOT / "build" / "modules"
MARK = "untested"
HEADER = """\
/* Sizes that the headers of the stable ABI ask for on {system}; scripts/modules.py wrote this. */
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG {long}
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_WCHAR_T {wchar}
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define HAVE_STDINT_H 1
#define HAVE_STDDEF_H 1
#define HAVE_SYS_TYPES_H 1
#define WITH_DOC_STRINGS 1
{more}"""
LINKER = """\
#!/bin/sh
for word; do
    shift
    case $word in
        -bundle) set -- "$@" -shared -undefined dynamic_lookup ;;
        -Wl,@* | -Wl,-headerpad_max_install_names) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec {program} "$@"
"""
WINDOWS = """\
#define MS_WINDOWS 1
#define MS_WIN32 1
#define MS_WIN64 1
#define NT_THREADS 1
#define Py_ENABLE_SHARED 1
#define HAVE_DECLSPEC_DLL 1
"""


class Module(NamedTuple):
    """A system for which the Python module is built.

    Attributes
    ----------
    target : str
        The target's name in `scripts/targets.py`.
    header : str
        Contents of `pyconfig.h`.
    file : str
        Name of the module's file.
    rules : Rules
        What the object must be.
    """

    target: str
    header: str
    file: str
    rules: Rules


MODULES = {
    "macosx_11_0_arm64": Module(
        "aarch64-macos.11.0",
        HEADER.format(system="macOS", long=8, wchar=4, more="#define HAVE_UNISTD_H 1\n"),
        "_native.abi3.so",
        Rules("Mach-O library", "arm64", (r"/usr/lib/libSystem\.B\.dylib",), "_PyInit__native", "_"),
    ),
    "win_amd64": Module(
        "x86_64-windows-gnu",
        HEADER.format(system="Windows", long=4, wchar=2, more=WINDOWS),
        "_native.pyd",
        Rules(
            "PE DLL",
            "x86-64",
            (r"python3\.dll", r"kernel32\.dll", r"api-ms-win-crt-[a-z]+-l1-1-0\.dll"),
            "PyInit__native",
        ),
    ),
}
"""Systems by the platform tag of their wheels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(MODULES))
    parser.add_argument(
        "--wheel", type=Path, help="the Linux wheel with the stable ABI; without one, only build and check"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / MARK, help="output folder (default: dist/untested)")
    parser.add_argument("--build-type", default="Release", choices=["Debug", "Release"], help="default: Release")
    parser.add_argument("--tiers", default="all", help="list of tiers, separated by semicolons (default: all)")
    options = parser.parse_args()
    if unknown := set(options.systems) - set(MODULES):
        parser.error(f"unknown system {', '.join(sorted(unknown))}: expected one of {', '.join(MODULES)}")
    if options.wheel is not None and not re.search(r"-abi3-.*linux", options.wheel.name):
        parser.error(f"{options.wheel.name} is not a Linux wheel with the stable ABI (-abi3-)")
    if options.wheel is not None and (options.build_type, options.tiers) != ("Release", "all"):
        parser.error("--wheel needs --build-type Release and all tiers")
    reader = object_reader()
    for system in options.systems or MODULES:
        settings = {"CMAKE_BUILD_TYPE": options.build_type, "INTACT_TIERS": options.tiers}
        module = build(system, reader, settings)
        print(f"modules: {system}: {check(system, module, reader)}", flush=True)
        if options.wheel is not None:
            print(f"modules: wrote {repack(options.wheel, system, module, options.out)}, which is untested", flush=True)


def object_reader() -> Path:
    """Return the Python of an environment that reads objects and knows the stable ABI, made once."""
    folder = WORK / "reader"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "abi3info", "lief>=0.16"], check=True)
        (folder / "ready").touch()
    return folder / "bin" / "python"


def build(system: str, reader: Path, settings: Mapping[str, str]) -> Path:
    """Compile and link the module of a system, with the build type and the tiers of `settings`; return its file."""
    module, python = MODULES[system], stable_python()
    folder, environment = WORK / system, tools(*python)
    include = headers(folder, python[0], module.header)
    settings = {
        **settings,
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": str(folder / "made"),
        "Python_EXECUTABLE": str(environment / "bin" / "python"),
        "Python_INCLUDE_DIR": str(include),
        "SKBUILD_SOABI": "",
        "SKBUILD_SOSABI": "" if module.file.endswith(".pyd") else "abi3",
    }
    if "macos" in module.target:
        settings["CMAKE_CXX_COMPILER"] = str(library_linker(folder, compiler(module.target)["CXX_COMPILER"]))
    if module.file.endswith(".pyd"):
        library = import_library(folder, module.target, reader)
        named = shutil.copyfile(library, library.with_name(f"libpython{python[1][0]}{python[1][1]}.a"))
        settings |= {
            "Python_LIBRARY": str(named),
            "Python_SABI_LIBRARY": str(library),
        }  # named by version for CMake
    configure_and_build(module.target, folder / "build", settings)
    return folder / "made" / module.file


def stable_python() -> tuple[str, tuple[int, ...]]:
    """Return the command and version of the oldest Python here that has the stable ABI."""
    found = {tuple(map(int, version.split("."))): command for version, command in interpreters().items()}
    able = sorted(version for version in found if version >= STABLE)
    if not able:
        raise SystemExit("modules: a Python 3.12 or later is needed here, whose headers have the stable ABI")
    return found[able[0]], able[0]


def headers(folder: Path, python: str, config: str) -> Path:
    """Write a copy of a Python's headers for another system; return their folder."""
    words = [python, "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
    source = Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())
    target = folder / "include" / source.name
    shutil.copytree(source, target, dirs_exist_ok=True)
    if (target / "pyconfig.h").read_text("utf-8") != config:
        (target / "pyconfig.h").write_text(config, "utf-8")
    return target


def library_linker(folder: Path, program: Path) -> Path:
    """Write a script that calls a compiler for macOS, and links a library where CMake wants a bundle.

    zig links no bundles, and reads no list of undefined symbols; Python loads libraries in the same way.
    """
    script = folder / "c++"
    script.write_text(LINKER.format(program=shlex.quote(str(program))), "utf-8")
    script.chmod(0o755)
    return script


def import_library(folder: Path, target: str, reader: Path) -> Path:
    """Write the import library of Windows' python3.dll: everything in the stable ABI of 3.12."""
    names, library = stable_abi(reader), folder / "libpython3.a"
    lines = [f"  {name}{' DATA' if kind == 'data' else ''}" for name, kind in sorted(names.items())]
    definition = folder / "python3.def"
    definition.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *lines, ""]), "utf-8")
    zig = next(own_tools().glob("lib/python3*/site-packages/ziglang")) / "zig"
    command = [zig, "dlltool", "-m", "i386:x86-64", "-D", "python3.dll", "-d", definition, "-l", library]
    subprocess.run(command, check=True)
    return library


def stable_abi(reader: Path) -> dict[str, str]:
    """Return the names of the stable ABI of 3.12, each with its kind: function or data."""
    return _read(reader, "abi", f"{STABLE[0]}.{STABLE[1]}")


def check(system: str, module: Path, reader: Path) -> str:
    """Return what an object consists of; raise if it is not as expected."""
    facts = _read(reader, "object", str(module))
    if found := problems(facts, MODULES[system].rules, set(stable_abi(reader))):
        raise SystemExit("\n".join(f"modules: {module}: {one}" for one in found))
    return (
        f"{facts['format']} for {facts['machine']}, {module.stat().st_size:,} bytes, "
        f"exports {' '.join(facts['exports'])}, "
        f"loads {len(facts['libraries'])} libraries, calls {len(facts['python'])} names of Python's stable ABI; not run"
    )


def repack(wheel: Path, system: str, module: Path, out: Path) -> Path:
    """Write a wheel with another system's module, under a version that no index takes."""
    environment, folder = own_tools() / "bin" / "python", WORK / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([environment, "-m", "wheel", "unpack", "-d", folder, wheel], check=True, stdout=subprocess.DEVNULL)
    (root,) = folder.iterdir()
    (linux,) = root.glob("intact/_native*.so")
    linux.unlink()
    shutil.copyfile(module, root / "intact" / module.name)
    (info,) = root.glob("*.dist-info")
    version = wheel.name.split("-")[1]
    for name, pattern, text in (
        ("METADATA", r"^Version: .*$", f"Version: {version}+{MARK}"),
        ("WHEEL", r"^Tag: .*$", f"Tag: cp{STABLE[0]}{STABLE[1]}-abi3-{system}"),
    ):
        (info / name).write_text(re.sub(pattern, text, (info / name).read_text("utf-8"), count=1, flags=re.M), "utf-8")
    (info / "RECORD").unlink()
    info.rename(info.with_name(info.name.replace(version, f"{version}+{MARK}")))
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run([environment, "-m", "wheel", "pack", "-d", out, root], check=True, stdout=subprocess.DEVNULL)
    (made,) = out.glob(f"*+{MARK}-*-{system}.whl")
    return made


def _read(reader: Path, *words: str) -> dict[str, object]:
    """Return what scripts/objects.py prints."""
    command = [reader, ROOT / "scripts" / "objects.py", *words]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
