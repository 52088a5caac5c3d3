"""Suggestions of similar known names in error messages about unknown names."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 3
"""Maximum number of suggestions."""
_LIKE = 0.7
"""Minimum similarity of two names, from 0 to 1 (`difflib.SequenceMatcher.ratio`)."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names nearest to an unknown one, nearest first.

    Case and the separators between words are ignored. A name that is identical apart from these is the only suggestion;
    otherwise, names that begin with the unknown name are suggested or, if there are none, names with similar spelling.
    """
    from difflib import get_close_matches  # takes a while to import, and errors are rare

    plain = {one: _plain(one) for one in known}
    wanted = _plain(name[:200])
    if not wanted:
        return []
    if same := [one for one, text in plain.items() if text == wanted]:
        return same[:MOST]
    if longer := [one for one, text in plain.items() if text.startswith(wanted)]:
        return longer[:MOST]
    close = get_close_matches(wanted, set(plain.values()), n=MOST, cutoff=_LIKE)
    return [one for text in close for one in plain if plain[one] == text][:MOST]


def three_nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the three names nearest to an unknown one, however dissimilar, starting with the results of `nearest`."""
    from difflib import SequenceMatcher

    names, matcher = list(known), SequenceMatcher(b=_plain(name[:200]))

    def distance(one: str) -> float:
        matcher.set_seq1(_plain(one))
        return -matcher.ratio()

    first = nearest(name, names)
    return [*first, *sorted((one for one in names if one not in first), key=distance)][:MOST]


def unknown_among_many(problem: str, name: str, known: Iterable[str], listed: str) -> str:
    """Return the error message about an unknown name among many: the three nearest, and how to list all names."""
    *others, last = three_nearest(name, known)
    return f"{problem}: did you mean {', '.join(others)} or {last}? {listed}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean A or B?`` for an unknown name; empty if no known name is similar."""
    near = nearest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else ""


def unknown_name(
    problem: str, name: str, known: Iterable[str], otherwise: str = "available:", *, also: str = ""
) -> str:
    """Return the error message about an unknown name: the nearest names, or else all of them.

    Parameters
    ----------
    problem : str
        Description of the problem, such as ``no method named 'selfconsistency'``.
    name : str
        The unknown name.
    otherwise : str
        Text before the list of all names.
    also : str
        Text after that list.
    """
    names = list(known)
    if hint := did_you_mean(name, names):
        return f"{problem}: {hint}"
    return f"{problem}; {otherwise} {', '.join(names) or 'none'}{also}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_.:-]+", "", name.lower())
