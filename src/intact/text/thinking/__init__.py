"""Marks around what a model thinks before it answers: one file a format."""

from __future__ import annotations

from typing import NamedTuple


class ThinkingFormat(NamedTuple):
    """The marks with which a family of models sets its thoughts apart.

    Attributes
    ----------
    opens, closes : str
        The marks before and behind the thoughts.
    """

    opens: str
    closes: str
