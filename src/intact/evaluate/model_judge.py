"""Verdicts on answers by an exact model: the same answer gets the same verdict, whatever else is judged with it.

The score of a label is its log-probability as the reply to a rubric's question; the label with the highest score is the
verdict. Pairs are asked about in both orders and the scores are added, so that a preference for the first or the second
place cancels out (arXiv 2306.05685, section 3.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.engine.completion import Completion
from intact.library import Model
from intact.numerics.sampling import LOGPROB_SCALE
from intact.receipts.document import Receipt
from intact.text import ChatPrompt
from intact.text.template import DEFAULT_NOW

TIE: Final = "tie"
FIRST, SECOND = "first", "second"
MAX_TOKENS: Final = 32
"""Maximum number of tokens of a label."""
LARGEST_CUT: Final = 1000
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
    scores : tuple of tuple of int
        For each order in which answers were shown, the score of each label: nats times 2^24.
    receipts : tuple of Receipt
        The receipts of the labels with their log-probabilities, in the same order, if they were requested.
    """

    id: str
    verdict: str
    scores: tuple[tuple[int, ...], ...]
    receipts: tuple[Receipt, ...] = ()

    @property
    def margin(self) -> int:
        """The score of the first label, or of a pair's first answer, minus that of the last: nats times 2^24."""
        return sum((row[0] - row[-1]) * (-1) ** order for order, row in enumerate(self.scores))


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
    cut : float
        For a rubric of two labels and single answers: the margin in nats above which the first label is the verdict.

    Raises
    ------
    ParameterError
        If there is a cut for other rubrics.
    """

    def __init__(self, model: Model, rubric: Rubric, receipt: bool = False, cut: float = 0.0) -> None:
        check_cut(rubric, cut)
        self.model, self.rubric, self._receipt = model, rubric, receipt
        self._cut = round(cut * LOGPROB_SCALE)

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
        orders = len(prompts) // len(items)
        ids = [item.id for item in items for _ in range(orders)]
        columns = [self._ask(prompts, ids, label) for label in self.rubric.labels]
        for i, item in enumerate(items):
            rows = [[column[place] for column in columns] for place in range(i * orders, (i + 1) * orders)]
            scores = tuple(tuple(sum(one.logprobs or ()) for one in row) for row in rows)
            receipts = tuple(one.receipt for row in rows for one in row if one.receipt is not None)
            found = Judgement(item.id, "", scores, receipts)
            yield found._replace(verdict=self._verdict(found))

    def _prompts(self, item: JudgedItem) -> Iterator[str]:
        """Yield the questions about an item: one, or for pairs one for each order."""
        yield self.rubric.fill(item.fields)
        if self.rubric.is_pair:
            exchanged = {FIRST: item.fields[SECOND], SECOND: item.fields[FIRST]}
            yield self.rubric.fill({**item.fields, **exchanged})

    def _ask(self, prompts: Sequence[str], ids: Sequence[str], label: str) -> list[Completion]:
        """Return a label as the reply to each question, with its log-probabilities."""
        chat = self.model.tokenizer.chat_template is not None
        requests: list[Any] = [
            ChatPrompt([{"role": "user", "content": text}], now=DEFAULT_NOW) if chat else f"{text}\nReply: "
            for text in prompts
        ]
        sampling = {**self.rubric.sampling, "regex": re.escape(label)}
        try:
            completions = self.model.generate(requests, receipt=self._receipt, logprobs=True, **sampling)
        except ParameterError as error:
            number = re.match(r"prompt (\d+): ", str(error))
            place = ids[int(number[1])] if number else ids[0]
            raise ParameterError(f"{place!r:.60} cannot be judged: {error}") from error
        found = [several[0] for several in completions]
        for name, completion in zip(ids, found, strict=True):
            if completion.text != label:
                raise ParameterError(f"{name!r:.60} cannot be judged: no room for a label ({completion.finish})")
        return found

    def _verdict(self, found: Judgement) -> str:
        """Return the verdict of an item's scores."""
        if self.rubric.is_pair:
            return FIRST if found.margin > 0 else SECOND if found.margin < 0 else TIE
        if len(self.rubric.labels) == 2:
            return self.rubric.labels[0 if found.margin > self._cut else 1]
        (row,) = found.scores
        return self.rubric.labels[max(range(len(row)), key=lambda place: (row[place], -place))]


def check_cut(rubric: Rubric, cut: float) -> None:
    """Raise ParameterError if a rubric takes no cut, or the cut is no finite number."""
    if cut and (rubric.is_pair or len(rubric.labels) != 2):
        raise ParameterError("a cut needs a rubric of single answers with two labels")
    if not abs(cut) <= LARGEST_CUT:
        raise ParameterError(f"the cut must lie between -{LARGEST_CUT} and {LARGEST_CUT} nats, got {cut}")


class FittedCut(NamedTuple):
    """A cut that agrees best with gold labels.

    Attributes
    ----------
    cut : float
        The cut in nats.
    right : int
        Number of items on which a cut that was fitted to all other items agrees with the gold label.
    """

    cut: float
    right: int


def fit_cut(margins: Sequence[int], positive: Sequence[bool]) -> FittedCut:
    """Return the cut between margins that agrees best with gold labels; of equally good ones, the least.

    Parameters
    ----------
    margins : sequence of int
        Margins of verdicts (`Judgement.margin`).
    positive : sequence of bool
        If true, the gold label is the first one.

    Raises
    ------
    ParameterError
        If there are fewer than two items.
    """
    if len(margins) < 2:
        raise ParameterError("a cut needs at least two items with gold labels")
    pairs = list(zip(margins, positive, strict=True))
    right = 0
    for i, (margin, gold) in enumerate(pairs):
        right += (margin > _best_cut(pairs[:i] + pairs[i + 1 :])) == gold
    return FittedCut(_best_cut(pairs) / LOGPROB_SCALE, right)


def _best_cut(pairs: Sequence[tuple[int, bool]]) -> int:
    """Return the cut at which most margins above it are positive and most others are not."""
    ordered = sorted(pairs)
    score = best = sum(gold for _, gold in ordered)  # below all margins, everything is positive
    cut = ordered[0][0] - 1
    for (margin, gold), (after, _) in zip(ordered, [*ordered[1:], (ordered[-1][0] + 2, False)], strict=True):
        score += -1 if gold else 1
        if score > best and after > margin:
            best, cut = score, (margin + after) // 2
    return cut


def null_control(judge: ModelJudge, items: Sequence[JudgedItem], verdicts: Sequence[Judgement]) -> dict[str, int]:
    """Judge the same items under other conditions; return how many verdicts changed, in any bit of their scores.

    The conditions are: each item alone; in reverse order; and among strangers, which are the same items with their
    words reversed.
    """
    known = {one.id: one.scores for one in verdicts}

    def changed(found: Sequence[Judgement]) -> int:
        return sum(known[one.id] != one.scores for one in found)

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
