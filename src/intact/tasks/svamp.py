"""SVAMP: word problems of one step, varied so that shallow reading fails."""

from fractions import Fraction

from intact.score import numbers
from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class SVAMP(Numeric):
    """Patel et al. 2021, arXiv 2103.07191."""

    name = "svamp"
    line = "word problems of one step, varied so that shallow reading fails"
    source = "SVAMP, via QwenLM/Qwen2.5-Math"
    licence = "MIT"
    files = {"test": "svamp/test.jsonl"}

    def parse(self, row: Row, index: int) -> Item:
        """The question is the story's last sentence."""
        body = row["Body"].strip()
        story = body if body.endswith((".", "?", "!")) else f"{body}."
        answer = numbers.canonical(Fraction(repr(row["Answer"])))
        return Item(row["ID"], f"{story} {row['Question'].strip()}", answer)
