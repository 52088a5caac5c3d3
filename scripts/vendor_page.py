#!/usr/bin/env python3
"""Fetch the JavaScript libraries of the server's page from the npm registry, in the versions of vendor/VERSIONS.

    scripts/vendor_page.py [--check]      # with --check: compare with the existing files, and write nothing

Needs the command npm.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "src/intact/serve/page/vendor"
BUILDS = {
    "markdown-it": "dist/browser/markdown-it.esm.min.mjs",
    "katex": "dist/katex.min.js",
    "@highlightjs/cdn-assets": "es/highlight.min.js",
}
"""The file that the page uses from each package."""


def fetch(package: str, version: str) -> tuple[bytes, bytes]:
    """Return a package's build and its licence."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as files:
            build, licence = (files.extractfile(f"package/{name}") for name in (BUILDS[package], "LICENSE"))
            assert build is not None
            assert licence is not None
            lines = build.read().splitlines(keepends=True)
            return b"".join(line for line in lines if b"sourceMappingURL" not in line), licence.read()


def main() -> int:
    """Fetch all packages, and write or compare their files."""
    check, different, licences = "--check" in sys.argv[1:], [], b""
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \|", (FOLDER / "VERSIONS").read_text(), re.MULTILINE)
    files = {}
    for name, package, version in rows:
        files[name], licence = fetch(package, version)
        licences += f"==== {package}\n".encode() + licence + b"\n"
    for name, data in (files | {"LICENSES": licences}).items():
        path = FOLDER / name
        if not path.exists() or path.read_bytes() != data:
            different.append(name)
            if not check:
                path.write_bytes(data)
    print(f"{'different' if check else 'written'}: {', '.join(different) or 'none'}")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())
