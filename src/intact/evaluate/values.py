"""Train a value head on a task: graded samples, their hidden states, and metrics on held-out problems."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import mean
from intact.engine.hidden import read_hidden
from intact.reason import Answer, Extend, Problem, State, Steps, method
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.services import MethodJob
from intact.reason.limits import one_of
from intact.reason.methods.tree_search import TreeSettings, search_tree
from intact.reason.populations.tree import puct
from intact.reason.problem import CUT
from intact.solving.run import check_tokenizer, solve_all, takes_conversations, task_sampling
from intact.stats.calibration import auroc, brier, calibration_error, choice
from intact.tasks.choose import Chosen
from intact.tasks.score.value import Example, Learnt, NextExample, NextHead, ValueHead, learn, learn_next, prefix_values
from intact.tasks.score.value.learning import check_installed
from intact.tasks.score.value.learnt import profile_of
from intact.tasks.task import Item, Style, Task

PLACES = 8
"""Maximum number of hidden states per completion when training on outcomes."""
TOKEN_PLACES, NEXT_PLACES = 16, 48
"""The same when training on token values; maximum number of tokens per completion when training a next-token head."""
LABELS = ("outcome", "tokens", "search")


class GradedTexts(NamedTuple):
    """A problem's completions with their verdicts; for a search, one completion per simulation."""

    item: Item
    states: list[State]
    right: list[bool]


@method("none", temperature=0.7)
def samples(problem: Problem, *, n: int = 4) -> Steps:
    """Sample n completions, the same ones that every method samples from the prompt under this seed.

    Parameters
    ----------
    n : int
        Number of samples.
    """
    states = yield [Extend(problem.start)] * n
    return Answer("sampled", details={"states": states})


@method("Chen et al. 2024, arXiv 2405.03553", temperature=0.8)
def search_texts(problem: Problem, *, n: int = 4, scorer: str = "likelihood", delimiter: str = "\n\n") -> Steps:
    """Generate completions by n simulations of `puct_search`, the same ones that the method generates under this seed.

    Parameters
    ----------
    n : int
        Number of simulations; each gives the completion whose reward it backs up.
    scorer : str
        The scorer of completions.
    delimiter : str
        The string that ends a step.
    """
    tree = yield from search_tree(problem, puct, TreeSettings(simulations=n, scorer=scorer, delimiter=delimiter))
    return Answer("searched", details={"states": [tree.texts[place] for place in tree.backed_up]})


def sample(
    backend: NativeBackend,
    task: Task | Chosen,
    items: Sequence[Item],
    n: int,
    *,
    sampling: Mapping[str, Any] | None = None,
    seed: int = 0,
    journal: Path | None = None,
    labels: str = "outcome",
) -> Generator[GradedTexts, None, None]:
    """Sample completions for problems, or take them from the journal, and grade them.

    Completions with an undecided verdict (`Task.grade`) are left out.

    Parameters
    ----------
    task : Task or Chosen
        A task, or the result of `intact.tasks.choose.choose` for a string such as "gsm8k:shots=2".
    labels : str
        One of `LABELS`: with "search", the completions come from a search (`search_texts`).
    """
    chosen = Chosen.of(task)
    task = chosen.task
    check_tokenizer([chosen], {"main": backend})
    style: Style = chosen.style or ("chat" if takes_conversations(backend) else "base")
    drawn = search_texts if labels == "search" else samples
    jobs = [MethodJob(drawn, chosen.problem(item, style, seed), {"n": n}) for item in items]
    for number, result in solve_all(
        {"main": backend}, jobs, sampling=task_sampling(task, style == "chat", sampling), journal=journal
    ):
        if result.why == "done":
            item, states = items[number], result.answer.details["states"]
            answers = [chosen.read(item, state.answer_part, state.why in CUT) for state in states]
            graded = [(state, task.grade(item, answer)) for state, answer in zip(states, answers, strict=True)]
            decided = [(state, right) for state, right in graded if right is not None]
            yield GradedTexts(item, [state for state, _ in decided], [right for _, right in decided])


def places_of(backend: NativeBackend, state: State) -> list[int]:
    """Return the token counts after which hidden states are used for training: at line ends and at the end.

    If there are more than `PLACES`, the last is kept, and the others are evenly spaced. An end token does not count.
    """
    tokens = state.tokens[: state.length - (state.why == "end")]
    ends = [i + 1 for i, token in enumerate(tokens) if b"\n" in backend.token_bytes(token)]
    ends = [*[place for place in ends if place < len(tokens)], len(tokens)]
    return [ends[place - 1] for place in spread_places(len(ends), PLACES)] if tokens else []


def spread_places(length: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 1 to length, evenly spaced and including the last."""
    kept = min(most, length)
    return [length - (kept - 1 - i) * length // kept for i in range(kept)]


def examples_of(backend: NativeBackend, sampled: GradedTexts, labels: str = "outcome") -> list[Example]:
    """Return training examples from the hidden states of a problem's completions, without empty ones and duplicates.

    Parameters
    ----------
    labels : str
        One of `LABELS`. "outcome": line ends, labelled with the completion's outcome. "tokens": tokens spread over the
        completion, each labelled with the share of right completions among the problem's completions with the same
        prefix (`prefix_values`). "search": ends of steps in a search's completions, labelled with the mean value Q of
        their node; if no step ends at the end of the completion, the end is added with its own value.
    """
    one_of(LABELS, labels=labels)
    profile, found = profile_of(backend.identity), []
    begun = [state.branch if labels == "search" else state.tokens for state in sampled.states]
    values = prefix_values(begun, sampled.right)
    rows = dict(zip(sampled.states, zip(sampled.right, values, strict=True), strict=True))
    for state, (right, shares) in rows.items():
        written = state.length - (state.why == "end")
        if labels == "outcome":
            wanted = dict.fromkeys(places_of(backend, state), float(right))
        elif labels == "tokens":
            wanted = {place: float(shares[place - 1]) for place in spread_places(written, TOKEN_PLACES)}
        else:
            wanted = step_values(state, shares)
        if hidden := backend.hidden(state, list(wanted)):
            states = tuple([read_hidden(row, profile) for row in hidden])
            own = None if labels == "outcome" else tuple(wanted.values())
            found.append(Example(sampled.item.id, right, states, own))
    return found


def step_values(state: State, values: Sequence[Fraction]) -> dict[int, float]:
    """Return the token counts after which steps of a search's completion end, each with the value of its node.

    Parameters
    ----------
    values : sequence of Fraction, one for each part of the completion's branch
        The last ones belong to its segments: the nodes on the path and, if it was generated from there, the completion
        itself.
    """
    written = state.length - (state.why == "end")
    ends = [min(end, written) for end in accumulate(len(piece.tokens) for piece in state.pieces)]
    found = dict[int, float]()
    for end, value in zip(ends, values[len(values) - len(ends) :], strict=True):
        found.setdefault(end, float(value))
    found.pop(0, None)
    return found


def next_examples_of(backend: NativeBackend, sampled: GradedTexts) -> list[NextExample]:
    """Return tokens spread over a problem's completions, each with its value and the hidden state it was sampled from.

    The value is the share of right completions among the problem's completions with the same prefix up to the token.
    """
    profile, found = profile_of(backend.identity), []
    values = prefix_values([state.tokens for state in sampled.states], sampled.right)
    for state, shares in zip(sampled.states, values, strict=True):
        places = [place - 1 for place in spread_places(state.length, NEXT_PLACES)]
        for place, row in zip(places, backend.hidden(state, places), strict=True):
            word = backend.token_bytes(state.tokens[place]).decode("utf-8", "replace")
            word = "" if state.why == "end" and place == state.length - 1 else word
            found.append(NextExample(sampled.item.id, read_hidden(row, profile), word, float(shares[place])))
    return found


class Figures(NamedTuple):
    """The accuracy of values on held-out problems.

    Attributes
    ----------
    auroc : float or None
        The probability that a right completion has a higher value than a wrong one, at the end.
    auroc_within : float or None
        The same between completions of one problem, averaged over problems.
    auroc_half : float or None
        The same, using the value halfway through the positions.
    ece, brier : float
        Calibration error and mean squared error, at the end.
    base : float
        The share of right completions; as a constant prediction, its squared error is base (1 - base).
    chosen, anyone, best : float
        Shares of problems answered correctly by the completion with the largest value, by a random one, by the best
        one.
    """

    auroc: float | None
    auroc_within: float | None
    auroc_half: float | None
    ece: float
    brier: float
    base: float
    chosen: float
    anyone: float
    best: float


def figures(examples: Sequence[Example], learnt: Learnt) -> Figures:
    """Evaluate the values that a head assigns to completions for problems that it was not trained on."""
    right = [example.right for example in examples]
    ends = [values[-1] for values in learnt.held_out]
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(example.problem, []).append(i)
    scores = [[ends[i] for i in group] for group in groups.values()]
    flags = [[right[i] for i in group] for group in groups.values()]
    within = [found for one, two in zip(scores, flags, strict=True) if (found := auroc(one, two)) is not None]
    half = [values[(len(values) - 1) // 2] for values in learnt.held_out]
    chosen, anyone, best = choice(scores, flags)
    return Figures(
        auroc=auroc(ends, right),
        auroc_within=mean(within) if within else None,
        auroc_half=auroc(half, right),
        ece=calibration_error(ends, right),
        brier=brier(ends, right),
        base=sum(right) / len(right),
        chosen=chosen,
        anyone=anyone,
        best=best,
    )


def learn_value(
    backend: NativeBackend, sampled: Sequence[GradedTexts], origin: Mapping[str, Any], labels: str = "outcome"
) -> ValueHead:
    """Train a value head on completions for problems.

    Parameters
    ----------
    origin : mapping
        The origin of the completions, recorded in the file.
    labels : str
        As for `examples_of`.

    Raises
    ------
    ParameterError
        If scikit-learn is missing, or nothing can be learnt from the completions.
    """
    check_installed()
    examples = [example for one in sampled for example in examples_of(backend, one, labels)]
    if not examples:
        raise ParameterError("there are no texts to learn from")
    learnt = learn(examples)
    facts = {"texts": len(examples), "problems": len(sampled), "strength": learnt.strength, "labels": labels}
    facts |= {"places": sum(len(example.states) for example in examples)}
    value = dict(origin) | facts | {"held_out": figures(examples, learnt)._asdict()}
    return ValueHead.of(backend.identity, learnt.weights.tolist(), learnt.bias, value)


def learn_next_value(backend: NativeBackend, sampled: Sequence[GradedTexts], origin: Mapping[str, Any]) -> NextHead:
    """Train a next-token head on completions for problems; parameters and errors as for `learn_value`."""
    examples = [example for one in sampled for example in next_examples_of(backend, one)]
    if not examples:
        raise ParameterError("there are no texts to learn from")
    learnt = learn_next(examples)
    facts = {"problems": len(sampled), "places": len(examples), "tokens": len(learnt.tokens), "ridge": learnt.ridge}
    errors = {"constant": learnt.constant, "shared": learnt.shared, "whole": learnt.whole, "seen": learnt.seen}
    return NextHead.of(backend.identity, learnt.rows, learnt.tokens, dict(origin) | facts | {"held_out": errors})
