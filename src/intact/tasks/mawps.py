"""MAWPS: three collections of word problems of one or two steps."""

from intact.tasks.data import Row
from intact.tasks.numeric import Numeric
from intact.tasks.task import Item


class _Mawps(Numeric):
    """Koncel-Kedziorski et al. 2016."""

    source = "MAWPS, via QwenLM/Qwen2.5-Math"
    licence = "MIT"

    def parse(self, row: Row, index: int) -> Item:
        """The target is a number; whole ones lose their ``.0``."""
        return Item(str(index), row["input"].strip(), repr(row["target"]).removesuffix(".0"))


class AddSub(_Mawps):
    """Additions and subtractions."""

    name = "mawps_addsub"
    line = "word problems of additions and subtractions"
    files = {"test": "mawps/addsub.jsonl"}


class MultiArith(_Mawps):
    """Two steps."""

    name = "mawps_multiarith"
    line = "word problems of two steps"
    files = {"test": "mawps/multiarith.jsonl"}


class SingleOp(_Mawps):
    """One step."""

    name = "mawps_singleop"
    line = "word problems of one step"
    files = {"test": "mawps/singleop.jsonl"}
