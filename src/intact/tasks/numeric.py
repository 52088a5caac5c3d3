"""Tasks whose answers are numbers."""

from __future__ import annotations

from typing import ClassVar

from intact.tasks.score import answers, numbers
from intact.tasks.task import Item, Task

SHOTS = (
    (
        "A baker makes 14 loaves in the morning and twice as many in the afternoon. She sells 35. How many are left?",
        (
            "In the afternoon she makes 14 * 2 = 28 loaves. Together that is 14 + 28 = 42 loaves. "
            "After the sale 42 - 35 = 7 are left. The answer is 7."
        ),
    ),
    (
        "A ticket costs $6.50 and children pay half. What do 2 adults and 3 children pay?",
        (
            "A child pays 6.50 / 2 = 3.25 dollars. The adults pay 2 * 6.50 = 13 dollars, the children 3 * 3.25 = 9.75 "
            "dollars. Together they pay 13 + 9.75 = 22.75 dollars. The answer is 22.75."
        ),
    ),
    (
        "Tom reads 12 pages a day. His book has 300 pages and he has read 60. How many more days does he need?",
        "There are 300 - 60 = 240 pages left. At 12 pages a day he needs 240 / 12 = 20 days. The answer is 20.",
    ),
    (
        "A tank holds 80 liters and is 3/4 full. It loses 5 liters an hour. How many liters remain after 4 hours?",
        (
            "At first there are 80 * 3/4 = 60 liters. In 4 hours it loses 4 * 5 = 20 liters, so 60 - 20 = 40 liters "
            "remain. The answer is 40."
        ),
    ),
)


class Numeric(Task):
    """A task whose answers are numbers, compared at the precision given in the data."""

    instruction = "Please reason step by step, and put the final number within \\boxed{}."
    shots: ClassVar[tuple[tuple[str, str], ...]] = SHOTS
    uses = ("reader number",)

    def read(self, text: str) -> str | None:
        """Return the number that a completion gives as its answer."""
        return answers.number(text)

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the number in a box, after ``####`` or after "the answer is".

        The last number of the text is not a fallback.
        """
        return answers.stated_number(text)

    def can_judge(self, item: Item) -> bool:
        """Return true if the answer is a number."""
        return numbers.as_number(item.answer) is not None

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the numbers are equal.

        If the right answer has more than three decimals, a relative error of 1 in 100,000 is allowed.
        """
        given = None if answer is None else numbers.as_number(answer)
        right = numbers.as_number(item.answer)
        if given is None or right is None:
            return False
        rounded = len(item.answer.partition(".")[2]) > 3
        return given == right or (rounded and abs(given - right) * 100_000 <= abs(right))
