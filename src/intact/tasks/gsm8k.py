"""GSM8K: grade-school word problems of two to eight steps."""

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class GSM8K(Numeric):
    """GSM8K (Cobbe et al. 2021, arXiv 2110.14168)."""

    name = "gsm8k"
    line = "grade-school word problems of two to eight steps"
    source = "openai/grade-school-math"
    licence = "MIT"
    files = {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"}
    upstream = {
        "test": GitHubFile(
            "openai/grade-school-math",
            "3101c7d5072418e28b9008a6636bde82a006892c",
            "grade_school_math/data/test.jsonl",
            749_738,
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        ),
        "train": GitHubFile(
            "openai/grade-school-math",
            "3101c7d5072418e28b9008a6636bde82a006892c",
            "grade_school_math/data/train.jsonl",
            4_166_206,
            sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
        ),
    }

    def parse(self, row: Row, index: int) -> Item:
        """Take the number after the solution's last ``####`` as the answer."""
        return Item(str(index), row["question"], row["answer"].split("####")[1].strip().replace(",", ""))
