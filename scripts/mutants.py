"""Mutants of Python sources: cosmic-ray's operators, and a draw of lines that is stable when other lines change."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    *("receipts", "solving/receipts", "tasks/score", "stats", "evaluate", "measure/bench"),
    *("reason", "serve", "engine/shared_cache"),
)
NEEDS = {"evaluate/harness.py": "lm_eval", "evaluate/on_cluster.py": "ray", "tasks/score/rewards/": "torch"}
"""Files whose tests are skipped if a package is missing; their lines are then not drawn."""
NO_CHANGE = {"core/NoOp"}
TYPES = {  # of the nodes that cosmic-ray's largest families of operators change: saves the time to ask each of them
    "core/ReplaceBinary": ("operator",),
    "core/ReplaceComparison": ("comparison",),
    "core/ReplaceUnary": ("factor", "not_test"),
}
IDENTITY = {  # of strings and small numbers `is` says the same as `==`, as long as the interpreter keeps one of each
    f"core/ReplaceComparisonOperator_{old}_{new}"
    for pair in (("Eq", "Is"), ("NotEq", "IsNot"))
    for old, new in (pair, pair[::-1])
}


class RemoveStatement(Operator):
    """Replace a call whose value is unused, or a raise, by `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt":
            first = node.children[0]
            call = first.type == "atom_expr" and first.children[-1].get_code().startswith("(")
            if call or first.type == "raise_stmt" or (first.type == "keyword" and first.value == "raise"):
                yield first.start_pos, first.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0]
        prefix = first.get_first_leaf().prefix
        node.children[0] = parso.python.tree.Keyword("pass", first.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class Mutant(NamedTuple):
    """One change of one line."""

    file: str
    """Path relative to the repository."""
    line: int
    place: str
    """The enclosing functions and classes, joined by dots."""
    was: str
    """The original line, stripped."""
    becomes: str
    operator: str
    lines: range
    """The lines of the statement, or of a compound statement's head; empty if its function caches its result."""
    source: str
    """The whole changed file."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.place, self.was, self.becomes

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.file}\0{self.source}".encode()).hexdigest()


def operators() -> dict[str, Operator]:
    names = [name for name in operator_names() if name not in NO_CHANGE | IDENTITY]
    known = {name: get_operator(name) for name in names}
    return {name: kind() for name, kind in known.items() if not kind.arguments()} | {
        "intact/RemoveStatement": RemoveStatement()
    }


def annotates(node: Any) -> bool:
    """Return true if a node belongs to an annotation, which is never evaluated, or is only for type checkers."""
    while (parent := node.parent) is not None:
        if parent.type in ("param", "tfpdef", "annassign", "funcdef"):
            before = node.get_previous_sibling()
            if before is not None and before.get_code().strip() in (":", "->") and node.type != "suite":
                return parent.type != "funcdef" or before.get_code().strip() == "->"
        if _for_type_checkers(node):
            return True
        node = parent
    return False


def _for_type_checkers(node: Any) -> bool:
    return bool(node.type == "if_stmt" and node.children[1].get_code().strip() == "TYPE_CHECKING")


def place_of(node: Any) -> str:
    names: list[str] = []
    while (node := node.parent) is not None:
        if node.type in ("funcdef", "classdef"):
            names.insert(0, node.name.value)
    return ".".join(names)


STATEMENTS = {"file_input", "suite", "simple_stmt", "decorated", "async_stmt"} | {
    f"{name}_stmt" for name in ("if", "while", "for", "try", "with")
}


def lines_of(node: Any) -> range:
    """Return the lines whose tests execute a node; an empty range means all tests of the file."""
    around = node
    while around.parent.type not in (*STATEMENTS, "funcdef", "classdef"):
        around = around.parent
    lines, inside = range(around.start_pos[0], around.end_pos[0] + 1), False
    while (parent := node.parent) is not None:
        inside = inside or (parent.type == "funcdef" and node is parent.children[-1])
        if parent.type == "decorated" and "cache" in parent.children[0].get_code():
            return range(0)  # the first test's call does the work for all later ones
        node = parent
    return lines if inside else range(0)  # else it is executed by whichever test imports the module first


def spread(*parts: object) -> bytes:
    """Return a pseudo-random sort key that depends only on the text of the parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


class Change(NamedTuple):
    """A mutation, not yet applied."""

    operator: str
    occurrence: int
    column: int
    place: str
    lines: range


def changes_by_line(source: str, known: dict[str, Operator]) -> dict[int, list[Change]]:
    found: dict[int, list[Change]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for node in ast_nodes(get_ast(source)):
        possible: list[tuple[int, Change]] = []
        for name, operator in known.items():
            family = name.split("Operator_")[0]
            if family in TYPES and node.type not in TYPES[family]:
                continue
            for (line, column), _ in operator.mutation_positions(node):
                possible.append((line, Change(name, counts[name], column, "", range(0))))
                counts[name] += 1
        if possible and not annotates(node):
            place, lines = place_of(node), lines_of(node)
            for line, change in possible:
                found[line].append(change._replace(place=place, lines=lines))
    return found


def draw(seed: int, number: int, packages: Sequence[str] = PACKAGES) -> tuple[list[Mutant], int]:
    """Draw lines of packages and a mutation of each; return the mutants and the number of lines that can be mutated."""
    known = operators()
    lines: list[tuple[bytes, str, int, list[Change]]] = []
    sources: dict[str, str] = {}
    for path in sorted(p for package in packages for p in (ROOT / "src/intact" / package).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if any(part in file and find_spec(module) is None for part, module in NEEDS.items()):
            continue
        source = sources[file] = path.read_text()
        texts, seen = source.splitlines(), defaultdict(int)
        for line, changes in sorted(changes_by_line(source, known).items()):
            text = texts[line - 1].strip()
            seen[text] += 1
            lines.append((spread(seed, file, text, seen[text]), file, line, changes))
    chosen: list[Mutant] = []
    for rank, file, line, changes in sorted(lines, key=lambda row: row[0]):
        changes.sort(key=lambda c: spread(rank, c.operator, c.column, c.occurrence))
        mutant = next(filter(None, (apply(file, line, sources[file], change, known) for change in changes)), None)
        if mutant:
            chosen.append(mutant)
        if len(chosen) == number:
            break
    return sorted(chosen, key=lambda m: (m.file, m.line)), len(lines)


def apply(file: str, line: int, source: str, change: Change, known: dict[str, Operator]) -> Mutant | None:
    """Apply a change; return None if the result is not valid Python."""
    altered = mutate_code(source, known[change.operator], change.occurrence)
    try:
        compile(altered, file, "exec")
    except SyntaxError:
        return None
    rows = list(difflib.unified_diff(source.splitlines(), altered.splitlines(), n=0, lineterm=""))[3:]
    was, becomes = (next((row[1:].strip() for row in rows if row[0] == sign and row[1:].strip()), "") for sign in "-+")
    return Mutant(file, line, change.place, was, becomes, change.operator, change.lines, altered)
