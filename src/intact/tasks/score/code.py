"""Programs in answers: taken out of the text, put together with what they were asked for, and tested in the sandbox."""

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
"""Version of how programs are found in texts, written and tested; raise it when that changes."""

TESTING = ProgramLimits(seconds=600, cpu_seconds=60, steps=10_000_000)
"""What a program may use under test.

The steps are ten times what the model solutions take, but for a few (`intact.tasks.programs`). The seconds are a safety
net: ten million steps take one to five on a processor of today.
"""

_FENCE = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")
_FENCE_AFTER_WORDS = re.compile(r"\s*+[^`\s][^`]*+(?P<fence>`{3,}+)[ \t]*+(?P<info>[\w+.-]*+)[ \t]*+")
_FENCE_AFTER_CODE = re.compile(r"(?P<code>.*[^`\s])[ \t]*`{3,}[ \t]*")
_NEXT = re.compile(r"^(?=[^\s#)\]}'\"])", re.MULTILINE)
_TRIALS: Final = 200
"""How many stretches of a text are parsed at most in search of bare code."""


class _Block(NamedTuple):
    """A fenced block: what is said of it behind its fence, its lines, and true if a fence closed it."""

    info: str
    lines: list[str]
    closed: bool

    @property
    def code(self) -> str:
        """Its text. A block that no line closes may be closed behind the last words of a line."""
        if not self.closed:
            for place, line in enumerate(self.lines):
                if found := _FENCE_AFTER_CODE.fullmatch(line):
                    return "\n".join([*self.lines[:place], found["code"]])
        return "\n".join(self.lines)

    @property
    def is_python(self) -> bool:
        """If true, it is not said to be something other than Python."""
        return not self.info or self.info.casefold().startswith("py")


def extract(text: str, entry: str = "") -> str | None:
    """Return the program in an answer, or None.

    Of the fenced blocks the last that defines `entry` counts, with the definitions that it needs from other blocks, or
    else the first that is not said to be something other than Python. Code without a fence before it counts if no
    block defines `entry`: lines that continue a function, up to the first that is not indented, or the longest stretch
    of statements around a definition of `entry`, without the prose before and behind it.
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
    """Return the program in a text without fences, or None.

    Parameters
    ----------
    fenced : bool
        If true, a block follows, which is the program unless this text certainly holds one.
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
    """Return the text before the first fence, and the fenced blocks that are not empty, less their fences' indentation.

    A fence ends the block before it, and begins one if none was open or if something is said behind it. As in Markdown
    it is ended by one of its kind, at least as long, and a line indented by four more than the fence is none. Other
    than in Markdown a fence may stand behind the words of a line, if at most the language follows it.
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
    """Return the statements of a program; None if it is none."""
    try:
        return ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_words(statement: ast.stmt) -> bool:
    """If true, a statement is more likely prose that Python can parse, such as the word "Explanation"."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call | ast.Constant | ast.Await)


def _stretch(text: str, entry: str) -> str | None:
    """Return the longest stretch of statements around the last definition of `entry`; None if that is not in Python."""
    lines = text.split("\n")
    heads = [place for place, line in enumerate(lines) if line.strip() and line[0] not in " \t)]}#"]
    own = next((n for n in reversed(range(len(heads))) if _defines(lines[heads[n]], entry)), None)
    if own is None:
        return None
    bounds = [*heads, len(lines)]

    def code_between(first: int, last: int) -> str | None:
        """Return the lines from one head to another, if they are statements and no prose."""
        stretch = "\n".join(lines[bounds[first] : bounds[last]]).rstrip()
        found = _parsed(stretch)
        return None if found is None or any(map(_is_words, found)) else stretch

    ends = range(len(heads), own, -1)[:_TRIALS]
    end = next((last for last in ends if code_between(own, last) is not None), None)
    if end is None:
        return None
    best = str(code_between(own, end))
    for first in range(own - 1, max(-1, own - 1 - _TRIALS), -1):  # a docstring's lines begin no statement of their own
        longer = code_between(first, end)
        best = best if longer is None else longer
    return best


def _with_helpers(code: str, others: Sequence[str]) -> str:
    """Return a program with the definitions before it that it needs from other programs."""
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
    """Return the lines of a statement, with its decorators."""
    first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
    return "\n".join(code.split("\n")[first - 1 : statement.end_lineno])


def _names_of(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of the outermost level defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(one.asname or one.name).partition(".")[0] for one in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return _bound([statement])
    return set()


def _used(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements read."""
    nodes = [node for one in statements for node in ast.walk(one)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _bound(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements bind, at whatever level."""
    nodes = [node for one in statements for node in ast.walk(one)]
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    named = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    imported = [one for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for one in node.names]
    given = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return stored | named | given | {(one.asname or one.name).partition(".")[0] for one in imported}


def _defines(code: str, entry: str) -> bool:
    return re.search(rf"^(?:async )?def {re.escape(entry)}\b|^{re.escape(entry)}\s*=", code, re.MULTILINE) is not None


def complete(code: str, before: str, entry: str) -> str:
    """Return code with what it needs: `before` ends in the head of a function, which code continues or defines anew."""
    if not _defines(code, entry):
        return before + code
    head = re.search(rf"^def {re.escape(entry)}\b", before, re.MULTILINE)
    above = before[: head.start()] if head else before
    return code if above.strip() in code else above + code


def canonical(code: str) -> str:
    """Return code in one layout without comments, so that votes count what differs in looks only; else as it is."""
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
    """Return an expression without comments, in brackets; None if it is none."""
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = laid_out(text.strip())
    return None if found is None else f"({found.rstrip()})"


_BUILTIN = "__import__('builtins')"
"""Where the functions are whose names a program may have taken for its own."""


def _mark(code: str, tests: str) -> str:
    return "passed " + hashlib.sha256(f"{code}\0{tests}".encode("utf-8", "replace")).hexdigest()[:16]


def testing(code: str, tests: str) -> tuple[str, str]:
    """Return a program that runs code, then tests, and what it writes last if all goes well.

    That mark depends on everything, so that a program that ends early, or prints something of its own, does not pass by
    accident. One that is out to pass does: code and tests share a process, in which it can find the mark, or make
    every comparison true.
    """
    mark = _mark(code, tests)
    return f"{code}\n{tests}\n{_BUILTIN}.print()\n{_BUILTIN}.print({mark!r})\n", mark


def passed(stdout: str, mark: str) -> bool:
    """Return whether the mark stands at the end of what a program wrote."""
    return stdout.rstrip("\n").rpartition("\n")[2] == mark


def passes(code: str, tests: str | Sequence[str], limits: ProgramLimits = TESTING) -> bool:
    """Return whether code passes tests, in the sandbox.

    A program that takes more steps than it may, or more memory, or writes too much, does not.

    Raises
    ------
    SandboxError
        If nothing here would keep the code in.
    UndecidedError
        If it ran out of time before it ran out of steps, or was killed from outside.
    """
    text = tests if isinstance(tests, str) else "\n".join(tests)
    program, mark = testing(code, text)
    outcome = run(program, limits=limits)
    if not outcome.settled:
        end = f"more than {limits.seconds:g} s, or {limits.cpu_seconds} s of processor time"
        end = end if outcome.ended == "time" else "a signal from outside ended it"
        raise UndecidedError(f"a program and its tests did not come to an end: {end}")
    return outcome.ok and passed(outcome.stdout, mark)


def counting(code: str, tests: Sequence[str]) -> tuple[str, str]:
    """Return a program that runs code, then each test by itself, and the mark before the number that passed.

    As in `testing`, a program that is out to pass does.
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
    """Return the number behind the mark; 0 where the program did not come so far."""
    before, _, number = stdout.rstrip("\n").rpartition("\n")[2].rpartition(" ")
    return int(number) if before == mark and number.isdigit() else 0
