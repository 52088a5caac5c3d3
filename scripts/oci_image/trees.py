"""The folders that become layers: a small Debian, the packages that the server requires, intact, and the model."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from oci_image.settings import HOME, USER

ROOT = Path(__file__).resolve().parents[2]
RELEASE, VERSION, GLIBC = "bookworm", (3, 11), 36
"""Release of Debian, its Python, and the minor version of its C library."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Machines by their names in images."""
PACKAGES = (
    "base-files,base-passwd,bash,coreutils,dash,grep,libc-bin,libgomp1,libseccomp2,libstdc++6,mawk,python3,sed,tzdata"
)
"""Debian's packages, besides what they depend on; Testcontainers uses sh, awk and grep to see if the port is open."""
SITE = f"usr/local/lib/python{VERSION[0]}.{VERSION[1]}/dist-packages"
_UNUSED = ("bug", "gcc", "gdb", "info", "lintian", "locale", "man", "perl5")
"""Folders of /usr/share that are left out."""


def build_debian(tree: Path, architecture: str) -> None:
    """Extract Debian's packages, without running any program of theirs, so that any machine can build for another.

    Raises
    ------
    CalledProcessError
        If mmdebstrap fails; its messages were printed.
    """
    shutil.rmtree(tree, ignore_errors=True)
    hooks = "/usr/share/mmdebstrap/hooks/merged-usr"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}", f"--hook-dir={hooks}"]
    command += [f"--extract-hook={Path(__file__).with_name('record_packages.sh')}", f"--include={PACKAGES}"]
    subprocess.run([*command, RELEASE, tree], check=True)
    finish_debian(tree)
    library = "lib64/ld-linux-x86-64.so.2" if architecture == "amd64" else "lib/ld-linux-aarch64.so.1"
    if not (tree / "usr" / library).exists():
        raise SystemExit(f"image: {tree} has no {library}: it is not a Debian for {architecture}")
    _index_libraries(tree, architecture)


def finish_debian(tree: Path) -> None:
    """Leave out what a container does not need, and do what the packages' own scripts would have done."""
    for name in _UNUSED:
        shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
    for folder in (tree / "usr/share/doc").iterdir():
        for path in () if folder.is_symlink() else [*folder.iterdir()]:
            if path.name != "copyright":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in ("dev", "proc", "run", "sys", "tmp", "var/cache", "var/log", "var/lib/apt", "etc/apt", "boot", "media"):
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in ("dev", "proc", "run", "sys", "tmp"):
        (tree / name).mkdir()
    (tree / "tmp").chmod(0o1777)
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        (tree / name).unlink(missing_ok=True)
    users = tree / "usr/share/base-passwd"
    account = f"intact:x:{USER}:{USER}::{HOME}:/bin/sh\n"
    (tree / "etc/passwd").write_text((users / "passwd.master").read_text().replace(":*:", ":x:") + account)
    (tree / "etc/group").write_text((users / "group.master").read_text().replace(":*:", ":x:") + f"intact:x:{USER}:\n")
    for link, target in {"usr/bin/awk": "mawk", "etc/localtime": "/usr/share/zoneinfo/Etc/UTC"}.items():
        (tree / link).unlink(missing_ok=True)
        (tree / link).symlink_to(target)


def _index_libraries(tree: Path, architecture: str) -> None:
    """Write the linker's cache, with the tree's own ldconfig; `ctypes` finds libraries by it."""
    machine = MACHINES[architecture]
    emulator = [] if machine == platform.machine() else [f"qemu-{machine}-static"]
    subprocess.run([*emulator, tree / "usr/sbin/ldconfig", "-r", tree], check=True)
    shutil.rmtree(tree / "var/cache", ignore_errors=True)


def build_packages(trees: tuple[Path, Path], wheel: Path, architecture: str, constraints: Path) -> None:
    """Install a wheel with all that the server requires, for another machine if need be.

    Parameters
    ----------
    trees : (Path, Path)
        Folders to create: that of the requirements, and that of the wheel itself.
    """
    others, own = trees
    for tree in trees:
        shutil.rmtree(tree, ignore_errors=True)
    tags = ["2014", *(f"_2_{minor}" for minor in range(17, GLIBC + 1))]
    version = ".".join(map(str, VERSION))
    command = [f"python{version}", "-m", "pip", "install", "-q", "--no-compile", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={version}", f"--target={others / SITE}", "-c", constraints]
    platforms = ["linux", *(f"manylinux{tag}" for tag in tags)]
    command += [f"--platform={name}_{MACHINES[architecture]}" for name in platforms]
    command += [
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-warn-conflicts",
        f"{wheel}[serve]",
        "pip",
    ]
    subprocess.run(command, check=True)
    shutil.rmtree(others / SITE / "bin", ignore_errors=True)  # scripts for the interpreter that installed them
    for tests in [*(others / SITE / "numpy").glob("**/tests")]:
        shutil.rmtree(tests)
    (own / SITE).mkdir(parents=True)
    for path in [others / SITE / "intact", *(others / SITE).glob("intact_llm-*")]:
        path.rename(own / SITE / path.name)
    for site in (others / SITE, own / SITE):
        forget_origin(site)


def forget_origin(site: Path) -> None:
    """Remove the records of where a package was installed from, which differ from build to build."""
    for record in site.glob("*.dist-info/RECORD"):
        (record.parent / "direct_url.json").unlink(missing_ok=True)
        with record.open(newline="") as file:
            rows = [row for row in csv.reader(file) if not row or (site / row[0]).exists()]
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(sorted(rows))


def add_programs(tree: Path) -> None:
    """Add the commands `intact` and `ollama`, and the licence."""
    (tree / "usr/bin").mkdir(parents=True, exist_ok=True)
    (tree / "usr/bin/intact").write_text("#!/usr/bin/python3\nfrom intact.cli import main\n\nmain()\n")
    shutil.copyfile(ROOT / "image/ollama.py", tree / "usr/bin/ollama")
    for name in ("intact", "ollama"):
        (tree / "usr/bin" / name).chmod(0o755)
    _write_text(tree / "usr/share/doc/intact/copyright", (ROOT / "LICENSE").read_text("utf-8"))


def build_model(tree: Path, model: Path, name: str, licence: str) -> None:
    """Create the store of models, with one model and a note on its licence."""
    store = tree / HOME.lstrip("/") / "models"
    shutil.rmtree(tree, ignore_errors=True)
    store.mkdir(parents=True)
    shutil.copyfile(model, store / model.name)
    text = f"{name} ({model.name})\nLicence: {licence}; its text is in /usr/share/common-licenses/{licence}\n"
    _write_text(tree / "usr/share/doc" / name / "copyright", text)


def compile_python(tree: Path, folders: Iterable[str]) -> None:
    """Compile Python files, so that programs start fast; the results depend on the sources only, not on their times."""
    version = ".".join(map(str, VERSION))
    for folder in folders:
        command = [f"python{version}", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"]
        command += ["-s", str(tree), "-p", "/", str(tree / folder)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=sys.stderr)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
