"""Extract programs from answers, complete them with the code that they continue, and test them in the sandbox."""

from __future__ import annotations

import ast
import doctest
import hashlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from intact._base.errors import UndecidedError
from intact.tasks.score.layout import laid_out
from intact.tools.sandbox import ProgramLimits, run

VERSION: Final = 2
"""Version of the extraction, canonical layout and testing of programs; increment it when any of them changes."""

TESTING = ProgramLimits(seconds=600, cpu_seconds=60, steps=10_000_000)
"""The limits for a program under test.

The step limit is ten times what the reference solutions take, with few exceptions (`intact.tasks.programs`). The time
limits are a safety net: ten million steps take one to five seconds on a current processor.
"""

_FENCE = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")
_FENCE_AFTER_WORDS = re.compile(r"\s*+[^`\s][^`]*+(?P<fence>`{3,}+)[ \t]*+(?P<info>[\w+.-]*+)[ \t]*+")
_FENCE_AFTER_CODE = re.compile(r"(?P<code>.*[^`\s])[ \t]*`{3,}[ \t]*")
_NEXT = re.compile(r"^(?=[^\s#)\]}'\"])", re.MULTILINE)
_TRIALS: Final = 200
"""The maximum number of spans of an answer that are parsed when searching for unfenced code."""


class _Block(NamedTuple):
    """A fenced block: its info string, its lines, and true if a fence closed it."""

    info: str
    lines: list[str]
    closed: bool

    @property
    def code(self) -> str:
        """The code in the block. An unclosed block may end with a fence at the end of its last line."""
        if not self.closed:
            for place, line in enumerate(self.lines):
                if found := _FENCE_AFTER_CODE.fullmatch(line):
                    return "\n".join([*self.lines[:place], found["code"]])
        return "\n".join(self.lines)

    @property
    def is_python(self) -> bool:
        """If true, the info string does not name a language other than Python."""
        return not self.info or self.info.casefold().startswith("py")


def extract(text: str, entry: str = "") -> str | None:
    """Return the program in an answer, or None.

    The last fenced block that defines `entry` counts, together with definitions that it needs from other blocks. If no
    block defines it, the first block not marked as a language other than Python counts. Unfenced code before the first
    block counts if no block defines `entry`: either the lines that continue a function, up to the first unindented one,
    or the longest run of statements around a definition of `entry`, without the surrounding prose.
    """
    text = text.replace("\r\n", "\n")
    bare, blocks = _split(text)
    codes = [block.code for block in blocks]
    defining = [place for place, code in enumerate(codes) if entry and _defines(code, entry)]
    if defining:
        others = [code for place, code in enumerate(codes) if place != defining[-1] and blocks[place].is_python]
        return _with_helpers(codes[defining[-1]].rstrip() + "\n", others)
    if blocks:
        return _bare(bare, entry, fenced=True) or next(
            (code.rstrip() + "\n" for code, block in zip(codes, blocks, strict=True) if block.is_python), None
        )
    return _bare(bare, entry, fenced=False)


def _bare(text: str, entry: str, *, fenced: bool) -> str | None:
    """Return the program in an answer without fences, or None.

    Parameters
    ----------
    fenced : bool
        If true, a fenced block follows, and it is the program unless this text certainly contains one.
    """
    code = text.strip("\n").rstrip()
    if not code:
        return None
    if code[0] in " \t":
        end = _NEXT.search(code)
        code = code[: end.start()].rstrip() if end else code
        return code + "\n" if not fenced or _parsed(f"def _():\n{code}") is not None else None
    if entry and not _defines(code, entry):
        return None  # words
    found = _stretch(code, entry) if entry else None
    if found is None and fenced:
        return None
    return (code if found is None else found) + "\n"


def _split(text: str) -> tuple[str, list[_Block]]:
    """Return the text before the first fence, and the non-empty fenced blocks, dedented by their fences' indentation.

    A fence closes the block before it, and opens one if none was open or it has an info string. As in Markdown, a block
    is closed by a fence of the same kind and at least the same length, and lines indented by four more columns than the
    opening fence are not fences. Unlike in Markdown, a fence may follow words on the same line if nothing but a
    language follows it.
    """
    bare, blocks = list[str](), list[_Block]()
    fence, indent = "", 0
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line)
        after_words = None if match or fence else _FENCE_AFTER_WORDS.fullmatch(line)
        if match and (not fence or (match["fence"].startswith(fence) and len(match["indent"]) < indent + 4)):
            info = match["info"].strip()
            if fence:
                blocks[-1] = blocks[-1]._replace(closed=True)
            if fence and not info:
                fence = ""
            else:
                fence, indent = match["fence"], len(match["indent"])
                blocks.append(_Block(info, [], False))
        elif after_words:
            fence, indent = after_words["fence"], 0
            blocks.append(_Block(after_words["info"], [], False))
        elif fence:
            blocks[-1].lines.append(line[min(indent, len(line) - len(line.lstrip(" \t"))) :])
        elif not blocks:
            bare.append(line)
    return "\n".join(bare), [block for block in blocks if "".join(block.lines).strip()]


def _parsed(code: str) -> list[ast.stmt] | None:
    """Return the statements of a program; None if it is not valid Python."""
    try:
        return ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_words(statement: ast.stmt) -> bool:
    """Return true if a statement is probably prose that happens to parse as Python, such as the word "Explanation"."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call | ast.Constant | ast.Await)


def _stretch(text: str, entry: str) -> str | None:
    """Return the longest run of statements around the last definition of `entry`.

    Return None if the definition is not valid Python.
    """
    lines = text.split("\n")
    heads = [place for place, line in enumerate(lines) if line.strip() and line[0] not in " \t)]}#"]
    own = next((n for n in reversed(range(len(heads))) if _defines(lines[heads[n]], entry)), None)
    if own is None:
        return None
    bounds = [*heads, len(lines)]

    def code_between(first: int, last: int) -> str | None:
        """Return the lines from one statement start to another if they are code and not prose."""
        stretch = "\n".join(lines[bounds[first] : bounds[last]]).rstrip()
        found = _parsed(stretch)
        return None if found is None or any(map(_is_words, found)) else stretch

    ends = range(len(heads), own, -1)[:_TRIALS]
    end = next((last for last in ends if code_between(own, last) is not None), None)
    if end is None:
        return None
    best = str(code_between(own, end))
    for first in range(own - 1, max(-1, own - 1 - _TRIALS), -1):  # lines of a docstring do not begin statements
        longer = code_between(first, end)
        best = best if longer is None else longer
    return best


def _with_helpers(code: str, others: Sequence[str]) -> str:
    """Return a program preceded by the definitions that it needs from other programs."""
    own = _parsed(code)
    if own is None or not others:
        return code
    offered = [(other, statement) for other in others for statement in _parsed(other) or () if _names_of(statement)]
    needed = _used(own) - _bound(own)
    taken = set[int]()
    while True:
        more = {
            place for place, (_, one) in enumerate(offered) if place not in taken and _names_of(one) & needed
        }  # fmt: skip
        if not more:
            break
        taken |= more
        needed = needed.union(*(_used([offered[place][1]]) for place in more))
    helpers = [_lines_of(*offered[place]) for place in sorted(taken)]
    return "\n\n".join([*helpers, code]) if helpers else code


def _lines_of(code: str, statement: ast.stmt) -> str:
    """Return the source lines of a statement, including decorators."""
    first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
    return "\n".join(code.split("\n")[first - 1 : statement.end_lineno])


def _names_of(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(one.asname or one.name).partition(".")[0] for one in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return _bound([statement])
    return set()


def _used(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names read by statements."""
    nodes = [node for one in statements for node in ast.walk(one)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _bound(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names bound by statements, at any level."""
    nodes = [node for one in statements for node in ast.walk(one)]
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    named = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    imported = [one for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for one in node.names]
    given = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return stored | named | given | {(one.asname or one.name).partition(".")[0] for one in imported}


def _defines(code: str, entry: str) -> bool:
    return re.search(rf"^(?:async )?def {re.escape(entry)}\b|^{re.escape(entry)}\s*=", code, re.MULTILINE) is not None


def complete(code: str, before: str, entry: str) -> str:
    """Return a complete program: `before` ends with a function header, which `code` continues or redefines."""
    if not _defines(code, entry):
        return before + code
    head = re.search(rf"^def {re.escape(entry)}\b", before, re.MULTILINE)
    above = before[: head.start()] if head else before
    return code if above.strip() in code else above + code


def canonical(code: str) -> str:
    """Return code in a uniform layout without comments, so that votes ignore formatting.

    Code that cannot be tokenized is returned unchanged.
    """
    found = laid_out(code)
    return code if found is None else found


def doctests(prompt: str) -> list[str]:
    """Return the examples in a docstring (``>>>``) as assertions."""
    try:
        examples = doctest.DocTestParser().get_examples(re.sub("\"\"\"|'''", "\n\n", prompt))
    except ValueError:
        return []
    tests = []
    for example in examples:
        source, want = _expression(example.source), _expression(example.want)
        if source and want:
            tests.append(f"assert {source} == {want}")
    return tests


def _expression(text: str) -> str | None:
    """Return an expression without comments, in brackets; None if it is not an expression."""
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = laid_out(text.strip())
    return None if found is None else f"({found.rstrip()})"


_BUILTIN = "__import__('builtins')"
"""The module with the builtin functions, whose names the program may have redefined."""


def _mark(code: str, tests: str) -> str:
    return "passed " + hashlib.sha256(f"{code}\0{tests}".encode("utf-8", "replace")).hexdigest()[:16]


def testing(code: str, tests: str) -> tuple[str, str]:
    """Return a program that runs code and then tests, and the marker that it prints last on success.

    The marker depends on both code and tests, so a program that exits early or prints output of its own does not pass
    by accident. A malicious program can still pass: code and tests share a process, so it can find the marker or make
    every comparison true.
    """
    mark = _mark(code, tests)
    return f"{code}\n{tests}\n{_BUILTIN}.print()\n{_BUILTIN}.print({mark!r})\n", mark


def passed(stdout: str, mark: str) -> bool:
    """Return true if the output of a program ends with the marker."""
    return stdout.rstrip("\n").rpartition("\n")[2] == mark


def passes(code: str, tests: str | Sequence[str], limits: ProgramLimits = TESTING) -> bool:
    """Return true if code passes tests in the sandbox.

    A program that exceeds the limits on steps, memory or output fails.

    Raises
    ------
    SandboxError
        If no sandbox is available to confine the code.
    UndecidedError
        If it timed out before it reached the step limit, or was killed from outside.
    """
    text = tests if isinstance(tests, str) else "\n".join(tests)
    program, mark = testing(code, text)
    outcome = run(program, limits=limits)
    if not outcome.settled:
        end = f"more than {limits.seconds:g} s, or {limits.cpu_seconds} s of CPU time"
        end = end if outcome.ended == "time" else "a signal from outside ended it"
        raise UndecidedError(f"a program and its tests did not finish: {end}")
    return outcome.ok and passed(outcome.stdout, mark)


def counting(code: str, tests: Sequence[str]) -> tuple[str, str]:
    """Return a program that runs code and then each test separately, and the marker printed before the pass count.

    As with `testing`, a malicious program can pass.
    """
    mark = _mark(code, "\n".join(tests))
    lines = [
        code,
        "_passed = 0",
        f"for _test in {list(tests)!r}:",
        "    try:",
        f"        {_BUILTIN}.exec(_test, {_BUILTIN}.globals())",
        "        _passed += 1",
        "    except Exception:",
        "        pass",
        f"{_BUILTIN}.print()\n{_BUILTIN}.print({mark!r}, _passed)",
    ]
    return "\n".join(lines) + "\n", mark


def counted(stdout: str, mark: str) -> int:
    """Return the number after the marker; 0 if the program did not get that far."""
    before, _, number = stdout.rstrip("\n").rpartition("\n")[2].rpartition(" ")
    return int(number) if before == mark and number.isdigit() else 0
