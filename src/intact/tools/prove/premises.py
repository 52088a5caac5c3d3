"""Premise selection: ranking the statements of a library by the symbols that they share with a goal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from intact.tools.retrieve import Index

LONGEST: Final = 300
"""Maximum number of characters shown of a statement."""
_SYMBOL: Final = re.compile(r"[^\s()\[\]{},;:]+")


def symbols(text: str) -> list[str]:
    """Split a formal statement into symbols at white space, brackets, commas, colons and semicolons."""
    return _SYMBOL.findall(text)


def nearest(statements: Sequence[str], goal: str, most: int) -> list[str]:
    """Return up to `most` statements nearest to a goal, by BM25 over their symbols, best first.

    Each statement is shortened to one line of at most `LONGEST` characters. Statements that share no symbol with the
    goal are omitted.
    """
    lines = _index(tuple(statements))
    return [shorten(lines.texts[hit.place]) for hit in lines.search(goal, most)]


def shorten(statement: str) -> str:
    """Shorten a statement to one line of at most `LONGEST` characters."""
    text = " ".join(statement.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


@lru_cache(maxsize=4)
def _index(statements: tuple[str, ...]) -> Index:
    return Index(statements, split=symbols)
