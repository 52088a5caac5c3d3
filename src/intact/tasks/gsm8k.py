"""GSM8K: grade-school word problems of two to eight steps."""

from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class GSM8K(Numeric):
    """Cobbe et al. 2021, arXiv 2110.14168."""

    name = "gsm8k"
    line = "grade-school word problems of two to eight steps"
    source = "openai/grade-school-math"
    licence = "MIT"
    files = {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"}

    def parse(self, row: Row, index: int) -> Item:
        """The answer stands behind the solution's last ``####``."""
        return Item(str(index), row["question"], row["answer"].split("####")[1].strip().replace(",", ""))
