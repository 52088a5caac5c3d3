"""The files of a release: checksums, the statement of origin, their list, and archives that repeat to the byte."""

from __future__ import annotations

import gzip
import hashlib
import platform
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

SUMS, PROVENANCE, UNTESTED = "SHA256SUMS", "provenance.intoto.json", "untested"
SPARE = (SUMS, PROVENANCE)
MARKS = "<!-- files of a release: scripts/release.py --page -->", "<!-- end of the files -->"


def artefacts(out: Path) -> list[str]:
    """Return the names of a release's files, without the checksums; untested ones come last."""
    names = [
        path.relative_to(out).as_posix()
        for folder in (out, out / UNTESTED)
        for path in folder.glob("*.*")
        if path.is_file()
    ]
    return sorted((name for name in names if name not in SPARE), key=lambda name: ("/" in name, name))


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing(out: Path, absent: Mapping[str, str]) -> str:
    """Return the files of a release with sizes, and the parts that were not built with reasons, one per line."""
    names = [*artefacts(out), *(name for name in SPARE if (out / name).exists())]
    lines = [f"{(out / name).stat().st_size:>14,}  {name}" for name in names]
    return "\n".join([*lines, *(f"not built here  {part}: {why}" for part, why in absent.items())])


def table(out: Path, absent: Mapping[str, str], commit: str) -> str:
    """Return the list as a table in Markdown, with the commit, the machine and the date."""
    rows = [line.split(maxsplit=1) for line in listing(out, {}).splitlines()]
    lines = [
        f"Commit {commit}, {platform.system()} on {platform.machine()}, {datetime.now(UTC):%Y-%m-%d}:\n",
        "| bytes | file |",
        "|---:|---|",
        *(f"| {size} | `{name}` |" for size, name in rows),
        *(f"| not built here | {part}: {why} |" for part, why in absent.items()),
    ]
    return "\n".join(lines)


def write_page(page: Path, text: str) -> None:
    """Replace what lies between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", "utf-8")


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
