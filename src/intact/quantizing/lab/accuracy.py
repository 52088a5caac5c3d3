"""Multiple-choice accuracy of quantised models: the continuation that a model finds likeliest, teacher-forced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.evaluate.likelihood import encode_pair, likeliest, likelihood
from intact.library import load
from intact.stats.intervals import wilson
from intact.stats.paired import mcnemar
from intact.tasks.choose import Chosen, choose
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.task import Item


class ChoiceAccuracy(NamedTuple):
    """The share of items whose correct choice is the likeliest (acc of lm-evaluation-harness).

    Attributes
    ----------
    task : str
        The task's label.
    spec : str
        The full spec, or ``source``.
    right : tuple of bool
        If true, the item was answered correctly; one value per item.
    """

    task: str
    spec: str
    right: tuple[bool, ...]

    @property
    def share(self) -> float:
        """The share of items answered correctly."""
        return sum(self.right) / len(self.right)

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95% interval of the share (Wilson)."""
        return wilson(sum(self.right), len(self.right))

    def against(self, source: ChoiceAccuracy) -> tuple[float, float, float]:
        """Return the difference from the source on the same items, with its 95% interval (Bonett and Price)."""
        found = mcnemar(self.right, source.right)
        return found.difference, found.low, found.high


def choose_tasks(names: Sequence[str]) -> list[Chosen]:
    """Return tasks by name.

    Raises
    ------
    ParameterError
        If a task does not exist, or does not compare the likelihoods of choices.
    """
    found = [choose(name) for name in names]
    for chosen in found:
        if not isinstance(chosen.task, LikelihoodTask):
            raise ParameterError(
                f"{chosen.label} generates text; the lab needs multiple-choice tasks, such as arc_easy_likelihood"
            )
    return found


def right_items(
    folder: Path,
    chosen: Chosen,
    items: Sequence[Item],
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> list[bool]:
    """For each item, return true if the model gives the correct choice the highest probability in FP32 arithmetic."""
    task = chosen.task
    assert isinstance(task, LikelihoodTask)
    found = []
    with load(folder, "fp32", threads) as model:
        for done, item in enumerate(items):
            progress(done, len(items))
            pairs = [encode_pair(model.tokenizer, task.context(item), f" {choice}") for choice in item.data["choices"]]
            best = likeliest([likelihood(model, tokens, start) for tokens, start in pairs])
            found.append(best == int(item.answer))
    return found
