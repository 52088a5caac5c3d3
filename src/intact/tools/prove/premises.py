"""Premises of a library for a goal: its statements, ranked by the symbols that they share with the goal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from intact.tools.retrieve import Index

LONGEST: Final = 300
"""Characters of a statement that are shown."""
_SYMBOL: Final = re.compile(r"[^\s()\[\]{},;:]+")


def symbols(text: str) -> list[str]:
    """Return the symbols of a formal statement: what white space, brackets, commas and colons separate."""
    return _SYMBOL.findall(text)


def nearest(statements: Sequence[str], goal: str, most: int) -> list[str]:
    """Return the statements nearest to a goal by BM25 over their symbols, the best first, at most so many.

    Each is one line, of at most `LONGEST` characters. Those that share no symbol with the goal are left out.
    """
    lines = _index(tuple(statements))
    return [shorten(lines.texts[hit.place]) for hit in lines.search(goal, most)]


def shorten(statement: str) -> str:
    """Return a statement as one line of at most `LONGEST` characters."""
    text = " ".join(statement.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


@lru_cache(maxsize=4)
def _index(statements: tuple[str, ...]) -> Index:
    return Index(statements, split=symbols)
