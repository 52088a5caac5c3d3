"""Game of 24: combine four numbers to make 24."""

from __future__ import annotations

import re

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.data import Row
from intact.tasks.score import answers
from intact.tasks.score.arithmetic import evaluate
from intact.tasks.score.latex import plain
from intact.tasks.task import Item, Task

_FILE = GitHubFile(
    "princeton-nlp/tree-of-thought-llm",
    "ab400345c5ea39d28ea6d7d3be0e417b11113c87",
    "src/tot/data/24/24.csv",
    48_235,
    sha256="b9f12b3e36d987a3c714c4cef17d89a137d7c59da26532fcfb93b4821d8111b5",
)
_EXPRESSION = re.compile(r"[\d(][\d\s()+\-*/]*[\d)]")


class Game24(Task):
    """Game of 24 as in Yao et al. 2023, arXiv 2305.10601; their test puzzles are those ranked 901 to 1,000."""

    name = "game24"
    line = "make 24 of four numbers with + - * /"
    source = "princeton-nlp/tree-of-thought-llm"
    licence = "MIT"
    uses = ("equations",)
    files = {"test": "game24/24.csv", "all": "game24/24.csv"}
    upstream = dict.fromkeys(files, _FILE)
    instruction = (
        "Use each of the four numbers exactly once, with + - * / and brackets, to make 24. "
        'End with a line "Answer: " and the expression.'
    )
    shots = (
        ("4 4 6 8", "4 + 8 = 12, 6 - 4 = 2, 12 * 2 = 24. Answer: (4 + 8) * (6 - 4)"),
        ("2 9 10 12", "12 * 2 = 24, 10 - 9 = 1, 24 * 1 = 24. Answer: 2 * 12 * (10 - 9)"),
        ("1 4 8 8", "8 / 4 = 2, 1 + 2 = 3, 3 * 8 = 24. Answer: (1 + 8 / 4) * 8"),
    )

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Select the test puzzles, or all puzzles."""
        numbered = list(enumerate(rows))
        return numbered[900:1000] if split == "test" else numbered

    def parse(self, row: Row, index: int) -> Item:
        """Set the answer to 24; the solution is an expression that reaches it."""
        return Item(str(index), row["Puzzles"], "24")

    def read(self, text: str) -> str | None:
        """Return the last expression after "Answer:", in a box, or anywhere, without spaces and without "= 24"."""
        inside = answers.boxed(text)
        if inside is None and "\\boxed" in text:
            return None
        answer = inside or text.rpartition("nswer:")[2].strip().partition("\n")[0]
        found = _EXPRESSION.findall(plain(answer).partition("=")[0]) or _EXPRESSION.findall(
            plain(text).partition("=")[0]
        )
        return "".join(found[-1].split()) if found else None

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the expression uses each number once and equals 24 exactly."""
        if answer is None or evaluate(answer) != 24:
            return False
        return sorted(re.findall(r"\d+", answer)) == sorted(item.question.split())
