#!/usr/bin/env python3
"""Build the documentation as a static site, offline; fail on the first problem.

    python scripts/docsite [--out build/site] [--no-reference]

The pages are those of the repository; the reference is generated from docstrings, from the command line and from the
server's OpenAPI document. Sphinx warnings are errors (a broken link, a page in no list). The output is then checked:
every link between pages, and that nothing is loaded from other hosts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import commands
import folders
import openapi
import output
import pages
import python_api
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parent.parent.parent


def stage(root: Path, source: Path, reference: bool) -> None:
    """Prepare Sphinx's input: the files of the repository, and the generated pages."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    pages.copy(root, source)
    folders.write(root, source)
    if reference:
        made = source / "reference"
        python_api.write(root, made / "python")
        commands.write(made / "commands.md")
        openapi.write(made / "http.md", made / "openapi.json")


def build(root: Path, work: Path, out: Path, reference: bool = True) -> int:
    """Build the site of a checkout into a folder; return the exit status."""
    source = work / "source"
    stage(root, source, reference)
    shutil.rmtree(out, ignore_errors=True)
    strict = ["--fail-on-warning", "--quiet", "--fresh-env"]
    here = str(Path(__file__).parent)
    status = build_main(["-b", "html", "-c", here, "-d", str(work / "doctrees"), *strict, str(source), str(out)])
    if status:
        return status
    output.finish(out, pages.moved(root))
    problems = output.problems(out)
    for problem in problems:
        print(f"docsite: {problem}", file=sys.stderr)
    return 1 if problems else 0


def main() -> int:
    """Parse the arguments and build the site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout whose pages to build")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="output folder, which is replaced")
    parser.add_argument("--no-reference", action="store_true", help="leave out the pages that are generated from code")
    options = parser.parse_args()
    out = options.out.resolve()
    status = build(options.root.resolve(), out.with_name(out.name + "-work"), out, not options.no_reference)
    if not status:
        files = [path for path in out.rglob("*") if path.is_file()]
        print(f"{out}: {len(list(out.rglob('*.html')))} pages, {sum(path.stat().st_size for path in files) >> 20} MB")
    return status


if __name__ == "__main__":
    sys.exit(main())
