"""Group the digits of numbers in threes from the right, for tokenizers with multi-digit tokens (arXiv 2402.14903).

A tokenizer with multi-digit tokens splits 1234567 from the left, into 123, 456 and 7. Commas make it split numbers from
the right, into 1, 234 and 567, which aligns the digits of two summands within their tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from intact._base.errors import ParameterError

if TYPE_CHECKING:
    from intact.text import Tokenizer

DIGITS: Final = ("given", "grouped", "plain")
"""Forms of numbers: as in the data, with commas between groups, and without commas."""
INSTRUCTIONS: Final = {
    "grouped": "Write all numbers of four digits or more with commas between groups of three digits, such as 12,345.",
    "plain": "Write all numbers without commas, such as 12345.",
}
"""Instructions appended to a task's own, by form, so that answers use the same form as the question."""
EXAMPLE: Final = (
    "A library has 12345 books and buys 2310 more. Then it sells 1200. How many books does it have in the end?",
    "It has 12345 + 2310 = 14655 books. After the sale 14655 - 1200 = 13455 are left. The answer is 13455.",
)
"""An example with numbers that span several groups, placed before the task's own examples."""
_WHOLE = re.compile(r"(?<![\w.,])\d{4,}(?=(?:\.\d+)?(?!\w|[.,]\d))")
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?!\w|,\d)")
_YEARS: Final = range(1900, 2100)
_PROBES: Final = ("1234567", "98765", "3141")


def write_digits(text: str, form: str) -> str:
    """Return a text with its numbers of four or more digits in one of the forms in `DIGITS`.

    Numbers from 1900 to 2099 may be years, so they are not grouped. Digits after a decimal point are left unchanged.

    >>> write_digits("In 1999 she had 1234567 or 12,345.50 coins.", "grouped")
    'In 1999 she had 1,234,567 or 12,345.50 coins.'
    >>> write_digits("In 1999 she had 1234567 or 12,345.50 coins.", "plain")
    'In 1999 she had 1234567 or 12345.50 coins.'
    """
    if form == "grouped":
        return _WHOLE.sub(lambda match: match[0] if int(match[0]) in _YEARS else f"{int(match[0]):,}", text)
    return _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if form == "plain" else text


def digit_groups(tokenizer: Tokenizer, number: str) -> tuple[str, ...]:
    """Return the digits in each token of a number, leaving out tokens without digits.

    The number is encoded after a letter and a space, as it would be in a sentence.
    """
    tokens = tokenizer.encode(f"x {number}", bos=False)
    digits = (re.sub(rb"\D", b"", tokenizer.token_bytes(token)).decode() for token in tokens)
    return tuple([found for found in digits if found])


def check_grouping(tokenizer: Tokenizer) -> None:
    """Raise unless commas, and only commas, make a tokenizer group digits from the right.

    Raises
    ------
    ParameterError
        If it tokenizes digits one at a time, groups from the right even without commas, or does not do so even with
        commas.
    """
    plain = [digit_groups(tokenizer, number) for number in _PROBES]
    right = [tuple(f"{int(number):,}".split(",")) for number in _PROBES]
    grouped = [digit_groups(tokenizer, f"{int(number):,}") for number in _PROBES]
    digits = " ".join(plain[0])
    if all(len(group) == 1 for groups in plain for group in groups):
        raise ParameterError(
            f"digits=grouped has no effect for this model: its tokenizer reads each digit separately ({digits}), with "
            "commas and without; leave it out"
        )
    if plain == right:
        raise ParameterError(
            f"digits=grouped has no effect for this model: its tokenizer groups digits from the right by default "
            f"({digits}); leave it out"
        )
    if grouped != right:
        raise ParameterError(
            f"digits=grouped does not make this model's tokenizer group digits in threes from the right: it reads "
            f"{int(_PROBES[0]):,} as {' '.join(grouped[0])}; leave it out"
        )
