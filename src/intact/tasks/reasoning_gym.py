"""Reasoning Gym: about a hundred kinds of problems, generated from any seed, each kind with its own judge.

Some of these judges evaluate an answer as Python, and a hostile answer can make some run arbitrarily long. They run in
a process with limits, which rejects answers that do more than calculate (`intact.tasks.score.gym_worker`). Items are
generated there too: some depend on the order of sets or on Python's shared random generator, and the process fixes
both.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

import intact.tasks.score
from intact._base.errors import ParameterError
from intact._base.process import LimitReached, WorkerFailure, WorkerProcess
from intact._base.suggest import unknown_name
from intact.tasks.generated import Generated
from intact.tasks.score import answers, numbers
from intact.tasks.score.judging import FILES, LIMIT_REACHED, MEMORY, SECONDS, ask, note
from intact.tasks.score.latex import plain
from intact.tasks.task import Item

DATASET = "gsm_symbolic"
MAKING: Final = 600
"""CPU time limit for generating an item, in seconds; some take several."""

_gym: Final = WorkerProcess(
    Path(intact.tasks.score.__path__[0], "gym_worker.py"),
    "reasoning-gym",
    seconds=SECONDS,
    memory=MEMORY,
    limits=FILES,
)


class ReasoningGym(Generated):
    """Reasoning Gym (Stojanovski et al. 2025, arXiv 2505.24760).

    An answer is right if the dataset's own judge gives it full marks.
    """

    name = "reasoning_gym"
    line = "problems of a hundred kinds (dataset=gsm_symbolic), made from any seed"
    source = "reasoning-gym"
    licence = "Apache-2.0"
    instruction = "Please reason step by step, and put your final answer within \\boxed{}."
    shots = (
        ("What is 12 + 30 - 7?", "12 + 30 = 42 and 42 - 7 = 35. The answer is 35."),
        ("Spell 'stone' backwards.", "The letters are s, t, o, n, e; backwards e, n, o, t, s. The answer is enots."),
    )
    extra = "reasoning-gym"
    libraries = ("reasoning-gym", "sympy")

    def __init__(self, *, dataset: str = DATASET, seed: int = 0, size: int = 100) -> None:
        super().__init__(seed=seed, size=size)
        self.dataset = dataset

    def __getstate__(self) -> dict[str, Any]:
        """Omit the cached entries, which are regenerated where they are needed."""
        return {name: value for name, value in vars(self).items() if name != "_entries"}

    @cached_property
    def _entries(self) -> dict[int, dict[str, str]]:
        """The entries generated so far, as returned by `intact.tasks.score.gym_worker.make`."""
        return {}

    @property
    def _settings(self) -> tuple[str, int, int]:
        return self.dataset, self.seed, self.size

    def _entry(self, index: int) -> dict[str, str]:
        if index in self._entries:
            return self._entries[index]
        try:
            self._entries[index] = _gym.ask("make", self._settings, index, seconds=MAKING)
        except LimitReached as error:
            raise ParameterError(f"item {index} of reasoning-gym's {self.dataset} cannot be made: it {error}") from None
        except WorkerFailure as error:
            known = _gym.ask("data_sets")
            if self.dataset not in known:
                problem = f"reasoning-gym has no data set {self.dataset!r:.60}"
                raise ParameterError(unknown_name(problem, self.dataset, known, "it has")) from None
            raise ParameterError(f"reasoning-gym's {self.dataset} cannot make item {index}: {error}") from None
        return self._entries[index]

    @property
    def settings(self) -> dict[str, Any]:
        """The dataset and the version of reasoning-gym, whose judges decide."""
        from importlib.metadata import version

        return {"reasoning-gym": version("reasoning-gym"), "dataset": self.dataset}

    def make(self, index: int) -> Item:
        """Make an item from an entry of the dataset."""
        entry = self._entry(index)
        return Item(f"{self.dataset}-{self.seed}-{index}", entry["question"].strip(), entry["answer"])

    def read(self, text: str) -> str | None:
        """Return the contents of the last box, or the rest of the line after "the answer is".

        Numbers are returned in canonical form.
        """
        text_answer = answers.boxed(text)
        if text_answer is None and "\\boxed" not in text:
            text_answer = text.rpartition("nswer is")[2].strip(" :").partition("\n")[0] if "nswer is" in text else None
        if text_answer is None:
            return None
        value = numbers.as_number(plain(text_answer))
        return (numbers.canonical(value) if value is not None else text_answer.strip().rstrip(".").strip()) or None

    def can_judge(self, item: Item) -> bool:
        """Return true: the dataset's own judge decides."""
        return True

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the judge gives full marks.

        Answers that the judge must not evaluate, or that reach a limit, are wrong.
        """
        index = int(item.id.rpartition("-")[2])
        if answer is None:
            return False
        found = ask(_gym, "full_marks", self._settings, self._entry(index)["entry"], answer)
        if found is LIMIT_REACHED:
            note(answer)
        return found is True
