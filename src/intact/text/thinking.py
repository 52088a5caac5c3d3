"""Marks around what a model thinks before it answers."""

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


THINK_TAGS = ThinkingFormat("<think>", "</think>")
"""Thoughts as DeepSeek-R1, Qwen3 and many others mark them."""
