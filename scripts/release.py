#!/usr/bin/env python3
"""Build everything that a release consists of, and list it with sizes. Nothing is published.

    scripts/release.py [--out dist/release] [--only PART...] [--tag vVERSION] [--emulated FOLDER...]
                       [--resume] [--page FILE]

Parts, in this order:

- ``wheels``: the source distribution and this machine's wheels, tested (scripts/wheels.py); with ``--emulated``, those
  of the other machine too
- ``modules``: wheels for macOS and Windows that nobody has run, in the folder `untested` (scripts/modules.py)
- ``image``: container images of the server with the default model inside (scripts/image.py)
- ``npm``: the package for JavaScript, with the WebAssembly module
- ``docs``: the documentation as a site
- ``sbom``: the packages that an installation with the server consists of, as CycloneDX JSON
- ``sums``: SHA256SUMS of all files, and an in-toto statement of their origin (SLSA provenance, unsigned)

A part whose tools are missing is left out, and listed with the reason, unless it was named. Parts that another call has
built in the same folder stay, and with ``--resume`` they are not built again. `.github/workflows/release.yml` runs this
on each machine for a tag, signs the statement, and publishes the files. ``--page`` writes the list into a page of
documentation (docs/dev/releases.md).
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from release_files import (
    MARKS,
    PROVENANCE,
    SUMS,
    UNTESTED,
    artefacts,
    listing,
    pack,
    provenance,
    sha256,
    table,
    write_page,
)
from wheels import MACHINES, ROOT, WORK, own_tools, tool_path

MODEL = Path.home() / ".cache/intact/models/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The default model, where `intact pull` writes it."""
ARCHITECTURES = dict(zip(MACHINES, ("amd64", "arm64"), strict=True))
"""Names of machines in images."""

FILES = {
    "wheels": "*linux*.whl",
    "modules": f"{UNTESTED}/*.whl",
    "image": "*.oci.tar",
    "npm": "*.tgz",
    "docs": "intact-docs-*.tar.gz",
    "sbom": "*.cdx.json",
}
"""Patterns of each part's files; the checksums are always written again."""


class UnavailableError(Exception):
    """A part cannot be built here; the message says what is missing."""


class Release(NamedTuple):
    """A release that is being built.

    Attributes
    ----------
    out : Path
        Output folder.
    emulated : tuple of Path
        Emulated Pythons of the other machine.
    model : Path
        The default model's file, which the image contains.
    """

    out: Path
    emulated: tuple[Path, ...] = ()
    model: Path = MODEL

    def wheel(self, tag: str, machine: str = platform.machine()) -> Path | None:
        """Return the newest wheel for a tag, such as cp311, and a machine; None if there is none."""
        found = self.out.glob(f"intact_llm-{version_of(ROOT)}-{tag}-*_{machine}.whl")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def package(self, extra: str) -> str:
        """Return what pip installs: the wheel for this Python with an extra, or else the sources."""
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}" if sys.version_info < (3, 12) else "cp312-abi3"
        return f"{self.wheel(tag) or '.'}[{extra}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "release", help="output folder")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="parts to build (default: all)")
    parser.add_argument("--tag", help="the tag of the release, such as v0.3.0: checked against the sources")
    parser.add_argument("--emulated", nargs="+", type=Path, default=[], metavar="FOLDER", help="emulated Pythons")
    parser.add_argument("--model", type=Path, default=MODEL, help="file of the default model, for the image")
    parser.add_argument("--page", type=Path, metavar="FILE", help="page of documentation that gets the list")
    parser.add_argument("--resume", action="store_true", help="keep the parts whose files are there already")
    options = parser.parse_args()
    if problem := disagreement(ROOT, options.tag):
        parser.error(problem)
    if options.resume and options.tag:
        parser.error("--resume keeps files that may be older than the tag: give one of --resume and --tag")
    if options.page is not None and MARKS[0] not in options.page.read_text("utf-8"):
        parser.error(f"{options.page} has no place for the list: {MARKS[0]}")
    options.out.mkdir(parents=True, exist_ok=True)
    release, absent = Release(options.out.resolve(), tuple(options.emulated), options.model), dict[str, str]()
    for name, build in PARTS.items():
        there = name in FILES and any(release.out.glob(FILES[name]))
        if (options.resume or not wanted(name, options.only)) and there:
            continue
        if not wanted(name, options.only):
            absent[name] = "not among --only"
            continue
        try:
            build(release)
        except UnavailableError as why:
            if options.only:
                sys.exit(f"release: {name}: {why}")
            absent[name] = str(why)
    print(listing(release.out, absent))
    if options.page is not None:
        write_page(options.page, table(release.out, absent, git(ROOT, "rev-parse", "--short=12", "HEAD")))


def wanted(name: str, only: Collection[str] | None) -> bool:
    """Return true if a part is to be built."""
    return only is None or name in only


def version_of(root: Path) -> str:
    """Return the version that the sources state."""
    found = re.search(r'^__version__ = "([^"]+)"', (root / "src/intact/__init__.py").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def disagreement(root: Path, tag: str | None) -> str:
    """Return what contradicts a tag: the version, the changelog, or uncommitted files; empty if nothing does."""
    version = version_of(root)
    if tag is None:
        return ""
    if tag != f"v{version}":
        return f"the tag is {tag}, but src/intact/__init__.py has version {version}: expected v{version}"
    if not re.search(rf"^## {re.escape(version)}\b", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE):
        return f"CHANGELOG.md has no heading for {version}"
    return "files are not committed" if git(root, "status", "--porcelain") else ""


def git(root: Path, *arguments: str) -> str:
    """Return the output of a git command."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def wheels(release: Release) -> None:
    """Build the source distribution and the wheels of this machine; if there are emulated Pythons, of the other too."""
    arguments = ["--out", release.out, "--arch", platform.machine()]
    if release.emulated:
        other = next(name for name in MACHINES if name != platform.machine())
        arguments += ["--arch", other, *(word for folder in release.emulated for word in ("--emulated", folder))]
    subprocess.run([sys.executable, ROOT / "scripts/wheels.py", *arguments], check=True)


def modules(release: Release) -> None:
    """Cross-build wheels for macOS and Windows, which are not published."""
    wheel = release.wheel("cp312-abi3")
    if wheel is None:
        raise UnavailableError("needs the wheel with the stable ABI (part wheels, and a Python 3.12 or later)")
    command = [sys.executable, ROOT / "scripts/modules.py", "--out", release.out / UNTESTED, "--wheel", wheel]
    subprocess.run(command, check=True)


def image(release: Release) -> None:
    """Build container images, for each machine that has a wheel for the image's Python."""
    script = ROOT / "scripts" / "image.py"
    if not script.exists():
        raise UnavailableError("needs scripts/image.py")
    need("mmdebstrap")
    if not release.model.exists():
        raise UnavailableError(f"needs the default model at {release.model} (--model)")
    built = {ARCHITECTURES[machine]: wheel for machine in MACHINES if (wheel := release.wheel("cp311-cp311", machine))}
    if not built:
        raise UnavailableError("needs a wheel for Python 3.11 (part wheels)")
    arguments = [word for name, wheel in built.items() for word in ("--arch", name, "--wheel", wheel)]
    command = [sys.executable, script, *arguments, "--model", release.model, "--out", release.out]
    subprocess.run(command, check=True)


def npm(release: Release) -> None:
    """Pack the package for JavaScript, under the version of the sources."""
    need("npm")
    environment, folder = own_tools(), WORK / "npm"
    subprocess.run([environment / "bin/python", ROOT / "scripts/wasm.py"], check=True, env=tool_path(environment))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "js", folder, ignore=shutil.ignore_patterns("node_modules"))
    about = json.loads((folder / "package.json").read_text("utf-8")) | {"version": version_of(ROOT)}
    about.pop("private")
    (folder / "package.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", release.out], cwd=folder, check=True)


def docs(release: Release) -> None:
    """Build the site in an environment of its own, and pack it."""
    environment = made("docs", release.package("docs"))
    folder = WORK / "site"
    subprocess.run([environment / "bin/python", ROOT / "scripts/docsite", "--out", folder], check=True)
    pack(folder, release.out / f"intact-docs-{version_of(ROOT)}.tar.gz")


def sbom(release: Release) -> None:
    """List the packages of an installation with the server."""
    tool = made("sbom", "cyclonedx-bom>=7")
    command = [tool / "bin/cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON"]
    target = release.out / f"intact-{version_of(ROOT)}.cdx.json"
    subprocess.run([*command, "-o", target, made("installed", release.package("serve")) / "bin/python"], check=True)
    names = {one["name"] for one in json.loads(target.read_text("utf-8"))["components"]}
    assert {"intact-llm", "numpy", "uvicorn"} <= names, names


def sums(release: Release) -> None:
    """Write the checksums, and the statement of origin."""
    out = release.out
    digests = {name: sha256(out / name) for name in artefacts(out)}
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), "utf-8")
    statement = provenance(
        digests, git(ROOT, "rev-parse", "HEAD"), git(ROOT, "describe", "--always", "--tags", "--dirty")
    )
    (out / PROVENANCE).write_text(json.dumps(statement, indent=2) + "\n", "utf-8")


PARTS: dict[str, Callable[[Release], None]] = {
    part.__name__: part for part in (wheels, modules, image, npm, docs, sbom, sums)
}


def need(*programs: str) -> None:
    """Raise UnavailableError unless programs are installed."""
    if absent := [name for name in programs if shutil.which(name) is None]:
        raise UnavailableError(f"needs {', '.join(absent)}")


def made(name: str, *packages: str) -> Path:
    """Return an environment with packages, made once."""
    folder = WORK / f"release-{name}"
    if not (folder / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/pip", "install", "-q"]
    subprocess.run([*pip, *packages], cwd=ROOT, check=True)
    if wheels := [one.partition("[")[0] for one in packages if ".whl" in one]:  # pip keeps an older one of the version
        subprocess.run([*pip, "--force-reinstall", "--no-deps", *wheels], check=True)
    return folder


if __name__ == "__main__":
    main()
