"""MATH-500: competition problems whose answers are expressions."""

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.data import Row
from intact.tasks.score import answers
from intact.tasks.task import Item, Task


class Math500(Task):
    """MATH-500: the 500 problems from MATH (Hendrycks et al. 2021) that Lightman et al. 2023 selected.

    Sources: arXiv 2103.03874 and arXiv 2305.20050.
    """

    name = "math500"
    line = "competition problems whose answers are expressions"
    source = "MATH (Hendrycks), the 500-problem split"
    licence = "MIT"
    uses = ("reader expression",)
    files = {"test": "math500/test.jsonl"}
    upstream = {
        "test": GitHubFile(
            "jincan333/MAS-TTS",
            "ae8f961818d47860cfbde256b72cbb5c326e6b85",
            "data/math500/test.jsonl",
            420_439,
            sha256="34943b1a3660c7dc63c7bc89b5ecefc0ffdeeee32501c2ad161cdec34d7a4b4c",
        ),
    }
    instruction = "Please reason step by step, and put your final answer within \\boxed{}."
    shots = (
        (
            "What is the slope of the line $3x + 6y = 5$?",
            (
                "Solve for $y$: $y = -\\frac{3}{6}x + \\frac{5}{6}$. "
                "The slope is $-\\frac{3}{6} = \\boxed{-\\frac{1}{2}}$."
            ),
        ),
        (
            "How many ways are there to choose 2 of 7 books?",
            "The order does not matter, so there are $\\binom{7}{2} = \\frac{7 \\cdot 6}{2} = \\boxed{21}$ ways.",
        ),
        (
            "Find all $x$ with $x^2 - 5x + 6 \\le 0$, in interval notation.",
            "The left side factors as $(x-2)(x-3)$, which is at most 0 between its roots: $\\boxed{[2,3]}$.",
        ),
        (
            "Simplify $\\sqrt{48} + \\sqrt{3}$.",
            "Since $\\sqrt{48} = 4\\sqrt{3}$, the sum is $\\boxed{5\\sqrt{3}}$.",
        ),
    )

    def parse(self, row: Row, index: int) -> Item:
        """Keep the subject and level as data for methods."""
        return Item(str(index), row["problem"], row["answer"], {"subject": row["subject"], "level": row["level"]})

    def read(self, text: str) -> str | None:
        """Return the canonical form of the expression in the last box."""
        return answers.expression(text)

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the same as `read`, which accepts only answers in a box."""
        return self.read(text)

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the two are mathematically equal."""
        return answer is not None and answers.same(item.answer, answer)
