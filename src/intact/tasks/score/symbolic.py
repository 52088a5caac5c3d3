"""Computer algebra with math-verify, in a worker process."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from intact._base import packages
from intact._base.errors import NotInstalledError
from intact._base.process import WorkerProcess
from intact.tasks.score.judging import FILES, LIMIT_REACHED, MEMORY, SECONDS, ask, note

VERSION: Final = 2
"""Version of the printing and comparison of expressions.

Increment it when either changes (`solving/receipts/versions.py`).
"""

LONGEST = 2000
"""Expressions with more characters than this are not parsed."""

LARGEST = 1 << 13
"""Limit on the bits of integer powers, and on factorial arguments, that computer algebra may expand."""

_POWER = re.compile(r"(?<![\d.])(\d+)\}*\s*\^\s*(?:\{\s*(\d+)\s*\}|(\d+))")
_FACTORIAL = re.compile(r"(\d+)\s*!")

PROGRAM = Path(__file__).with_name("symbolic_worker.py")

_algebra = WorkerProcess(PROGRAM, "math-verify", seconds=SECONDS, memory=MEMORY, limits=FILES)


@lru_cache(maxsize=8192)
def _once(name: str, *arguments: str) -> Any:
    if packages.missing(_algebra.package):
        needs = f"reading it needs {_algebra.package} (extra solve): {packages.install(_algebra.package)}"
        raise NotInstalledError(f"the answer {arguments[-1]!r:.80} is not a number, and {needs}")
    return ask(_algebra, name, *arguments)


def check_installed() -> None:
    """Raise NotInstalledError if computer algebra is missing."""
    packages.check_installed("reading and comparing expressions", _algebra.package)


def explodes(latex: str) -> bool:
    """Return true if integer powers or factorials in an expression are too large to be expanded.

    The decision depends only on the text, so it is the same on every machine; `9^{9^{9}}` would keep algebra busy for
    hours.
    """
    if any(len(number) > len(str(LARGEST)) or int(number) > LARGEST for number in _FACTORIAL.findall(latex)):
        return True
    while (power := _POWER.search(latex)) is not None:  # replace the innermost power by its value
        base, exponent = int(power[1]), int(power[2] or power[3])
        if base > 1 and exponent * base.bit_length() > LARGEST:
            return True
        latex = f"{latex[: power.start()]}{base**exponent}{latex[power.end() :]}"
        if len(latex) > LARGEST:  # many powers, none of them too large by itself
            return True
    return False


def _ask(name: str, *expressions: str) -> Any:
    """Return the worker's reply, or None if there is none.

    Expressions that reached a limit are reported to `noting` blocks.
    """
    if max(map(len, expressions)) > LONGEST or any(map(explodes, expressions)):
        return None
    reply = _once(name, *expressions)
    if reply is not LIMIT_REACHED:
        return reply
    note(*expressions)
    return None


def canonical(latex: str) -> str | None:
    """Return an expression in the form that SymPy evaluates, orders and prints.

    Return None if it cannot be parsed or hits a limit (`noting`).
    """
    found = _ask("canonical", latex)
    return found if isinstance(found, str) else None


def equal(right: str, given: str) -> bool:
    """Return true if two expressions are equivalent, false if the comparison hits a limit (`noting`)."""
    return _ask("equal", right, given) is True
