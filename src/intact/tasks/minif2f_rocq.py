"""miniF2F for Rocq: statements to be proved, with proofs checked by Rocq itself."""

from __future__ import annotations

import re
from typing import Final

from intact._base.errors import NotInstalledError, UndecidedError
from intact.tasks.data import Row
from intact.tasks.task import Item, Task
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.base import AssistantLimits

HEADER: Final = "Require Import Lia Lra Psatz Field Ring.\n"
"""Imports for automatic tactics.

They precede the statement's own header, so the statement's notations take precedence.
"""
LIMITS: Final = AssistantLimits(120.0)
_ENDING: Final = re.compile(r"\s*\bProof\.\s*(?:(?:Admitted|Abort)\.)?\s*$")
_BLOCK: Final = re.compile(r"```[^\n]*\n(.*?)(?:```|$)", re.DOTALL)


class MiniF2FRocq(Task):
    """miniF2F (Zheng et al. 2021, arXiv 2109.00110) with the Rocq statements of LLM4Rocq."""

    name = "minif2f_rocq"
    line = "statements in Rocq to be proved, judged by Rocq"
    source = "LLM4Rocq/miniF2F-rocq"
    licence = "MIT"
    files = {"valid": "minif2f_rocq/valid.jsonl", "test": "minif2f_rocq/test_first_half.jsonl"}
    instruction = "Write the tactics of its proof, in a block of code."

    def parse(self, row: Row, index: int) -> Item:
        """Use the statement as the question; the answer is a proof."""
        statement = _ENDING.sub("", row["statement"].replace("From Stdlib", "From Coq")).strip()
        return Item(row["name"], f"```coq\n{HEADER}{statement}\n```", "", secret={"statement": statement})

    def can_judge(self, item: Item) -> bool:
        """Return true: the judge has no reference answer to compare with."""
        return True

    def read(self, text: str) -> str | None:
        """Return the tactics in the last code block of the text, or in the whole text if it has no code block."""
        rocq = find_assistant("rocq")
        blocks = _BLOCK.findall(text)
        return rocq.join(rocq.split(blocks[-1] if blocks else text)) or None

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if Rocq accepts the proof, and `HEADER` does not change the statement.

        Raises
        ------
        NotInstalledError
            If Rocq is not installed.
        UndecidedError
            If the check reached a limit.
        """
        rocq, statement = find_assistant("rocq"), item.secret.get("statement")
        if (reason := rocq.missing()) is not None:
            raise NotInstalledError(reason)
        if answer is None or statement is None:
            return False
        state = rocq.run(HEADER + statement, (answer,), LIMITS)
        if state.kind == "limit":
            raise UndecidedError(f"Rocq: {state.message}")
        if state.kind != "proved":
            return False
        return rocq.open(statement, LIMITS).goals == rocq.open(HEADER + statement, LIMITS).goals
