"""Calls name their arguments: none has more than four by position."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "intact"
MOST = 4
ANY_NUMBER = {"add_row", "new_table", "show", "key_of", "Draws", "ask", "of", "_word", "to_thread", "pack", "reshape"}
ANY_NUMBER |= {"digest", "map", "transpose"}
"""Functions that take any number of values of one kind, or hand arguments on."""
FOREIGN = {"_native", "libc", "nodes"}
"""Modules whose functions take no keywords."""
NOT_YET = ("numerics/", "executors/", "models/ops/", "models/aspects/", "measure/conformance/")


def long_calls() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or place.startswith(NOT_YET):
                continue
            *owner, name = ast.unparse(node.func).split(".")
            count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
            if count > MOST and name not in ANY_NUMBER and not {*owner} & FOREIGN:
                found.append(f"{place}:{node.lineno}: {name} has {count} arguments by position")
    return found


def test_no_call_has_more_than_four_arguments_by_position() -> None:
    assert long_calls() == []
