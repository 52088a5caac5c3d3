#!/usr/bin/env python3
"""Draw docs/dev/architecture.svg and print the table of packages into docs/dev/architecture.md.

    scripts/architecture.py [--check | --files]

The picture has import-linter's layers (pyproject.toml) in their order, each with its packages. What a package is for is
the first line of its docstring; what it imports is read from its files. With --check nothing is written; the exit
status is 1 if a file would change. `tests/test_architecture.py` checks the same. With --files every file of the
package is printed with the first line of its docstring.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "intact"
PAGE = ROOT / "docs" / "dev" / "architecture.md"
PICTURE = ROOT / "docs" / "dev" / "architecture.svg"
BEGIN, END = "<!-- packages -->\n", "<!-- end of packages -->\n"

LAYERS = (
    ("Use", "#e8f0fe"),
    ("Reasoning", "#e6f4ea"),
    ("Engine", "#fef7e0"),
    ("Model", "#fce8e6"),
    ("Definition", "#f3e8fd"),
    ("Base", "#f1f3f4"),
)
"""The names of import-linter's layers, in order, with a colour for each."""
WIDTH, HEIGHT, GAP, ACROSS, LEFT = 208, 96, 12, 5, 110


def layers() -> list[list[str]]:
    """Return the packages of each layer of import-linter's contract, uppermost layer first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in project["tool"]["importlinter"]["contracts"] if each["id"] == "layers"]
    return [[name.strip() for name in layer.split(":")] for layer in contract["layers"]]


def files(name: str) -> list[Path]:
    """Return the files of a package, or the file of a module."""
    module = PACKAGE / f"{name}.py"
    return [module] if module.exists() else sorted((PACKAGE / name).rglob("*.py"))


def opening(path: Path) -> str:
    """Return the first paragraph of a file's docstring, without its reference to a page."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = " ".join(text.split("\n\n")[0].split())
    return re.sub(r" \((in )?docs/[^)]*\)", "", line).rstrip(".").replace("|", "\\|")


def purpose(name: str) -> str:
    """Return the purpose of a package or module, from its docstring."""
    path = PACKAGE / name / "__init__.py"
    return opening(path if path.exists() else files(name)[0])


@cache
def imported(path: Path, root: Path) -> frozenset[str]:
    """Return the dotted names of everything that a file below `root` imports: modules, and names in them."""
    place, found = path.relative_to(root).parts, set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(place[: -node.level]) if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imports(name: str, known: list[str]) -> list[str]:
    """Return the known packages that a package imports, in the order of `known`, including type-only imports."""
    found = {".".join(each.split(".")[:2]) for path in files(name) for each in imported(path, PACKAGE.parent)}
    return [other for other in known if other != name and f"intact.{other}" in found]


def table(names: list[str]) -> str:
    """Return the table of packages in Markdown."""
    rows = ["| package | what it is for | files | imports |", "|---|---|---|---|"]
    for name in names:
        below = ", ".join(f"`{other}`" for other in imports(name, names)) or "nothing"
        rows.append(f"| `{name}` | {purpose(name)} | {len(files(name))} | {below} |")
    return "\n".join(rows) + "\n"


def list_of_files(names: list[str]) -> Iterator[str]:
    """Yield what every file of some packages holds, in a line each."""
    for name in names:
        yield f"{name}: {purpose(name)}"
        members = [path for path in files(name) if path.name != "__init__.py"]
        yield from (f"    {path.relative_to(PACKAGE)}: {opening(path)}" for path in members if members != files(name))


def picture(parts: list[list[str]]) -> str:
    """Return the drawing: a band for each layer, a box for each package."""
    shapes, top = [], GAP
    for (title, colour), members in zip(LAYERS, parts, strict=True):
        tall = -(-len(members) // ACROSS) * (HEIGHT + GAP) + GAP
        wide = LEFT + ACROSS * (WIDTH + GAP) + GAP
        shapes.append(f'<rect x="{GAP}" y="{top}" width="{wide}" height="{tall}" rx="8" fill="{colour}"/>')
        shapes.append(f'<text x="{GAP * 2}" y="{top + 28}" class="layer">{title}</text>')
        for place, name in enumerate(members):
            x = GAP + LEFT + place % ACROSS * (WIDTH + GAP)
            y = top + GAP + place // ACROSS * (HEIGHT + GAP)
            shapes.append(f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" class="box"/>')
            shapes.append(f'<text x="{x + 8}" y="{y + 19}" class="name">{name}</text>')
            for number, line in enumerate(textwrap.wrap(purpose(name).replace("`", ""), 32)[:5]):
                shapes.append(f'<text x="{x + 8}" y="{y + 35 + 13 * number}">{escape(line)}</text>')
        top += tall + GAP
    style = (
        "text{font:11px sans-serif;fill:#202124}.name{font:bold 14px monospace}"
        ".layer{font:bold 15px sans-serif}.box{fill:#fff;stroke:#5f6368}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide + 2 * GAP}" height="{top}">'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", background, *shapes, "</svg>"]) + "\n"


def made() -> dict[Path, str]:
    """Return the text of each file that this script writes."""
    parts = layers()
    names = [name for members in parts for name in members]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return {
        PICTURE: picture(parts),
        PAGE: before + BEGIN + table(names) + END + rest.partition(END)[2],
    }


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say what would change")
    parser.add_argument("--files", action="store_true", help="print what every file holds, a line each")
    options = parser.parse_args()
    if options.files:
        print("\n".join(list_of_files([name for members in layers() for name in members])))
        return 0
    stale = [p for p, text in made().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is stale: run scripts/architecture.py' if options.check else 'written'}")
        if not options.check:
            path.write_text(made()[path], encoding="utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
