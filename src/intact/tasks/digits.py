"""Digits of numbers in groups of three from the right, so that tokenizers group them alike (arXiv 2402.14903)."""

from __future__ import annotations

import re
from typing import Final

DIGITS: Final = ("given", "grouped", "plain")
"""As the data have them; in groups, with commas; without commas."""
_WHOLE = re.compile(r"(?<![\w.,])\d{4,}(?=(?:\.\d+)?(?![\w,]|\.\d))")
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,])")
_YEARS: Final = range(1900, 2100)


def write_digits(text: str, form: str) -> str:
    """Return a text with its numbers of four digits or more in a form of `DIGITS`.

    Numbers from 1900 to 2099 may be years, and are not grouped. Digits behind a point stay as they are.

    >>> write_digits("In 1999 she had 1234567 or 12,345.50 coins.", "grouped")
    'In 1999 she had 1,234,567 or 12,345.50 coins.'
    >>> write_digits("In 1999 she had 1234567 or 12,345.50 coins.", "plain")
    'In 1999 she had 1234567 or 12345.50 coins.'
    """
    if form == "grouped":
        return _WHOLE.sub(lambda match: match[0] if int(match[0]) in _YEARS else f"{int(match[0]):,}", text)
    return _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if form == "plain" else text
