"""SVAMP: one-step word problems, varied so that shallow reading fails."""

from fractions import Fraction

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.score import numbers
from intact.tasks.task import Item


class SVAMP(Numeric):
    """SVAMP (Patel et al. 2021, arXiv 2103.07191)."""

    name = "svamp"
    line = "word problems of one step, varied so that shallow reading fails"
    source = "SVAMP, via QwenLM/Qwen2.5-Math"
    licence = "MIT"
    files = {"test": "svamp/test.jsonl"}
    upstream = {
        "test": GitHubFile(
            "QwenLM/Qwen2.5-Math",
            "a45202bd16f1ec06f433442dc1152d0074773465",
            "evaluation/data/svamp/test.jsonl",
            280_029,
            sha256="d0826ff1264f3860e46fc4e71db9e31d2d188960db87090e22677f9493e67a0d",
        ),
    }

    def parse(self, row: Row, index: int) -> Item:
        """Append the question to the story."""
        body = row["Body"].strip()
        story = body if body.endswith((".", "?", "!")) else f"{body}."
        answer = numbers.canonical(Fraction(repr(row["Answer"])))
        return Item(row["ID"], f"{story} {row['Question'].strip()}", answer)
