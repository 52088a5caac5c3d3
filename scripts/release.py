#!/usr/bin/env python3
"""Build everything that a release consists of, and list it with sizes. Nothing is published.

    scripts/release.py [--out dist/release] [--only PART...] [--tag vVERSION]

Parts, in this order:

- ``wheels``: the source distribution and this machine's wheels, tested (scripts/wheels.py)
- ``npm``: the package for JavaScript, with the WebAssembly module
- ``docs``: the documentation as a site
- ``sbom``: the packages that an installation with the server consists of, as CycloneDX JSON
- ``sums``: SHA256SUMS of all files, and an in-toto statement of their origin (SLSA provenance, unsigned)

A part whose tools are missing is left out, with the reason, unless it was named. `.github/workflows/release.yml` runs
this on each machine for a tag, signs the statement, and publishes the files.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from wheels import ROOT, WORK, own_tools, tool_path

SUMS, PROVENANCE = "SHA256SUMS", "provenance.intoto.json"
SPARE = (SUMS, PROVENANCE)


class UnavailableError(Exception):
    """A part cannot be built here; the message says what is missing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "release", help="output folder")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="parts to build (default: all)")
    parser.add_argument("--tag", help="the tag of the release, such as v0.3.0: checked against the sources")
    options = parser.parse_args()
    if problem := disagreement(ROOT, options.tag):
        parser.error(problem)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or PARTS:
        try:
            PARTS[name](options.out.resolve())
        except UnavailableError as why:
            if options.only:
                sys.exit(f"release: {name}: {why}")
            print(f"release: left out: {name}: {why}", flush=True)
    print(listing(options.out))


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


def wheels(out: Path) -> None:
    """Build the source distribution and this machine's wheels."""
    subprocess.run([sys.executable, ROOT / "scripts/wheels.py", "--out", out], check=True)


def npm(out: Path) -> None:
    """Pack the package for JavaScript, under the version of the sources."""
    need("npm")
    environment, folder = own_tools(), WORK / "npm"
    subprocess.run([environment / "bin/python", ROOT / "scripts/wasm.py"], check=True, env=tool_path(environment))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "js", folder, ignore=shutil.ignore_patterns("node_modules"))
    about = json.loads((folder / "package.json").read_text("utf-8")) | {"version": version_of(ROOT)}
    about.pop("private")
    (folder / "package.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", out], cwd=folder, check=True)


def docs(out: Path) -> None:
    """Build the site in an environment of its own, and pack it."""
    environment = made("docs", ".[docs]")
    folder = WORK / "site"
    subprocess.run([environment / "bin/python", ROOT / "scripts/docsite", "--out", folder], check=True)
    pack(folder, out / f"intact-docs-{version_of(ROOT)}.tar.gz")


def sbom(out: Path) -> None:
    """List the packages of an installation with the server."""
    tool = made("sbom", "cyclonedx-bom>=7")
    command = [tool / "bin/cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON"]
    target = out / f"intact-{version_of(ROOT)}.cdx.json"
    subprocess.run([*command, "-o", target, made("installed", ".[serve]") / "bin/python"], check=True)
    names = {one["name"] for one in json.loads(target.read_text("utf-8"))["components"]}
    assert {"intact-llm", "numpy", "uvicorn"} <= names, names


def sums(out: Path) -> None:
    """Write the checksums, and the statement of origin."""
    digests = {path.name: sha256(path) for path in artefacts(out)}
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), "utf-8")
    statement = provenance(
        digests, git(ROOT, "rev-parse", "HEAD"), git(ROOT, "describe", "--always", "--tags", "--dirty")
    )
    (out / PROVENANCE).write_text(json.dumps(statement, indent=2) + "\n", "utf-8")


def provenance(digests: dict[str, str], commit: str, described: str) -> dict[str, object]:
    """Return an in-toto statement, version 1, with SLSA provenance, version 1 (slsa.dev/spec/v1.0/provenance)."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:intact:scripts/release.py:1",
                "externalParameters": {"described": described},
                "resolvedDependencies": [{"name": "intact", "digest": {"gitCommit": commit}}],
            },
            "runDetails": {"builder": {"id": f"urn:intact:{platform.system()}:{platform.machine()}"}},
        },
    }


PARTS: dict[str, Callable[[Path], None]] = {one.__name__: one for one in (wheels, npm, docs, sbom, sums)}


def need(*programs: str) -> None:
    """Raise UnavailableError unless programs are installed."""
    if absent := [name for name in programs if shutil.which(name) is None]:
        raise UnavailableError(f"needs {', '.join(absent)}")


def made(name: str, *packages: str) -> Path:
    """Return an environment with packages, made once."""
    folder = WORK / f"release-{name}"
    if not (folder / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "-q", *packages], cwd=ROOT, check=True)
    return folder


def pack(folder: Path, target: Path) -> None:
    """Write a folder as a tar file whose bytes depend only on names and contents."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    with (
        target.open("wb") as stream,
        gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as file,
    ):
        for path in sorted(folder.rglob("*")):
            file.add(path, f"{target.name.removesuffix('.tar.gz')}/{path.relative_to(folder)}", False, filter=plain)


def artefacts(out: Path) -> list[Path]:
    """Return the files of a release, without the checksums."""
    return sorted(path for path in out.iterdir() if path.is_file() and path.name not in SPARE)


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing(out: Path) -> str:
    """Return the files of a release, one per line, with sizes."""

    def line(path: Path) -> str:
        return f"{path.stat().st_size:>14,}  {path.name}"

    def all_files() -> Iterable[Path]:
        yield from artefacts(out)
        yield from (path for name in SPARE if (path := out / name).exists())

    return "\n".join(map(line, all_files()))


if __name__ == "__main__":
    main()
