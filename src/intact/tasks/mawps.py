"""MAWPS: three collections of word problems of one or two steps."""

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class _Mawps(Numeric):
    """MAWPS word problems (Koncel-Kedziorski et al. 2016)."""

    source = "MAWPS, via QwenLM/Qwen2.5-Math"
    licence = "MIT"

    def parse(self, row: Row, index: int) -> Item:
        """Format the target number without a trailing ``.0``."""
        return Item(str(index), row["input"].strip(), repr(row["target"]).removesuffix(".0"))


class AddSub(_Mawps):
    """MAWPS problems with one addition or subtraction."""

    name = "mawps_addsub"
    line = "word problems of additions and subtractions"
    files = {"test": "mawps/addsub.jsonl"}
    upstream = {
        "test": GitHubFile(
            "QwenLM/Qwen2.5-Math",
            "a45202bd16f1ec06f433442dc1152d0074773465",
            "evaluation/data/mawps/addsub.jsonl",
            70_911,
            sha256="2fae2c92530cdf1ac0487db9a90e68d6af84049d755c07c4486411c1d7f43e75",
        ),
    }


class MultiArith(_Mawps):
    """MAWPS problems with two steps."""

    name = "mawps_multiarith"
    line = "word problems of two steps"
    files = {"test": "mawps/multiarith.jsonl"}
    upstream = {
        "test": GitHubFile(
            "QwenLM/Qwen2.5-Math",
            "a45202bd16f1ec06f433442dc1152d0074773465",
            "evaluation/data/mawps/multiarith.jsonl",
            109_522,
            sha256="12e8295088364af21fb6591dbdbd1dda452aade57227f63d725677471ded2951",
        ),
    }


class SingleOp(_Mawps):
    """MAWPS problems with one step."""

    name = "mawps_singleop"
    line = "word problems of one step"
    files = {"test": "mawps/singleop.jsonl"}
    upstream = {
        "test": GitHubFile(
            "QwenLM/Qwen2.5-Math",
            "a45202bd16f1ec06f433442dc1152d0074773465",
            "evaluation/data/mawps/singleop.jsonl",
            75_278,
            sha256="feb012e7ed5503cdb96fd127d539692b033000e9134655acaf4f4e0091328e94",
        ),
    }
