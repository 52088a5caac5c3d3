"""miniF2F: mathematics stated for a proof assistant. The statements are listed; nothing here can check proofs yet."""

from intact.checkpoints.download.github import GitHubFile
from intact.reason.problem import whole_text
from intact.tasks.data import Row
from intact.tasks.task import Item, Task

_FILE = GitHubFile(
    "deepseek-ai/DeepSeek-Prover-V1.5",
    "2c4ba9119eef74d0d611f494261b2c5bae98c69a",
    "datasets/minif2f.jsonl",
    320_856,
    sha256="d6654c88476ff14db19d57dea25bd955a240525fb52171e460f89d98f83d7dd5",
)


class MiniF2F(Task):
    """Zheng et al. 2021, arXiv 2109.00110; the statements in Lean 4."""

    name = "minif2f"
    line = "statements in Lean 4 to be proved; listed, not judged yet"
    source = "deepseek-ai/DeepSeek-Prover-V1.5"
    licence = "MIT"
    files = {"valid": "minif2f/minif2f.jsonl", "test": "minif2f/minif2f.jsonl"}
    upstream = dict.fromkeys(files, _FILE)
    graded = False

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Both splits are in one file."""
        return [(index, row) for index, row in enumerate(rows) if row.get("split", split) == split]

    def parse(self, row: Row, index: int) -> Item:
        """The formal statement is the question; there is no answer but a proof."""
        return Item(row["name"], row["header"] + row["informal_prefix"] + row["formal_statement"], "")

    def can_judge(self, item: Item) -> bool:
        """Return true: nothing is compared."""
        return True

    def read(self, text: str) -> str | None:
        """A proof is a text."""
        return whole_text(text)

    def correct(self, item: Item, answer: str | None) -> bool:
        """Raise: nothing here can judge a proof.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("proofs cannot be checked here yet")
