"""miniF2F: mathematics stated for a proof assistant. The problems can be listed, but proofs cannot be checked yet."""

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
    """miniF2F in Lean 4 (Zheng et al. 2021, arXiv 2109.00110)."""

    name = "minif2f"
    line = "statements in Lean 4 to be proved; listed, not judged yet"
    source = "deepseek-ai/DeepSeek-Prover-V1.5"
    licence = "MIT"
    files = {"valid": "minif2f/minif2f.jsonl", "test": "minif2f/minif2f.jsonl"}
    upstream = dict.fromkeys(files, _FILE)
    graded = False

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Select the rows of the split; both splits share one file."""
        return [(index, row) for index, row in enumerate(rows) if row.get("split", split) == split]

    def parse(self, row: Row, index: int) -> Item:
        """Use the formal statement as the question; only a proof can answer it."""
        return Item(row["name"], row["header"] + row["informal_prefix"] + row["formal_statement"], "")

    def can_judge(self, item: Item) -> bool:
        """Return true: there is no answer to compare with."""
        return True

    def read(self, text: str) -> str | None:
        """Return the whole text: it is the proof."""
        return whole_text(text)

    def correct(self, item: Item, answer: str | None) -> bool:
        """Raise: proofs cannot be checked here.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("proofs cannot be checked yet")
