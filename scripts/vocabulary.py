#!/usr/bin/env python3
"""Check the wording of names and documentation: the field's own terms, imperative docstrings, unique class names.

    scripts/vocabulary.py [PATH...]      # default: src, native, scripts and all documents

Prints a line for each finding, `file:line: ...`, and exits with 1 if there is one. The lists are in `vocabulary.toml`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LISTS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WIDTH = 120
"""Maximum number of characters per line of a document; tables, code and links may be longer."""
NATIVE = {".cpp", ".h", ".inl"}

Finding = tuple[int, str]


def parts(name: str) -> Iterator[str]:
    """Yield the lower-case words of a snake_case or CamelCase identifier."""
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name):
        yield word.lower()


def wrong_words(name: str) -> Iterator[str]:
    """Yield a message for each word of an identifier that should be replaced."""
    if name in LISTS["allow"]["names"]:
        return
    for word in parts(name):
        if word in LISTS["parts"]:
            yield f"the name {name}: for {word!r} say {LISTS['parts'][word]}"
    for term, instead in LISTS["parts"].items():
        if "_" in term and term in name.lower():
            yield f"the name {name}: for {term!r} say {instead}"


def defined_names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the names that a node defines, with their lines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.lineno, node.name
    elif isinstance(node, ast.arg):
        yield node.lineno, node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.lineno, node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.lineno, node.attr


def wrong_prose(text: str, lists: str = "prose") -> Iterator[Finding]:
    """Yield a message for each line with an expression that should be replaced."""
    for number, line in enumerate(text.splitlines(), 1):
        for expression, instead in LISTS[lists].items():
            if found := re.search(expression, line):
                yield number, f"for {found[0].strip()!r} say {instead}"


def in_docstrings(tree: ast.Module) -> Iterator[Finding]:
    """Yield the findings in docstrings, also in those of attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number, message in wrong_prose(node.value.value, "docstrings"):
                yield node.lineno + number - 1, f"a docstring: {message}"


def in_python(path: Path, *, docstrings: bool) -> Iterator[Finding]:
    """Yield the findings in a module: names, and the first words of docstrings."""
    openings = set(LISTS["openings"]["words"])
    yield from ((0, message) for message in wrong_words(path.stem.removeprefix("test_")) if docstrings)
    source = path.read_text(encoding="utf-8")
    yield from wrong_prose(source)
    tree = ast.parse(source)
    if docstrings:
        yield from in_docstrings(tree)
    for node in ast.walk(tree):
        for line, name in defined_names(node):
            yield from ((line, message) for message in wrong_words(name))
        if docstrings and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text and text.split()[0].rstrip(",:'") in openings:
                line = node.body[0].lineno
                yield line, f"a docstring opens with {text.split()[0]!r}; begin with a verb, or name the thing"


def in_native(path: Path) -> Iterator[Finding]:
    """Yield the findings in a C++ file: words of identifiers outside of comments and strings."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line.split("//")[0])
        for name in dict.fromkeys(re.findall(r"[A-Za-z_]\w+", code)):
            yield from ((number, message) for message in wrong_words(name))


def in_document(path: Path) -> Iterator[Finding]:
    """Yield lines of a document that are too long, and wrong expressions."""
    code = False
    text = path.read_text(encoding="utf-8")
    yield from wrong_prose(text)
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        free = code or line.startswith(("|", "    ", "![", "<!--"))
        if len(line) > WIDTH and not free and not (" " not in line.strip("- ")):
            yield number, f"a line of {len(line)} characters; {WIDTH} at most"


def class_names(paths: list[Path]) -> Iterator[tuple[Path, int, str]]:
    """Yield the class names that exist more than once in the package."""
    places: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append((path, node.lineno))
    for name, found in places.items():
        if len(found) > 1 and name not in LISTS["allow"]["classes"]:
            for path, line in found:
                yield path, line, f"the class name {name} exists {len(found)} times"


def files(paths: list[Path]) -> list[Path]:
    """Return the files below some paths that are checked."""
    found = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in {".py", ".md"} | NATIVE and "__pycache__" not in file.parts:
                found.append(file)
    return found


def main() -> int:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    options = parser.parse_args()
    package = ROOT / "src" / "intact"
    paths = [path.resolve() for path in options.paths] or [
        ROOT / name
        for name in (
            "src",
            "native",
            "docs",
            "study",
            "README.md",
            "CONTRIBUTING.md",
            "benchmarks/README.md",
            "scripts",
        )
    ]
    found: list[tuple[Path, int, str]] = []
    for file in files(paths):
        if file.suffix == ".py":
            found += [(file, *one) for one in in_python(file, docstrings=file.is_relative_to(package))]
        elif file.suffix in NATIVE:
            found += [(file, *one) for one in in_native(file)]
        elif str(file.relative_to(ROOT)) not in LISTS["allow"]["printed"]:
            found += [(file, *one) for one in in_document(file)]
    found += [one for one in class_names(files([package])) if any(one[0].is_relative_to(path) for path in paths)]
    for file, line, message in found:
        print(f"{file.relative_to(ROOT)}:{line}: {message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
