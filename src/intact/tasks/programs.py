"""Tasks whose answers are Python functions, judged by running tests in the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from intact.checkpoints.download.github import GitHubFile
from intact.reason.problem import Prompt
from intact.tasks.data import Row
from intact.tasks.score import code
from intact.tasks.task import Item, Task


class Programs(Task):
    """A task whose answers are programs.

    An item's data contain `before` (the function header and everything above it), the function's name `entry`, and the
    public `tests`.

    Attributes
    ----------
    longer : mapping
        Factors for the default step and time limits (`code.TESTING`), by the row's own name, for items whose reference
        solution takes more than a tenth of the default.
    """

    longer: ClassVar[Mapping[str, int]] = {}
    stops = ("\nclass ", "\ndef ", "\nif __name__", "\nprint(", "\n```")
    uses = ("programs",)

    def read(self, text: str) -> str | None:
        """Return the program in a completion, in canonical form."""
        found = code.extract(text)
        return None if found is None else code.canonical(found)

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the complete program in an answer, prepending the function header if the answer only continues it."""
        found = code.extract(text, item.data["entry"])
        return None if found is None else code.canonical(code.complete(found, item.data["before"], item.data["entry"]))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The limits that can decide a verdict: on steps, memory and output."""
        limits = code.TESTING
        return {
            "steps": limits.steps, "longer": dict(self.longer), "memory": limits.memory, "output": limits.output,
        }  # fmt: skip

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the program passes the hidden tests.

        Raises
        ------
        SandboxError
            If no sandbox is available to confine the program.
        UndecidedError
            If the program timed out before it reached the step limit.
        """
        limits = code.TESTING.times(self.longer.get(item.id.rpartition("/")[2], 1))
        return answer is not None and code.passes(answer, item.secret["tests"], limits)


class HumanEval(Programs):
    """HumanEval (Chen et al. 2021, arXiv 2107.03374). The public tests are the docstring's examples."""

    name = "humaneval"
    line = "Python functions from their docstrings"
    source = "openai/human-eval"
    licence = "MIT"
    files = {"test": "humaneval/HumanEval.jsonl"}
    upstream = {
        "test": GitHubFile(
            "openai/human-eval",
            "6d43fb980f9fee3c892a914eda09951f772ad10d",
            "data/HumanEval.jsonl.gz",
            44_877,
            sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        ),
    }
    longer = {"75": 5}
    instruction = "Write the whole function in one Python code block."

    def parse(self, row: Row, index: int) -> Item:
        """Use the prompt, which is the function header with its docstring, as the question."""
        prompt, entry = row["prompt"], row["entry_point"]
        public = {"before": prompt, "entry": entry, "tests": code.doctests(prompt)}
        tests = f"{row['test']}\ncheck({entry})"
        return Item(
            row["task_id"].partition("/")[2], prompt, row["canonical_solution"], public, secret={"tests": tests}
        )

    def chat(self, item: Item) -> Prompt:
        """Return the prompt that asks for the whole function."""
        return (("user", f"Complete this function:\n\n```python\n{item.question}```\n\n{self.instruction}"),)

    def base(self, item: Item, shots: int | None = None) -> Prompt:
        """Return the function header itself, to be continued."""
        return item.question


class MBPP(Programs):
    """The sanitised part of MBPP (Austin et al. 2021, arXiv 2108.07732). The first of three tests is public."""

    name = "mbpp"
    line = "small Python functions from a sentence and a test"
    source = "MBPP sanitised"
    licence = "CC BY 4.0"
    files = {"test": "mbpp_sanitized/test.jsonl"}
    upstream = {
        "test": GitHubFile(
            "jincan333/MAS-TTS",
            "ae8f961818d47860cfbde256b72cbb5c326e6b85",
            "data/mbpp_sanitized/test.jsonl",
            199_338,
            sha256="7ccc1699376d70ffc39e6fd4aad7122c90306aad64a75ed3b9a5b4926ec780cc",
        ),
    }
    longer = {"64": 100}
    instruction = "Write the function in one Python code block."

    def parse(self, row: Row, index: int) -> Item:
        """Take the function's name from the header of the reference solution."""
        head = row["code_header"].strip()
        found = re.search(r"def\s+(\w+)", head)
        if found is None:
            raise ValueError(f"no function in {head!r}")
        imports = "".join(f"{line}\n" for line in row["test_imports"])
        example = row["test_list"][0]
        before = f'{head}\n    """{row["prompt"].strip()}\n\n    {example}\n    """\n'
        public = {"before": before, "entry": found[1], "shown": example, "tests": [imports + row["test_list"][0]]}
        tests = imports + "\n".join(row["test_list"])
        return Item(str(index), row["prompt"].strip(), row["code"], public, secret={"tests": tests})

    def chat(self, item: Item) -> Prompt:
        """Return a prompt with the description and the public test, which shows the function's name and arguments."""
        return (("user", f"{item.question}\n\nIt must pass this test:\n{item.data['shown']}\n\n{self.instruction}"),)

    def base(self, item: Item, shots: int | None = None) -> Prompt:
        """Return the function header with the description and the test as its docstring, to be continued."""
        before: str = item.data["before"]
        return before
