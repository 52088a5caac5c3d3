"""Programs in answers: taken out of the text, put together with what they were asked for, and tested in the sandbox."""

from __future__ import annotations

import ast
import doctest
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from intact.errors import UndecidedError
from intact.score.layout import laid_out
from intact.tools.sandbox import ProgramLimits, run

VERSION: Final = 1
"""Version of how programs are found in texts, written and tested; raise it when that changes."""

TESTING = ProgramLimits(seconds=600, cpu_seconds=60, steps=10_000_000)
"""What a program may use under test.

The steps are ten times what the model solutions take, but for a few (`intact.tasks.programs`). The seconds are a safety
net: ten million steps take one to five on a processor of today.
"""

_FENCE = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")
_NEXT = re.compile(r"^(?=[^\s#)\]}'\"])", re.MULTILINE)


def extract(text: str, entry: str = "") -> str | None:
    """Return the program in an answer, or None.

    Of the fenced blocks the last that defines `entry` counts, or else the first that is not said to be something other
    than Python. Without any fence the text itself is the program; if it begins with an indented line it continues a
    function, and ends with it.
    """
    text = text.replace("\r\n", "\n")
    blocks = _blocks(text)
    if blocks:
        defining = [block for _, block in blocks if entry and _defines(block, entry)]
        python = [block for info, block in blocks if not info or info.casefold().startswith("py")]
        found = defining[-1:] or python[:1]
        return found[0].rstrip() + "\n" if found else None
    code = text.strip("\n").rstrip()
    if not code:
        return None
    if code[0] in " \t":
        end = _NEXT.search(code)
        code = code[: end.start()].rstrip() if end else code
    elif entry and not _defines(code, entry):
        return None  # words
    return code + "\n"


def _blocks(text: str) -> list[tuple[str, str]]:
    """Return what is said of each fenced block that is not empty, and its lines, less its fence's indentation.

    A fence ends the block before it, and begins one if none was open or if something is said behind it. As in Markdown
    it is ended by one of its kind, at least as long, and a line indented by four more than the fence is none.
    """
    found: list[tuple[str, list[str]]] = []
    fence, indent = "", 0
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line)
        if match and (not fence or (match["fence"].startswith(fence) and len(match["indent"]) < indent + 4)):
            info = match["info"].strip()
            if fence and not info:
                fence = ""
            else:
                fence, indent = match["fence"], len(match["indent"])
                found.append((info, []))
        elif fence:
            found[-1][1].append(line[min(indent, len(line) - len(line.lstrip(" \t"))) :])
    return [(info, "\n".join(lines)) for info, lines in found if "".join(lines).strip()]


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
