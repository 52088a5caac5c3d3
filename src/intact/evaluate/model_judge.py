"""Verdicts on answers by an exact model: the same answer gets the same verdict, whatever else is judged with it.

A verdict is a label that a rubric allows, written greedily under a constraint. Pairs are judged in both orders; a
verdict that depends on the order is a tie (arXiv 2306.05685, section 3.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.engine.completion import Completion
from intact.library import Model
from intact.receipts.document import Receipt
from intact.text import ChatPrompt
from intact.text.template import DEFAULT_NOW

TIE: Final = "tie"
FIRST, SECOND = "first", "second"
MAX_TOKENS: Final = 32
"""Maximum number of tokens of a label."""
BATCH: Final = 64
"""Number of answers that are judged together."""
_FIELD: Final = re.compile(r"\{(question|answer|reference|first|second|labels)\}")


@dataclass(frozen=True)
class Rubric:
    """A question to the judge, and the labels that it may answer with.

    Attributes
    ----------
    template : str
        The question, with ``{question}``, ``{reference}`` and ``{labels}``; and ``{answer}``, or for pairs ``{first}``
        and ``{second}``. Other braces are text.
    labels : tuple of str
        The labels, from best to worst; for pairs, the one for the first answer and the one for the second.

    Raises
    ------
    ParameterError
        If the template has no place for answers, or there are fewer than two different labels.
    """

    template: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        fields = set(_FIELD.findall(self.template))
        if ("answer" in fields) == ({"first", "second"} <= fields):
            raise ParameterError("the rubric must have a place for {answer}, or for both {first} and {second}")
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels) or not all(self.labels):
            raise ParameterError(f"a rubric needs at least two different labels, got {', '.join(self.labels)!r:.100}")
        if self.is_pair and len(self.labels) != 2:
            raise ParameterError(f"a rubric of pairs needs two labels, got {', '.join(self.labels)!r:.100}")

    @property
    def is_pair(self) -> bool:
        """If true, it compares two answers."""
        return "{answer}" not in self.template

    @property
    def regex(self) -> str:
        """The regular expression that verdicts match."""
        return "|".join(map(re.escape, self.labels))

    @property
    def values(self) -> dict[str, float]:
        """The value of each label: 1 for the best, 0 for the worst, and equal steps between."""
        last = len(self.labels) - 1
        return {label: (last - i) / last for i, label in enumerate(self.labels)}

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling parameters of a verdict."""
        return {"regex": self.regex, "temperature": 0.0, "max_tokens": MAX_TOKENS}

    def fill(self, fields: Mapping[str, str]) -> str:
        """Return the question about an answer or a pair; missing fields are empty."""
        given = {"labels": " or ".join(self.labels), **fields}
        return _FIELD.sub(lambda found: given.get(found[1], ""), self.template)


SINGLE: Final = Rubric(
    "Judge whether an answer to a question is correct.\n\nQuestion: {question}\n\nReference answer: {reference}\n\n"
    "Answer to judge: {answer}\n\nIs the answer to judge correct? Reply with one word: {labels}.",
    ("correct", "incorrect"),
)
"""The default rubric of single answers."""
PAIR: Final = Rubric(
    "Compare two answers to a question.\n\nQuestion: {question}\n\nReference answer: {reference}\n\n"
    "Answer A: {first}\n\nAnswer B: {second}\n\nWhich answer is better? Reply with one letter: {labels}.",
    ("A", "B"),
)
"""The default rubric of pairs."""


class JudgedItem(NamedTuple):
    """An answer to judge, or two answers to compare.

    Attributes
    ----------
    fields : mapping of str to str
        `question`, `reference`, and `answer`, or `first` and `second`.
    gold : str or None
        The right verdict, if known: a label; for pairs 'first', 'second' or 'tie'.
    """

    id: str
    fields: Mapping[str, str]
    gold: str | None = None


class Judgement(NamedTuple):
    """A verdict.

    Attributes
    ----------
    verdict : str
        A label; for pairs 'first', 'second' or 'tie'.
    labels : tuple of str
        The labels that the model wrote: one, or for pairs one for each order.
    receipts : tuple of Receipt
        The receipts of these labels, if they were requested.
    """

    id: str
    verdict: str
    labels: tuple[str, ...]
    receipts: tuple[Receipt, ...] = ()


class ModelJudge:
    """A judge that never moves.

    Parameters
    ----------
    model : Model
        The model that judges. One without a chat template gets the question as a text.
    rubric : Rubric
        The question and its labels.
    receipt : bool
        If true, verdicts have receipts.
    """

    def __init__(self, model: Model, rubric: Rubric, receipt: bool = False) -> None:
        self.model, self.rubric, self._receipt = model, rubric, receipt

    def judge(
        self, items: Sequence[JudgedItem], batch: int = BATCH, done: Callable[[int], None] = lambda _: None
    ) -> list[Judgement]:
        """Return the verdicts on items, in order.

        Parameters
        ----------
        batch : int
            Number of items that are judged together; it changes no verdict.
        done : callable
            Called with the number of items judged since the last call.

        Raises
        ------
        ParameterError
            If an item is too long for the model; the message names it.
        """
        found: list[Judgement] = []
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            found += self._judge(part)
            done(len(part))
        return found

    def _judge(self, items: Sequence[JudgedItem]) -> Iterator[Judgement]:
        """Yield the verdicts on items that are judged together."""
        prompts = [prompt for item in items for prompt in self._prompts(item)]
        written = self._ask(prompts, [item.id for item in items for _ in self._orders])
        each = len(self._orders)
        for i, item in enumerate(items):
            own = written[i * each : (i + 1) * each]
            labels = tuple(completion.text for completion in own)
            receipts = tuple(completion.receipt for completion in own if completion.receipt is not None)
            yield Judgement(item.id, self._verdict(labels), labels, receipts)

    @property
    def _orders(self) -> tuple[bool, ...]:
        """The orders in which answers are shown: as given, and for pairs also exchanged."""
        return (False, True) if self.rubric.is_pair else (False,)

    def _prompts(self, item: JudgedItem) -> Iterator[str]:
        for exchanged in self._orders:
            fields = dict(item.fields)
            if exchanged:
                fields |= {FIRST: item.fields[SECOND], SECOND: item.fields[FIRST]}
            yield self.rubric.fill(fields)

    def _ask(self, prompts: Sequence[str], ids: Sequence[str]) -> list[Completion]:
        """Return the labels for questions."""
        chat = self.model.tokenizer.chat_template is not None
        requests: list[Any] = [
            ChatPrompt([{"role": "user", "content": text}], now=DEFAULT_NOW) if chat else f"{text}\nReply: "
            for text in prompts
        ]
        try:
            completions = self.model.generate(requests, receipt=self._receipt, **self.rubric.sampling)
        except ParameterError as error:
            number = re.match(r"prompt (\d+): ", str(error))
            place = ids[int(number[1])] if number else ids[0]
            raise ParameterError(f"{place!r:.60} cannot be judged: {error}") from error
        found = [several[0] for several in completions]
        for name, completion in zip(ids, found, strict=True):
            if completion.text not in self.rubric.labels:
                raise ParameterError(f"{name!r:.60} cannot be judged: no room for a label ({completion.finish})")
        return found

    def _verdict(self, labels: tuple[str, ...]) -> str:
        """Return the verdict of the labels of all orders."""
        if not self.rubric.is_pair:
            return labels[0]
        winners = [FIRST if label == self.rubric.labels[0] else SECOND for label in labels]
        winners[1] = SECOND if winners[1] == FIRST else FIRST
        return winners[0] if winners[0] == winners[1] else TIE


def null_control(judge: ModelJudge, items: Sequence[JudgedItem], verdicts: Sequence[Judgement]) -> dict[str, int]:
    """Judge the same items under other conditions; return how many verdicts changed under each of them.

    The conditions are: each item alone; in reverse order; and among strangers, which are the same items with their
    words reversed.
    """
    known = {one.id: one.labels for one in verdicts}

    def changed(found: Sequence[Judgement]) -> int:
        return sum(known[one.id] != one.labels for one in found)

    others = [
        JudgedItem(f"stranger {i}", {name: " ".join(text.split()[::-1]) for name, text in item.fields.items()})
        for i, item in enumerate(items)
    ]
    mixed = [one for pair in zip(others, items, strict=True) for one in pair]
    return {
        "alone": changed(judge.judge(items, batch=1)),
        "in reverse order": changed(judge.judge(items[::-1])),
        "among strangers": changed([one for one in judge.judge(mixed, batch=2 * BATCH) if one.id in known]),
    }
